// What a page cannot do by itself: live figures. Everything else works without a script.
// An element with data-poll="ADDRESS" and data-every="SECONDS" is replaced by what the address answers, while it is looked
// at; data-etag names what it shows already. An answer of 204 means: nothing new, and nothing will come. Errors are told,
// and the next try comes later. Opened tables stay open, and the keyboard stays where it was.
"use strict";

// Buttons that copy a text: without a script they stay hidden, and the text can be marked.
for (const button of document.querySelectorAll("[data-copy]")) {
  const words = button.textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = words;
    }, 2000);
  });
}

// On a phone the tabs of an experiment scroll: begin where the current one is.
document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

for (const element of document.querySelectorAll("[data-poll]")) {
  poll(element, Number(element.dataset.every || "5"));
}

function poll(element, every) {
  let seen = element.dataset.etag || "";
  let wait = every;
  const told = document.createElement("p");
  told.className = "text-warning-emphasis small";
  told.setAttribute("role", "status");
  element.before(told);

  async function look() {
    if (document.hidden || busy(element)) {
      return setTimeout(look, 1000);
    }
    try {
      const headers = seen ? { "If-None-Match": seen } : {};
      const answer = await fetch(element.dataset.poll, { headers, signal: AbortSignal.timeout(10000) });
      if (answer.status === 204) {
        return;
      }
      if (answer.status === 286) {
        // finished: the whole page has more to show now
        return location.reload();
      }
      if (answer.ok) {
        const text = await answer.text();
        const open = [...element.querySelectorAll("details[open][id]")].map((one) => one.id);
        const set = new Map(switches(element).map((input) => [nameOf(input), input.checked]));
        const place = stops(element).indexOf(document.activeElement);
        element.innerHTML = text;
        for (const id of open) {
          element.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
        }
        for (const input of switches(element)) {
          input.checked = set.get(nameOf(input)) ?? input.checked;
        }
        if (place >= 0) {
          stops(element)[place]?.focus({ preventScroll: true });
        }
        seen = answer.headers.get("ETag") || "";
      } else if (answer.status !== 304) {
        throw new Error(`the server answered ${answer.status}`);
      }
      told.textContent = "";
      wait = every;
    } catch (error) {
      wait = Math.min(60, wait * 2);
      told.textContent = `These figures do not update at the moment (${error.message}); next try in ${wait} s.`;
    }
    setTimeout(look, wait * 1000);
  }
  setTimeout(look, wait * 1000);
}

// What switches lines and views of charts, each by a name that stays when others come.
function switches(element) {
  return [...element.querySelectorAll("input.toggle, .view-switch input")];
}

function nameOf(input) {
  return input.id || `${input.closest("figure")?.id} ${input.className}`;
}

// Where the keyboard can stop, in order.
function stops(element) {
  return [...element.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")];
}

// Somebody types, reads a wide table or marks text inside: do not take it away.
function busy(element) {
  const focused = document.activeElement;
  const marked = document.getSelection();
  return (
    (element.contains(focused) &&
      focused.matches("input:not(.toggle, .view-switch input), select, textarea, .table-scroll")) ||
    (marked !== null && !marked.isCollapsed && element.contains(marked.anchorNode))
  );
}
