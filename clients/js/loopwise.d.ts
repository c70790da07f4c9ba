/** Types of loopwise.js. */

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };
export type Features = { [name: string]: Json };

/** Why a decision is the fallback: one of these, or the code of the server's error (with its `status`). */
export type Reason =
  | "consent" // the page may not send anything
  | "server" // a server renders the page
  | "timeout" // no answer within the deadline
  | "offline" // the browser has no network
  | "cors" // the server answers, but not to pages of this origin
  | "unreachable" // nothing answers at this address
  | (string & {});

export interface Options {
  /** Address of the Loopwise server. */
  url: string;
  /** A publishable key, made for this page's origin. */
  key: string;
  /** Whom this page is shown to; without it a random one that this browser keeps. */
  unitId?: string;
  /** Proof for that unit, from your server (POST /v1/units/token). */
  unitToken?: string;
  /** False: nothing is sent, stored or listened to, and every decision is the fallback. */
  consent?: boolean;
  /** How long a decision may take, in milliseconds (500). */
  deadlineMs?: number;
}

export interface Action {
  id: string;
  features?: Features | Features[];
  payload?: Json;
}

export interface Asked {
  context?: Features;
  deadlineMs?: number;
  actions?: Action[];
  excludedActions?: string[];
  decisionId?: string;
  deferActivation?: boolean;
  timeZone?: string;
  slots?: number;
  /** True: a trial. It is decided and logged, and counts nowhere. */
  test?: boolean;
}

export interface Position {
  position: number;
  decision_id: string;
  action: { id: string; payload: Json };
  propensity: number;
}

export interface Message {
  locale: string;
  channel: string;
  title: string;
  body: string;
  call_to_action: string;
  asks?: string;
}

interface Outcome {
  payload: Json;
  message: Message | null;
}

export interface LoggedDecision extends Outcome {
  logged: true;
  decisionId: string;
  action: string;
  propensity: number;
  arm: string;
  positions?: Position[];
}

export interface Fallback<F> extends Outcome {
  logged: false;
  decisionId: null;
  action: F;
  reason: Reason;
  /** Of the server's answer, where there was one. */
  status?: number;
}

export type Decision<F = null> = LoggedDecision | Fallback<F>;
export type Purpose = "personalise" | "learn" | "analyse" | "message";
export type FeedbackKind = "thumbs" | "stars" | "score" | "reason" | "comment" | "dismissed" | "not_interested";

export interface Shown {
  decision_id: string;
  message: Message;
}

export class Loopwise {
  constructor(options: Options);
  readonly unitId: string;
  /** Choose an action. Never rejects. */
  decide<F = null>(experiment: string, options?: Asked & { fallback?: F }): Promise<Decision<F>>;
  /** Choose a message; `message` is null when nothing should be said. Never rejects. */
  message(
    experiment: string,
    options?: Asked & {
      variables?: { [name: string]: string | number | boolean | null };
      locale?: string;
      channel?: string;
    },
  ): Promise<Decision>;
  /** Report what a decision was worth. The same event counts once. */
  reward(
    decision: Decision<unknown> | string | null,
    value?: number,
    options?: { metric?: string; rewardId?: string },
  ): void;
  /** Report what somebody said. */
  feedback(
    decision: Decision<unknown> | string | null,
    kind: FeedbackKind,
    value?: string | number,
    comment?: string,
  ): void;
  /** Report what the unit did; needs a unitToken. The same event counts once; its own id is a UUID. */
  event(name: string, properties?: Features, options?: { eventId?: string }): void;
  /** Write what the person agreed to; needs a unitToken. */
  consent(
    purposes: { [purpose in Purpose]?: "granted" | "denied" | "revoked" },
    textVersion: string,
    source?: string,
    occurredAt?: string,
  ): Promise<{ consent: { [purpose in Purpose]?: string } }>;
  /** Stop everything (false), or begin (true). */
  allow(yes: boolean): void;
  /** Report by attributes of elements. Returns a function that ends it. */
  observe(root?: Document | Element): () => void;
  /** Show messages of triggers as they come; needs a unitToken. */
  listen(show?: (message: Shown) => void): void;
  /** Stop listening. */
  stop(): void;
  /** Show one message in a corner. */
  toast(message: Shown, options?: { onAction?: () => void }): HTMLElement;
  /** Send what waits. */
  flush(): Promise<void>;
}
