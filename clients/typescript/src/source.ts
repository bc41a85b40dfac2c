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
import type { AnyEvents, Source, SourceEvent, SourceOptions, StandardSchema, State, Status } from "./types.js";
import { createValues } from "./values.js";

// biome-ignore lint/suspicious/noExplicitAny: each kind has its own; who adds one knows which
type Listener = (what: any) => unknown;
/** Adds a listener for a kind. What is returned takes it away. */
type Add = (kind: string, listener: Listener) => () => unknown;

type Schemas = { readonly [type: string]: StandardSchema };

/** A source of the events in a stream. It does not connect before it is opened, or somebody subscribes. */
export function createSource<Events extends object = AnyEvents>(options: SourceOptions<Events>): Source<Events>;
/*
 * All state of a source is in the variables of this function, rather than in objects of several modules that would have
 * to know each other: a page pays for every property's name, and not for a variable's. The parts stand in this order:
 * the connection, what it reads, who subscribes. What can be decided without state is in modules of its own.
 *
 * The map of event types is for those who call; inside, data is just data.
 */
export function createSource(options: SourceOptions): Source {
  const all = { ...surroundings(), ...options };
  const { cursor, headers: given } = all;
  const { fetch, now, random, setTimeout, clearTimeout } = all;
  const topics = new Set([options.topics ?? []].flat());
  const [heldValue, beginValues, changeValue, caughtUp] = createValues(options.maxEventBytes);

  let status: Status = { state: "idle", reason: "" };
  let attempt: AbortController | undefined; // the newest
  let unwatch: (() => void) | undefined; // there while the source is neither idle nor closed
  let timer: unknown;
  let failures = 0; // in a row
  let openedAt = Infinity;
  let heardAt: number; // when the last byte came
  let heartbeat = 0;
  let refused: number | undefined; // the status for which fresh headers are asked

  let parser: Parser;
  let inbox: Message[];
  let retryMs: number | null = null;
  let received = cursor?.load() || options.lastEventId || ""; // what the next request has to say
  let seen: Place | null;
  let told: Place | null; // of the last change
  let isHub = false; // it said so; then its ids are positions, and some types are its own

  let lastEventId = received; // dealt with
  let work: Promise<unknown> | undefined; // of listeners
  let subscriptions = 0;
  let linger: unknown;

  // Listeners, by what they want to be told of: a word, perhaps with a name after it.
  const kinds = new Map<string, Set<Listener[]>>();

  /** Takes a function in, perhaps twice. What is returned takes it away, and says whether it was still there. */
  const add: Add = (kind, listener) => {
    const entry = [listener];
    const entries = kinds.get(kind) ?? new Set();
    kinds.set(kind, entries.add(entry));
    return () => entries.delete(entry) && (entries.size || kinds.delete(kind)) && entry.pop();
  };
  /**
   * Tells those who are there now, and still are when it is their turn; then returns what their work waits for, one
   * promise for each. None rejects: what they throw is reported.
   */
  const tell = (kind: string, what: unknown): Promise<void>[] =>
    [...(kinds.get(kind) ?? [])].map(async (entry) => {
      try {
        await entry[0]?.(what);
      } catch (cause) {
        if (kind === "error") console.error(cause);
        else fail("listener", cause);
      }
    });
  /** Reports an error; on the console, if nobody wants to know. Returns it. */
  const fail = (code: ErrorCode, cause?: unknown, about?: Message): SourceError => {
    const error = Object.assign(Error(`clarion: ${code}`), { code, cause, about });
    if (!tell("error", error)[0]) console.error(error);
    return error;
  };

  const setTimer = (callback: () => void, delay?: number) => {
    clearTimeout(timer);
    timer = setTimeout(callback, delay as number);
  };
  /** Follows the table of states; what is not in it does not happen. */
  const move = (state: State, reason = "", cause?: unknown, delayMs?: number) => {
    // Who is told may move it again, so that comes first, and last.
    const error = /refused|request|stream|kicked/.test(reason) ? fail(reason as ErrorCode, cause) : cause;
    if (!WAYS[state].includes(status.state)) return;
    clearTimeout(timer);
    if (state !== "open") attempt?.abort();
    if (state === "waiting") setTimer(() => move("connecting"), delayMs);
    if (/idle|closed/.test(state)) unwatch = unwatch?.() as undefined;
    status = { state, reason, delayMs, error };
    if (state === "connecting") void connect((attempt = new AbortController()).signal);
    tell("status", status);
  };
  /** Waits, and comes back. asked: what the server asks to wait. onPurpose: it was no failure. */
  const lost = (reason: string, cause?: unknown, asked = 0, onPurpose?: boolean) => {
    // A stream that opens is no success yet, only one that stays open is.
    if (now() - openedAt >= STABLE_MS) failures = 0;
    openedAt = Infinity;
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
  const watch = (heartbeats = SILENT_HEARTBEATS, silentMs = 0) => {
    if (heartbeat) setTimer(() => lost("silent"), heartbeat * heartbeats - silentMs);
  };
  /** Somebody needs the connection. from: the states in which that matters. */
  const start = (from: RegExp) => {
    subscriptions++;
    clearTimeout(linger);
    if (!from.test(status.state)) return;
    unwatch = all.watchPage((signal) => {
      if (signal === "pagehide") move("paused");
      else if (/waiting|paused/.test(status.state)) reconnect();
      else if (status.connected && timer) watch(HURRIED_HEARTBEATS, now() - heardAt);
    });
    move("connecting");
  };

  /** One attempt. The signal is aborted when it is over, whoever ends it; what it still does then does not matter. */
  const connect = async (signal: AbortSignal) => {
    let reason = "request"; // there can be none, or the function for headers failed
    let failure: unknown;
    setTimer(() => lost("silent"), CONNECT_TIMEOUT_MS);
    try {
      seen = placeOf(received);
      heartbeat ||= FIRST_HEARTBEAT_MS;
      parser = createParser((message) => inbox.push(message), {
        maxEventBytes: options.maxEventBytes,
        lastEventId: received,
        onTooLarge: () => fail("too-large"),
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
      const answer = await ask(url.href, { ...options.init, headers, cache: "no-store", signal });
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
        const chunks = (answer.body as ReadableStream<Uint8Array>).getReader();
        openedAt = now();
        move(state);
        await work; // of the connection before
        while (!signal.aborted) {
          heardAt = now();
          watch();
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
      const { type, topic, change, data: text, lastEventId: id } = message;
      isHub ||= type === "connected" && /"mode".*"from"/.test(text);
      const isOwn = isHub && !topic;
      // A gap goes back, and its id is not taken before it is told: if the connection breaks before that, the hub shall
      // tell it again.
      const place = placeOf(id);
      const had = isHub && type !== "gap" && isUpTo(place, seen);
      const mode = isOwn && /"mode":\s*"(\w+)/.exec(text)?.[1];
      if (had) {
        // Where all values are told over again, they may be from before.
        if (!isOwn && !(change && status.connected?.values === "all" && !isUpTo(place, told))) continue;
      } else if (seen && mode === "live") {
        // What was asked for was lost on the way. (This is the first frame.)
        const data = `{"reason":"unasked","requested":"${received}","oldest":null,"missed":null}`;
        inbox.splice(1, 0, { ...message, type: "gap", data });
      } else if (mode !== "gap") adopt(id);
      try {
        let data = ((!isOwn && all.decode) || JSON.parse)(text, type as never);
        const schema = (options.schemas as Schemas | undefined)?.[type]?.["~standard"];
        if (schema) {
          const result = await schema.validate(data);
          if (result.issues) throw result.issues;
          data = result.value;
        }
        const event = { ...message, data, text } as SourceEvent;
        batch.push(event);
        waits.push(...tell(`on ${type}`, event));
        if (isOwn) {
          // Who fetches the state anew must have it before the events that follow.
          await Promise.all(waits);
          if (type === "bye") bye = data;
          if (type === "connected") {
            if (data.values === "all") {
              told = null;
              if (had) received = withoutValues(received);
              beginValues();
            }
            if (!signal.aborted) {
              heartbeat = +data.heartbeat || 0;
              tell("status", (status = { ...status, connected: data }));
            }
          }
        }
      } catch (cause) {
        fail("unreadable", cause, message);
      }
      try {
        if (change) {
          changed.add(topic);
          told = place;
          changeValue(topic, change, text);
        }
      } catch (cause) {
        fail("value", cause, message);
        if (!(cause instanceof RangeError)) {
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
    await Promise.all([...waits, ...(batch[0] ? tell("batch", batch) : [])]);
    lastEventId = id;
    await Promise.all(tell("save", withoutValues(id)));
    if (bye && !signal.aborted) {
      if (/done|kicked/.test(bye.reason)) move("closed", bye.reason);
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
    onStatus: (listener) => add("status", listener),
    value(topic) {
      const get = () => heldValue(topic) as never;
      return {
        topic,
        get,
        subscribe(listener) {
          const off = keep(`value ${topic}`, listener);
          listener(get());
          return off;
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
