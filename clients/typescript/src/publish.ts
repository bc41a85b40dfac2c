/**
 * Publishes from a server: to the routes of a hub (`POST /publish`, `/notify/{user}` and `/broadcast`), over HTTP with a
 * token. For Node, Deno, Bun and others that have `fetch`; not for browsers, which would show the token to everyone.
 */
import { delayMs, retryAfterMs } from "./policy.js";

/** How to publish; each may be left out. */
export interface PublishOptions {
  /** The SSE event type; without one, `message`. */
  event?: string;
  /** Publishing to the topic again with the same key within a day adds nothing. Without one, each call makes its own. */
  key?: string;
  /** Seconds after which it is not replayed any more. */
  ttlSeconds?: number;
  /** Only for readers who are connected now. */
  ephemeral?: boolean;
  /** The data is raw text, instead of JSON. */
  isText?: boolean;
}

/** The event is in the journal. */
export interface Receipt {
  /** Its position; readers get it as the event's id. */
  readonly id: string;
  /** Readers in the process that answered whose topics match. */
  readonly sent: number;
  /** The key was seen before: nothing was added, the id is the first's. */
  readonly duplicate: boolean;
}

export interface PublisherOptions {
  /** Where the hub's router is: `https://hub.internal`, or `https://app.example/realtime`. */
  url: string | URL;
  /** Sent as `Authorization: Bearer`; a function is asked before every request. */
  token?: string | (() => string | Promise<string>);
  /** More headers. */
  headers?: HeadersInit;
  /** How often to try: failures that may pass are tried again, which the key makes safe. 3 by default. */
  attempts?: number;
  /** For one attempt; 10,000 by default. */
  timeoutMs?: number;
  /** In place of the global ones. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  now?: () => number;
  random?: () => number;
  wait?: (ms: number) => Promise<void>;
}

export interface Publisher {
  /** Publishes to a topic. Rejects with a `PublishError`; nothing is known to be published then. */
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<Receipt>;
  /** Publishes to all streams of one user, also those that come back later. */
  sendToUser(userId: string, data: unknown, options?: PublishOptions): Promise<Receipt>;
  /** Publishes to every reader, whatever its topics. */
  broadcast(data: unknown, options?: PublishOptions): Promise<Receipt>;
}

/** The hub did not take it. */
export class PublishError extends Error {
  override readonly name = "PublishError";
  /** What the hub answered; undefined if it did not, or if it was not asked. */
  readonly status: number | undefined;
  /** What it said about that; a stranger's words. */
  readonly detail: unknown;

  constructor(message: string, facts: { status?: number; detail?: unknown; cause?: unknown } = {}) {
    super(message, { cause: facts.cause });
    this.status = facts.status;
    this.detail = facts.detail;
  }
}

const MIN_DELAY_MS = 200;
const MAX_DELAY_MS = 5_000;

/** What may pass: too many requests, and what is wrong with the server rather than with the request. */
const mayPass = (status: number) => status === 408 || status === 425 || status === 429 || status >= 500;

export function createPublisher(options: PublisherOptions): Publisher {
  const base = new URL(options.url).href.replace(/\/?([?#].*)?$/, "/");
  const post = (path: string, data: unknown, how: PublishOptions = {}, topic?: string) =>
    send(options, base + path, bodyOf(data, how, topic));
  return {
    publish: async (topic, data, how) => post("publish", data, how, topic),
    async sendToUser(userId, data, how) {
      // An address cannot say these two, however they are written: they would mean a folder.
      if (/^\.{0,2}$/.test(userId)) throw new PublishError(`there cannot be a user with the id "${userId}"`);
      return post(`notify/${encodeURIComponent(userId)}`, data, how);
    },
    broadcast: async (data, how) => post("broadcast", data, how),
  };
}

function bodyOf(data: unknown, how: PublishOptions, topic: string | undefined): string {
  const { event, key = crypto.randomUUID(), ttlSeconds: ttl, ephemeral, isText } = how;
  if (isText && typeof data !== "string") throw new PublishError("with isText, the data is a text");
  if (data === undefined) throw new PublishError("undefined is no JSON: publish null, or something");
  return JSON.stringify({ ...(isText ? { text: data } : { data }), topic, event, key, ttl, ephemeral });
}

async function send(options: PublisherOptions, url: string, body: string): Promise<Receipt> {
  const { attempts = 3, now = Date.now, random = Math.random, wait = sleep } = options;
  for (let failures = 0; ; failures++) {
    const [error, askedMs] = await attempt(options, url, body, now);
    if (!(error instanceof PublishError)) return error;
    if (askedMs === undefined || failures + 1 >= attempts) throw error;
    await wait(delayMs(MIN_DELAY_MS, MIN_DELAY_MS, MAX_DELAY_MS, failures, askedMs, random()));
  }
}

/** The receipt; or the error, and how long the hub asks to wait if it may pass. */
async function attempt(
  options: PublisherOptions,
  url: string,
  body: string,
  now: () => number,
): Promise<[Receipt | PublishError, askedMs?: number]> {
  const { token, timeoutMs = 10_000, fetch = globalThis.fetch } = options;
  const headers = new Headers(options.headers);
  try {
    const said = typeof token === "function" ? await token() : token;
    if (said !== undefined) headers.set("authorization", `Bearer ${said}`);
  } catch (cause) {
    return [new PublishError("there is no token to publish with", { cause }), 0];
  }
  headers.set("content-type", "application/json");
  let status: number;
  let answer: unknown;
  let retryAfter: string | null;
  try {
    const response = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(timeoutMs) });
    status = response.status;
    retryAfter = response.headers.get("retry-after");
    answer = await response.json().catch(() => undefined);
  } catch (cause) {
    return [new PublishError("the hub cannot be reached", { cause }), 0];
  }
  if (status === 200 && typeof (answer as Partial<Receipt> | undefined)?.id === "string") return [answer as Receipt];
  const detail = (answer as { detail?: unknown } | undefined)?.detail;
  const error = new PublishError(`the hub answered ${status}`, { status, detail });
  return mayPass(status) ? [error, retryAfterMs(retryAfter, now())] : [error];
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
