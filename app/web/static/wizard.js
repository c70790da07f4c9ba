// The wizard without waiting for the server: sliders that sum to 100%, fields that belong to a choice, previews as you type.
// Everything here is a comfort: the server checks the same, and says it in words.
"use strict";

const one = (selector, within = document) => within.querySelector(selector);
const byName = (name) => document.getElementById(name); // a field's id is its name, the pointer of what it says
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// A key from a name, until somebody types one.
const key = one("[data-suggest-from]");
if (key) {
  const name = byName(key.dataset.suggestFrom);
  let own = key.value !== "" && key.value !== suggested(name.value);
  key.addEventListener("input", () => {
    own = key.value !== "";
  });
  name.addEventListener("input", () => {
    if (!own) key.value = suggested(name.value);
  });
}

function suggested(text) {
  const plain = text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  return plain
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 60)
    .replace(/-+$/, "");
}

// Show only the fields that a choice needs.
function follow(select, parts, matches) {
  const show = () => {
    for (const part of parts) part.hidden = !matches(part);
  };
  select.addEventListener("change", show);
  show();
}

for (const arm of all("fieldset[data-arm]")) {
  const kind = one("select[name$='/policy/type']", arm);
  const algorithm = one("select[name$='/policy/algorithm']", arm);
  follow(kind, all("[data-kind-of]", arm), (part) => part.dataset.kindOf === kind.value);
  follow(
    algorithm,
    all("[data-algorithms]", arm),
    ({ dataset }) => dataset.algorithms === "" || dataset.algorithms.split(" ").includes(algorithm.value),
  );
}
for (const metric of all("[data-metric]")) {
  const type = one("select[name$='/source/type']", metric);
  follow(type, all("[data-source]", metric), (part) => part.dataset.source.split(" ").includes(type.value));
}
const plan = one("[data-plan]");
if (plan) {
  const mode = byName("/plan/mode");
  const source = byName("/plan/source");
  const wanted = (part) => part.dataset.planOf.split(" ").includes(`${mode.value}-${source.value}`);
  for (const select of [mode, source]) follow(select, all("[data-plan-of]", plan), wanted);
}

const channel = byName("/actions/-/template/channel");
if (channel) follow(channel, all("[data-message]"), () => channel.value !== "");

// The preview of an action.
const preview = one("#preview");
if (preview) {
  const fields = ["payload:title", "payload:text", "payload"].map((name) => byName(`/actions/-/${name}`));
  const kinds = all("input[name='/actions/-/payload:kind']");
  const draw = () => {
    const json = kinds.find((input) => input.checked).value === "json";
    for (const part of all("[data-kind]")) part.hidden = (part.dataset.kind === "json") !== json;
    preview.replaceChildren(...(json ? drawJson(fields[2].value) : drawText(fields[0].value, fields[1].value)));
  };
  for (const input of [...fields, ...kinds]) input.addEventListener("input", draw);
  draw();
}

function paragraph(tag, text) {
  const made = document.createElement("p");
  made.className = "user-text mb-1";
  const inner = document.createElement(tag);
  inner.textContent = text;
  made.append(inner);
  return made;
}

function drawText(title, text) {
  const parts = [];
  if (title) parts.push(paragraph("strong", title));
  if (text) parts.push(paragraph("span", text));
  return parts.length ? parts : [paragraph("span", "nothing but the id")];
}

function drawJson(text) {
  const made = document.createElement("pre");
  made.className = "json mb-0 user-text";
  try {
    made.textContent = text.trim() ? JSON.stringify(JSON.parse(text), null, 2) : "nothing but the id";
    return [made];
  } catch (error) {
    return [paragraph("span", `Not JSON yet: ${error.message}`)];
  }
}

// Shares: a slider beside each number. Moving one takes from, or gives to, the others in proportion.
const shares = one("#shares");
if (shares) {
  const inputs = all("[data-share]", shares);
  const sum = one("#sum", shares);
  const sliders = inputs.map((input) => {
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: "0", max: "100", step: "1" });
    slider.setAttribute("aria-label", `${one(`label[for='${input.id}']`).textContent}, slider`);
    input.before(slider);
    return slider;
  });
  const holdout = byName("/arms:holdout");
  const active = (input) => !input.dataset.needs || holdout.checked;
  const number = (input) => (active(input) ? Number(input.value.replace("%", "").replace(",", ".")) || 0 : 0);
  const tell = () => {
    const total = Math.round(inputs.reduce((so_far, input) => so_far + number(input), 0) * 1e6) / 1e6;
    sum.textContent = total === 100 ? "The shares sum to 100%." : `The shares sum to ${total}%; make them sum to 100%.`;
    inputs.forEach((input, place) => {
      sliders[place].value = number(input);
      sliders[place].disabled = !active(input);
    });
  };
  const spread = (changed, value) => {
    const others = inputs.filter((input) => input !== changed && active(input));
    value = Math.round(Math.max(0, Math.min(100, others.length ? value : 100)) * 100) / 100;
    const before = others.reduce((so_far, input) => so_far + number(input), 0);
    // Whole percents wherever the running total allows it: so they sum to exactly 100, and an arm without a share gets none.
    const parts = others.map((input) => (before ? number(input) / before : 1 / others.length));
    let soFar = 0;
    let given = 0;
    parts.forEach((part, place) => {
      soFar += part;
      const until = soFar > 1 - 1e-9 ? 100 - value : Math.min(100 - value, Math.round((100 - value) * soFar));
      others[place].value = String(Math.round((until - given) * 100) / 100);
      given = until;
    });
    if (active(changed)) changed.value = String(value);
    tell();
  };
  inputs.forEach((input, place) => {
    sliders[place].addEventListener("input", () => spread(input, Number(sliders[place].value)));
    input.addEventListener("change", () => {
      if (/^\s*\d+([.,]\d+)?\s*%?\s*$/.test(input.value)) spread(input, number(input));
    });
    input.addEventListener("input", tell);
  });
  holdout.addEventListener("change", () => {
    const share = byName("/arms:holdout_share");
    if (holdout.checked) spread(share, number(share) || 5);
    else spread(share, 0);
  });
  tell();
}
