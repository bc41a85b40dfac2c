import { surroundings } from "./environment.js";
import type { ErrorCode, SourceError } from "./errors.js";
import {
  CONNECT_TIMEOUT_MS,
  FIRST_HEARTBEAT_MS,
  HURRIED_HEARTBEATS,
  LINGER_MS,
  SILENT_HEARTBEATS,
  STABLE_MS,
} from "./limits.js";
import { createParser, type Message, type Parser } from "./parser.js";
import { delayMs, retryAfterMs, stateAfter } from "./policy.js";
import { isSendable, isUpTo, type Place, placeOf } from "./positions.js";
import { WAYS } from "./states.js";
import type { AnyEvents, Source, SourceEvent, SourceOptions, State, Status } from "./types.js";
import { createValues } from "./values.js";

// biome-ignore lint/suspicious/noExplicitAny: each kind has its own; who adds one knows which
type Listener = (what: any) => unknown;
/** Adds a listener for a kind. What is returned takes it away. */
type Add = (kind: string, listener: Listener) => () => unknown;

/** A source of the events in a stream. It does not connect before it is opened, or somebody subscribes. */
export function createSource<Events extends object = AnyEvents>(options: SourceOptions): Source<Events>;
/*
 * All state of a source is in the variables of this function, rather than in objects of several modules that would have
 * to know each other: a page pays for every property's name, and not for a variable's. The parts stand in this order:
 * the connection, what it reads, who subscribes. What can be decided without state is in modules of its own.
 *
 * The map of event types is for those who call; inside, data is just data.
 */
export function createSource(options: SourceOptions): Source {
  const all = { ...surroundings(), ...options };
  const { fetch, now, random, setTimeout, clearTimeout, cursor, headers: given } = all;
  const topics = new Set([options.topics ?? []].flat());
  const [heldValue, beginValues, changeValue, caughtUp] = createValues(options.maxEventBytes);

  let status: Status = { state: "idle", reason: "" };
  let attempt: AbortController | undefined; // the newest
  let unwatch: (() => void) | undefined; // there while the source is neither idle nor closed
  let timer: unknown;
  let failures = 0; // in a row
  let openedAt = Infinity;
  let notBefore: number; // a server asked for it
  let heardAt: number; // when the last byte came
  let heartbeat: number; // of the hub, in milliseconds; 0 if it said none
  let refused: number | undefined; // the status for which fresh headers are asked

  let chunks: ReadableStreamDefaultReader<Uint8Array> | undefined;
  let parser: Parser;
  let inbox: Message[];
  let retryMs: number | null;
  let received = cursor?.load() || options.lastEventId || ""; // what the next request has to say
  let seen: Place | null;
  let told: Place | null; // of the last change
  let isHub: unknown; // it said so; then its ids are positions, and some types are its own

  let lastEventId = received; // dealt with
  let work: Promise<unknown> | undefined; // of listeners
  let subscriptions = 0;
  let linger: unknown;

  // Listeners, by what they want to be told of: a word, perhaps with a name after it.
  const kinds: Record<string, Set<Listener[]>> = {};

  /** Takes a function in, perhaps twice. What is returned takes it away, and says whether it was still there. */
  const add: Add = (kind, listener) => {
    const entry = [listener];
    const entries = (kinds[kind] ??= new Set()).add(entry);
    return () => entries.delete(entry) && (entries.size || delete kinds[kind]) && entry.pop();
  };
  /**
   * Tells those who are there now, and still are when it is their turn; then returns what their work waits for, one
   * promise for each. None rejects: what they throw is reported.
   */
  const tell = (kind: string, what: unknown): Promise<void>[] =>
    [...(kinds[kind] ?? [])].map(async (entry) => {
      try {
        await entry[0]?.(what);
      } catch (cause) {
        if (kind === "error") console.error(cause);
        else fail("listener", cause);
      }
    });
  /** Reports an error; on the console, if nobody wants to know. Returns it. */
  const fail = (code: ErrorCode, cause?: unknown, about?: Message): SourceError => {
    // biome-ignore lint/style/useTemplate: it is smaller
    const error = Object.assign(Error("clarion: " + code), { code, cause, about });
    if (!tell("error", error)[0]) console.error(error);
    return error;
  };

  /** Follows the table of states; what is not in it does not happen. */
  const move = (state: State, reason = "", cause?: unknown, delayMs?: number) => {
    if (!WAYS[state].includes(status.state)) return;
    clearTimeout(timer);
    if (state !== "open") {
      // In Deno a stream forgets its signal, once garbage was collected.
      chunks?.cancel().catch(() => {});
      attempt?.abort();
    }
    if (/idle|closed/.test(state)) unwatch = unwatch?.() as undefined;
    if (state === "waiting") timer = setTimeout(() => move("connecting"), delayMs as number);
    const next: Status & { error?: unknown } = (status = { state, reason, delayMs, error: cause });
    if (state === "connecting") void connect((attempt = new AbortController()).signal);
    // Who is told may move it again; everybody is then told where it is by now.
    if (/^(refused|request|no-stream|kicked)$/.test(reason)) next.error = fail(reason as ErrorCode, cause);
    tell("status", next);
  };
  /** Waits, and comes back. asked: what the server asks to wait. onPurpose: it was no failure. */
  const lost = (reason: string, cause?: unknown, asked = 0, onPurpose?: boolean) => {
    // A stream that opens is no success yet, only one that stays open is.
    if (now() - openedAt >= STABLE_MS) failures = 0;
    openedAt = Infinity;
    notBefore = now() + asked;
    move(
      "waiting",
      reason,
      cause,
      delayMs(retryMs, all.minDelayMs ?? 500, all.maxDelayMs ?? 30_000, onPurpose ? 0 : failures++, asked, random()),
    );
  };
  const reconnect = () => {
    failures = 0;
    if (unwatch) move("connecting");
  };
  const watch = (delayMs: number) => {
    clearTimeout(timer);
    if (heartbeat) timer = setTimeout(() => lost("silent"), delayMs);
  };
  /** Somebody needs the connection. from: the states in which that matters. */
  const start = (from: RegExp) => {
    subscriptions++;
    clearTimeout(linger);
    if (!from.test(status.state)) return;
    unwatch = all.watchPage((signal) => {
      if (signal === "pagehide") move("paused");
      else if (status.state === "paused" || (status.state === "waiting" && now() >= notBefore)) reconnect();
      else if (status.connected && timer) watch(heartbeat * HURRIED_HEARTBEATS + heardAt - now());
    });
    move("connecting");
  };

  /** One attempt. The signal is aborted when it is over, whoever ends it; what it still does then does not matter. */
  const connect = async (signal: AbortSignal) => {
    let reason = "request"; // there can be none, or the function for headers failed
    let failure: unknown;
    heartbeat ||= FIRST_HEARTBEAT_MS;
    watch(CONNECT_TIMEOUT_MS);
    try {
      seen = placeOf(received);
      parser = createParser((message) => inbox.push(message), {
        maxEventBytes: options.maxEventBytes,
        lastEventId: received,
        onTooLarge: (message) => inbox.push(message as never),
      });
      const headers = new Headers(await (typeof given === "function" ? given(refused) : given));
      const url = new URL(options.url, globalThis.location as never);
      for (const topic of topics) url.searchParams.append("topic", topic);
      headers.set("accept", "text/event-stream");
      // A header's value is bytes; an id is sent as its UTF-8, as `EventSource` does it.
      if (received) headers.set("last-event-id", unescape(encodeURIComponent(received)));
      const ask = options.share ? (await import("./share.js")).sharedFetch(options.user, fetch) : fetch;
      reason = "network";
      // No cache is to answer, and those on the way are to revalidate; that needs no preflight.
      const answer = await ask(url.href, { ...options.init, headers, signal, cache: "no-store" });
      if (signal.aborted) return;
      const code = answer.status;
      const state = stateAfter(code, answer.headers.get("content-type"), typeof given === "function" && !refused);
      refused = state === "connecting" ? code : undefined;
      if (refused) move(state);
      else if (state === "waiting") {
        lost("status", code, retryAfterMs(answer.headers.get("retry-after"), now()));
      } else if (code === 204) {
        move(state, "done");
      } else if (state === "closed") {
        move(state, code === 200 ? "no-stream" : "refused", code);
      } else {
        chunks = (answer.body as ReadableStream<Uint8Array>).getReader();
        openedAt = now();
        move(state);
        await work; // of the connection before
        while (!signal.aborted) {
          heardAt = now();
          watch(heartbeat * SILENT_HEARTBEATS);
          const { value } = await chunks.read();
          if (!value || signal.aborted) break;
          timer = clearTimeout(timer);
          await (work = read(value, signal));
        }
      }
    } catch (cause) {
      failure = cause;
    }
    if (!signal.aborted) lost(reason, failure);
  };

  const adopt = (id: string) => {
    if (isSendable(id)) {
      received = id;
      seen = placeOf(id) || seen;
    } else fail("bad-id");
  };
  /** The same position of one who holds no values: it is told all of them, and no event again. */
  const withoutValues = (id: string) => (isHub && placeOf(id) ? id.replace(/~.*|$/, "~0") : id);
  /** Deals with bytes, until all promises of listeners are settled. */
  const read = async (chunk: Uint8Array, signal: AbortSignal) => {
    const batch: SourceEvent[] = [];
    const changed = new Set<string>();
    const waits: Promise<void>[] = [];
    // biome-ignore lint/suspicious/noExplicitAny: what a stranger says; each member is looked at before it is used
    let bye: any;
    inbox = [];
    parser.feed(chunk);
    retryMs = parser.retryMs ?? retryMs;
    for (const message of inbox) {
      const { topic, change, type, data: text, lastEventId: id } = message;
      const mode = !topic && type === "connected" && /"mode":\s*"(\w+).*"from"/.exec(text)?.[1];
      isHub ||= mode;
      const isOwn = isHub && !topic;
      // A gap goes back, and its id is not taken before it is told: if the connection breaks before that, the hub shall
      // tell it again.
      const place = placeOf(change || (isOwn && !mode) ? id : withoutValues(id));
      const had = isHub && type !== "gap" && isUpTo(place, seen);
      if (had) {
        // Where all values are told over again, they may be from before.
        if (!isOwn && !(change && status.connected?.values === "all" && !isUpTo(place, told))) continue;
      } else if (seen && mode === "live") {
        // What was asked for was lost on the way. (This is the first frame.)
        const data = `{"reason":"unasked","requested":"${received}","oldest":"${id}","missed":null}`;
        inbox.splice(1, 0, { ...message, type: "gap", data });
      } else if (mode !== "gap") adopt(id);
      try {
        if (text === null) throw text; // it was too large
        let data = ((!isOwn && all.decode) || JSON.parse)(text, type as never);
        if (data?.then) data = await data;
        const event = { ...message, data, text } as SourceEvent;
        batch.push(event);
        waits.push(...tell(`on ${type}`, event));
        if (isOwn) {
          // Who fetches the state anew must have it before the events that follow.
          await Promise.all(waits);
          if (type === "bye") bye = data;
          else if (type === "connected") {
            // Not where it is over before its place was taken: the next is asked for from the old one, and tells less.
            if (data.values === "all" && (received === id || !signal.aborted)) {
              told = null;
              if (had) received = withoutValues(received);
              beginValues();
            }
            if (!signal.aborted) {
              heartbeat = Math.min(data.heartbeat, 1e9) || 0;
              tell("status", (status = { ...status, connected: data }));
            }
          }
        }
      } catch (cause) {
        fail(text === null ? "too-large" : "unreadable", cause, message);
      }
      try {
        if (change) {
          changed.add(topic);
          told = place;
          changeValue(topic, change, text);
        }
      } catch (cause) {
        fail("value", cause, message);
        if (text && !(cause instanceof RangeError)) {
          received = withoutValues(received); // else asked for again it would be as large
          lost("value");
        }
      }
      // The last frame of a run of values has a plain position.
      if (!id.includes("~")) for (const gone of caughtUp()) changed.add(gone);
      if (signal.aborted || bye) break;
    }
    if (!isHub && !signal.aborted) {
      adopt(parser.lastEventId); // a block of nothing but an id counts, too
      if (inbox[0]) heartbeat = 0;
    }
    for (const topic of changed) tell(`value ${topic}`, heldValue(topic));
    const id = received;
    if (batch[0]) waits.push(...tell("batch", batch));
    await Promise.all(waits);
    if (id !== lastEventId) await Promise.all(tell("save", withoutValues((lastEventId = id))));
    if (bye && !signal.aborted) {
      if (/^(done|kicked)$/.test(bye.reason)) move("closed", bye.reason);
      else lost(bye.reason, undefined, +bye.retry || 0, true);
    }
  };
  add("save", (id) => cursor?.save(id));

  /** A subscription keeps the connection open. */
  const keep = (kind: string, listener: Listener) => {
    const off = add(kind, listener);
    start(/idle/);
    return () => {
      if (!off() || --subscriptions) return;
      linger = setTimeout(() => move("idle"), LINGER_MS);
    };
  };
  return {
    get status() {
      return status;
    },
    get lastEventId() {
      return lastEventId;
    },
    on: (type, listener) => keep(`on ${type}`, listener),
    onBatch: (listener) => keep("batch", listener),
    onGap: (listener) => add("on gap", (event) => listener(event.data)),
    onError: (listener) => add("error", listener),
    onStatus: (listener) => add("status", () => listener(status)),
    value(topic) {
      const get = () => heldValue(topic) as never;
      return {
        topic,
        get,
        subscribe(listener) {
          listener(get()); // before it is kept: if it throws, nothing is
          return keep(`value ${topic}`, listener);
        },
      };
    },
    async *events(...types): AsyncGenerator<never, void> {
      const items: [event: SourceEvent, dealtWith: () => void][] = [];
      let wake: (() => void) | undefined;
      const deaf = add("status", () => wake?.());
      const off = keep("batch", (events: SourceEvent[]) => {
        wake?.();
        return Promise.all(
          events.map(
            (event) =>
              (!types[0] || types.includes(event.type as never)) &&
              new Promise<void>((dealtWith) => items.push([event, dealtWith])),
          ),
        );
      });
      try {
        while (items[0] || status.state !== "closed") {
          if (items[0]) {
            yield items[0][0] as never;
            items.shift()?.[1]();
          } else {
            await new Promise<void>((resolve) => (wake = resolve));
          }
        }
        if (status.error) throw status.error;
      } finally {
        off();
        deaf();
        for (const [, dealtWith] of items) dealtWith();
      }
    },
    subscribeTopics(add, remove = []) {
      for (const topic of remove) topics.delete(topic);
      for (const topic of add) topics.add(topic);
      received = withoutValues(received); // of a new topic the value is told, and of one that is left none is held
      reconnect();
    },
    open: () => start(/idle|closed/), // a subscription that never ends
    close: () => move("closed", "closed"),
    reconnect,
  };
}
