/**
 * Loopwise in a web page: decide, reward, feedback, messages. No dependencies; nothing here evaluates what a server sent.
 *
 *   const loopwise = new Loopwise({ url, key, unitId, unitToken });
 *   const { action, logged } = await loopwise.decide("onboarding-tip", { fallback: "checklist" });
 *
 * Whatever fails, the page goes on: a decision that cannot be had in time is the given fallback with `logged: false` and a
 * `reason`, and reports wait in `localStorage` until they can be sent, always with the same ids, so that each counts once.
 */

const QUEUE_MOST = 200; // reports that wait; older ones are dropped first
const RETRY_MS = 5000;
const SEEN_MS = 1000; // half of an element on screen for this long is "seen"
const BROWSER = typeof document !== "undefined"; // false: a server renders the page

export class Loopwise {
  /**
   * @param {object} options
   * @param {string} options.url address of the Loopwise server
   * @param {string} options.key a publishable key, made for this page's origin
   * @param {string} [options.unitId] whom this page is shown to; without it a random one that this browser keeps
   * @param {string} [options.unitToken] proof for that unit, from your server (POST /v1/units/token)
   * @param {boolean} [options.consent=true] false: nothing is sent, stored or listened to, and every decision is the fallback
   * @param {number} [options.deadlineMs=500] how long a decision may take
   */
  constructor({ url, key, unitId, unitToken, consent = true, deadlineMs = 500 }) {
    this.url = url.replace(/\/$/, "");
    this.key = key;
    this.unitToken = unitToken;
    this.allowed = consent && BROWSER;
    this.deadlineMs = deadlineMs;
    this.givenUnit = unitId;
    this.queueName = `loopwise-queue-${key.slice(0, 15)}`;
    if (!BROWSER) return;
    addEventListener("online", () => this.flush());
    addEventListener("pagehide", () => this.flush());
    this.flush();
  }

  /** Whom this page is shown to. */
  get unitId() {
    if (!this.givenUnit) {
      this.givenUnit = (this.allowed && read("loopwise-unit")) || newId();
      if (this.allowed) write("loopwise-unit", this.givenUnit);
    }
    return this.givenUnit;
  }

  /** Choose an action. Always resolves, at the latest after the deadline: { decisionId, action, payload, logged, ... }. */
  async decide(experiment, { fallback = null, context = {}, deadlineMs, ...more } = {}) {
    return this.#ask("/v1/decide", { experiment, context, ...snake(more) }, fallback, deadlineMs);
  }

  /** Choose a message. Like decide; `message` is null when nothing should be said. */
  async message(experiment, { context = {}, variables = {}, deadlineMs, ...more } = {}) {
    const body = { experiment, context, variables, ...snake(more) };
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    return this.#ask("/v1/messages/decide", { ...(zone ? { time_zone: zone } : {}), ...body }, null, deadlineMs);
  }

  /** Report what a decision was worth. Sent when it can be; the same event counts once. */
  reward(decision, value = 1, { metric = "reward", rewardId = newId() } = {}) {
    this.#report("/v1/reward", decision, { value, metric, reward_id: rewardId });
  }

  /** Report what somebody said: thumbs "up" or "down", stars 1 to 5, score 0 to 10, reason, comment, dismissed, not_interested. */
  feedback(decision, kind, value, comment) {
    const said = { ...(value === undefined ? {} : { value }), ...(comment ? { comment } : {}) };
    this.#report("/v1/feedback", decision, { kind, ...said, feedback_id: newId() });
  }

  /** Report what the unit did, such as "lesson-done"; needs a unitToken. Sent when it can be; the same event counts once. */
  event(name, properties = {}, { eventId = newId() } = {}) {
    const occurred_at = new Date().toISOString();
    this.#queue({
      path: "/v1/events",
      body: { unit_id: this.unitId, name, properties, event_id: eventId, occurred_at },
    });
  }

  /** Write what the person agreed to, as { personalise: "granted", message: "denied", ... }; needs a unitToken. */
  async consent(purposes, textVersion, source = "web page", occurredAt = new Date().toISOString()) {
    const body = { unit_id: this.unitId, purposes, text_version: textVersion, source, occurred_at: occurredAt };
    const response = await this.#send("/v1/consent", body, AbortSignal.timeout(10000));
    if (!response.ok) throw new Error(`consent was not stored: ${response.status}`);
    return response.json();
  }

  /** Stop everything (false), or begin (true). Stopping forgets what waits and this browser's own unit id. */
  allow(yes) {
    this.allowed = yes && BROWSER;
    if (yes) return;
    this.stop();
    for (const name of [this.queueName, "loopwise-unit"]) write(name, null);
  }

  /**
   * Report by attributes: <button data-loopwise-decision="ID" data-loopwise-on="click" data-loopwise-value="1">, or
   * data-loopwise-on="seen". Elements that come later count too. Returns a function that ends it.
   */
  observe(root = document) {
    const done = new WeakSet();
    const report = (element) => {
      if (done.has(element)) return;
      done.add(element);
      const { loopwiseDecision: decision, loopwiseValue = "1", loopwiseMetric: metric, loopwiseOn } = element.dataset;
      this.reward(decision, Number(loopwiseValue), {
        metric,
        rewardId: `${loopwiseOn}-${loopwiseValue}-${metric ?? ""}`,
      });
    };
    const onClick = (event) => {
      const element = event.target.closest?.('[data-loopwise-on="click"]');
      if (element) report(element);
    };
    const timers = new Map();
    const seeing = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          clearTimeout(timers.get(target));
          if (isIntersecting)
            timers.set(
              target,
              setTimeout(() => report(target), SEEN_MS),
            );
        }
      },
      { threshold: 0.5 },
    );
    const watch = () =>
      root.querySelectorAll('[data-loopwise-on="seen"]').forEach((element) => {
        if (!done.has(element)) seeing.observe(element);
      });
    const coming = new MutationObserver(watch);
    root.addEventListener("click", onClick);
    coming.observe(root, { childList: true, subtree: true });
    watch();
    return () => {
      root.removeEventListener("click", onClick);
      coming.disconnect();
      seeing.disconnect();
      timers.forEach(clearTimeout);
    };
  }

  /** Show messages of triggers as they come; needs a unitToken. Each is shown once. */
  listen(show = (message) => this.toast(message)) {
    if (!this.allowed || this.stream) return;
    const query = new URLSearchParams({ unit_id: this.unitId, key: this.key, unit_token: this.unitToken ?? "" });
    const shown = new Set();
    this.stream = new EventSource(`${this.url}/v1/stream?${query}`);
    this.stream.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (shown.has(message.decision_id)) return;
      shown.add(message.decision_id);
      this.#queue({ path: `/v1/messages/${encodeURIComponent(message.decision_id)}/received`, body: {} });
      show(message);
    });
  }

  /** Stop listening. */
  stop() {
    this.stream?.close();
    this.stream = undefined;
  }

  /** Show one message in a corner: its call to action is rewarded with 1, an answer is feedback, closing it is dismissed. */
  toast({ decision_id: decision, message }, { onAction } = {}) {
    const box = element("div", "loopwise-toast");
    box.setAttribute("role", "status");
    Object.assign(box.style, {
      position: "fixed",
      right: "1rem",
      bottom: "1rem",
      maxWidth: "20rem",
      padding: "1rem",
      background: "Canvas",
      color: "CanvasText",
      border: "1px solid",
      borderRadius: ".5rem",
      zIndex: 2147483647,
    });
    if (message.title) box.append(element("strong", "loopwise-title", message.title));
    box.append(element("p", "loopwise-body", message.body));
    const end = (report) => () => {
      report();
      box.remove();
    };
    if (message.call_to_action) {
      const go = element("button", "loopwise-action", message.call_to_action);
      go.addEventListener(
        "click",
        end(() => {
          this.reward(decision, 1);
          onAction?.();
        }),
      );
      box.append(go);
    }
    const choices = {
      thumbs: { up: "\ud83d\udc4d", down: "\ud83d\udc4e" },
      stars: { 1: "1\u2605", 2: "2\u2605", 3: "3\u2605", 4: "4\u2605", 5: "5\u2605" },
    };
    for (const [value, text] of Object.entries(choices[message.asks] ?? {})) {
      const choice = element("button", "loopwise-answer", text);
      choice.setAttribute("aria-label", `${message.asks} ${value}`);
      choice.addEventListener(
        "click",
        end(() => this.feedback(decision, message.asks, message.asks === "stars" ? Number(value) : value)),
      );
      box.append(choice);
    }
    const close = element("button", "loopwise-close", "\u00d7");
    close.setAttribute("aria-label", "Close");
    close.addEventListener(
      "click",
      end(() => this.feedback(decision, "dismissed")),
    );
    box.append(close);
    document.body.append(box);
    return box;
  }

  /** Send what waits. Called by itself; resolves when nothing can be sent any more for now. */
  async flush() {
    if (this.sending || !this.allowed) return;
    this.sending = true;
    try {
      for (let waiting = this.#waiting(); waiting.length; waiting = this.#waiting()) {
        const [{ path, body }] = waiting;
        const sent = JSON.stringify(waiting[0]);
        const response = await this.#send(path, body, AbortSignal.timeout(10000), true);
        if (response.status === 429 || response.status >= 500) throw new Error("later");
        // Stored, or refused for good. Another tab may have sent it too, and may have taken it out already.
        write(this.queueName, JSON.stringify(this.#waiting().filter((one) => JSON.stringify(one) !== sent)));
      }
    } catch {
      clearTimeout(this.timer); // no network, or a server that is busy: the ids stay, so sending again counts once
      this.timer = setTimeout(() => this.flush(), RETRY_MS);
    } finally {
      this.sending = false;
    }
  }

  async #ask(path, body, fallback, deadlineMs = this.deadlineMs) {
    const none = (reason, status) => ({
      decisionId: null,
      action: fallback,
      payload: null,
      message: null,
      logged: false,
      reason,
      status,
    });
    if (!this.allowed) return none(BROWSER ? "consent" : "server");
    const signal = AbortSignal.timeout(deadlineMs);
    try {
      const asked = { decision_id: newId(), unit_id: this.unitId, ...body };
      const response = await this.#send(path, asked, signal);
      if (!response.ok) return none((await response.json().catch(() => ({}))).code ?? "refused", response.status);
      const { decision_id: decisionId, action, message = null, propensity, arm, positions } = await response.json();
      return {
        decisionId,
        action: action.id,
        payload: action.payload,
        message,
        propensity,
        arm,
        positions,
        logged: true,
      };
    } catch {
      return none(await this.#why(signal)); // the page shows its own default, and nothing will be reported for it
    }
  }

  /** Why nothing came. Browsers do not say, so ask for what needs no origin. */
  async #why(signal) {
    if (signal.aborted) return "timeout";
    if (navigator.onLine === false) return "offline";
    return fetch(`${this.url}/healthz`, { mode: "no-cors", signal }).then(
      () => "cors", // it answers, but not to this page
      () => (signal.aborted ? "timeout" : "unreachable"),
    );
  }

  #report(path, decision, body) {
    const decisionId = decision?.decisionId === undefined ? decision : decision.decisionId;
    if (decisionId)
      this.#queue({ path, body: { decision_id: decisionId, occurred_at: new Date().toISOString(), ...body } });
  }

  #queue(item) {
    if (!this.allowed) return;
    write(this.queueName, JSON.stringify([...this.#waiting(), item].slice(-QUEUE_MOST)));
    this.flush();
  }

  #waiting() {
    return JSON.parse(read(this.queueName) || "[]");
  }

  #send(path, body, signal, keepalive = false) {
    const headers = { Authorization: `Bearer ${this.key}`, "Content-Type": "application/json" };
    if (this.unitToken) headers["Loopwise-Unit-Token"] = this.unitToken;
    return fetch(this.url + path, { method: "POST", headers, body: JSON.stringify(body), signal, keepalive });
  }
}

const memory = new Map(); // where a browser refuses localStorage, the page's own lifetime has to do

function read(name) {
  try {
    return localStorage.getItem(name) ?? memory.get(name);
  } catch {
    return memory.get(name);
  }
}

function write(name, value) {
  if (value === null) memory.delete(name);
  else memory.set(name, value);
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // full, or refused: memory has it
  }
}

/** A random UUID, also on pages without https, where browsers have no randomUUID. */
function newId() {
  const random = (digit) => (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16);
  return crypto.randomUUID?.() ?? "10000000-1000-4000-8000-100000000000".replace(/[018]/g, random);
}

function snake(fields) {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name.replace(/[A-Z]/g, (one) => `_${one.toLowerCase()}`), value]),
  );
}

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text; // text, never markup
  return made;
}
