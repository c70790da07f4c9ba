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
    if (own) return;
    key.value = suggested(name.value);
    one("summary", key.closest("details")).textContent = key.value ? `Key: ${key.value}` : "Key: made from the name";
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

// The preview of an action, rendered by the server while somebody types; the form is not stored.
const preview = one("[data-preview-of]");
if (preview) {
  const form = byName("step");
  let waiting = 0;
  let asked = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      asked += 1;
      const now = asked;
      const answer = await fetch(preview.dataset.previewOf, { method: "POST", body: new FormData(form) }).catch(
        () => null,
      );
      if (answer?.ok && now === asked) preview.innerHTML = await answer.text();
    }, 300);
  });
}

// The type that is found in a value, as the server finds it.
for (const input of all("[data-typed]")) {
  const found = one("[data-found]", input.closest(".member"));
  input.addEventListener("input", () => {
    found.textContent = kindOf(input.value.trim());
  });
}

function kindOf(text) {
  if (!text) return "";
  if (text.length > 1 && text.startsWith('"') && text.endsWith('"')) return "text";
  if (/^(yes|no)$/i.test(text)) return "yes or no";
  if (/^null$/i.test(text)) return "nothing";
  return /^[-+\u2212]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?$/i.test(text) ? "number" : "text";
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
