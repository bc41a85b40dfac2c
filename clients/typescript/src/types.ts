import type { SourceError } from "./errors.js";
import type { Message } from "./parser.js";
import type { Change } from "./values.js";

export type { Change, Message };

/** What event types there are and what their data is, where a source was not told: anything. */
// biome-ignore lint/suspicious/noExplicitAny: data is as JSON.parse gives it, unless an event map says more
export type AnyEvents = Record<string, any>;

/** What a stream says of itself (spec/stream.md, section 6). They have no topic. */
export interface OwnEvents {
  connected: Connected;
  heartbeat: { readonly timestamp: number };
  gap: Gap;
  bye: { readonly reason: string; readonly retry: number; readonly detail?: string };
}

/** The names of an event map's event types, and of the stream's own. */
export type TypeOf<Events> = keyof (Events & OwnEvents) & string;

/** One event. */
export interface SourceEvent<Data = unknown, Type extends string = string> {
  readonly type: Type;
  /** What its text says, decoded as the source was told to; JSON by default. */
  readonly data: Data;
  /** The data as it came. */
  readonly text: string;
  /** The stream's last event id with it. */
  readonly lastEventId: string;
  /** Empty for streams of other servers, and for what a stream says of itself. */
  readonly topic: string;
  /** What it does to its topic's value: `set`, `append`, `merge` or `delete`; empty for a plain event. */
  readonly change: string;
}

/** An event of any of the types, as a union that `event.type` tells apart. */
export type EventOf<Events, Type extends TypeOf<Events> = TypeOf<Events>> = {
  [T in Type]: SourceEvent<(Events & OwnEvents)[T], T>;
}[Type];

/** Events are missing: fetch the state anew by other means. What follows is no complete history. */
export interface Gap {
  /**
   * `expired`, `unknown`, `epoch` or `limit` (spec/stream.md, section 6); `unasked`: the id that was sent was lost on its
   * way, and the stream began somewhere else.
   */
  readonly reason: string;
  /** The position that was asked for. */
  readonly requested: string | null;
  /** The oldest position that can still be had. */
  readonly oldest: string | null;
  /** How many events may be missing; null if that cannot be known. */
  readonly missed: number | null;
}

/** Where a source is. `idle`: nobody needs it. `closed`: for good, unless `open` is called. */
export type State = "idle" | "connecting" | "open" | "waiting" | "paused" | "closed";

/** What a stream says first; other members, too. */
export interface Connected {
  readonly clientId: string;
  /** `live`, `resumed` or `gap`. */
  readonly mode: string;
  /** Milliseconds after which a silent stream says something; 0 if it does not. */
  readonly heartbeat: number;
  /** `all` or `changed`; not there if it tells no values. */
  readonly values?: string;
}

/** Where a source is, and why. It never changes: each move makes another one. */
export interface Status {
  readonly state: State;
  /**
   * For `waiting`: `network` (no connection, or it broke), `silent` (no answer, or no byte, in time), `status` (one that
   * passes), `request` (the function for headers failed), `value` (they are asked for anew), or the reason of a
   * `bye`: `drain`, `expired`, `limit`. For `closed`: `done`, `kicked`, `refused`, `no-stream`, or `closed` (by its
   * owner). Else empty.
   */
  readonly reason: string;
  /** Milliseconds from this status to the next attempt, while it waits. */
  readonly delayMs?: number | undefined;
  /** Once the stream has said what it is. */
  readonly connected?: Connected;
  /** Why it waits or closed, where there is more to say: a `SourceError`, what `fetch` threw, or a status. */
  readonly error?: unknown;
}

type Maybe<T> = T | PromiseLike<T>;

/**
 * Headers as `fetch` takes them, or what gives them. It gets the status if the server answered 401 or 403 with those
 * before, else undefined.
 */
export type HeadersSource = HeadersInit | ((refused: number | undefined) => Maybe<HeadersInit | undefined>);

/** Keeps one text: how far one reader of one stream has got. */
export interface CursorStore {
  /** The text kept last; nothing if there is none. Asked once, by `createSource`, which throws what this throws. */
  load(): string | null | undefined;
  /**
   * Keep a text in place of the one before. What it throws is reported, and the stream goes on. No more is read until a
   * promise is settled, so a text is never overtaken by another.
   */
  save(lastEventId: string): unknown;
}

/** What a page says of itself: `visibilitychange` when it becomes visible, the others as the events of that name. */
export type PageSignal = "pagehide" | "pageshow" | "visibilitychange" | "online";

/**
 * All that a source takes from around it. Each part can be given as an option: for tests, for places that are no browser,
 * and for other ways to a stream. They are called as plain functions, without `this`.
 */
export interface Environment {
  /** As the global one: the body of the answer is the stream, and the signal ends both. */
  fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Milliseconds; a clock that goes on while the machine sleeps. */
  now: () => number;
  setTimeout: (callback: () => void, delayMs: number) => unknown;
  clearTimeout: (timer: unknown) => void;
  /** From 0 up to 1, not included. */
  random: () => number;
  /** Calls the listener with what happens, until the function that it returns is called. */
  watchPage: (listener: (signal: PageSignal) => void) => () => void;
}

/** Makes data of an event's text. What it throws is reported as `unreadable`, and the event is not told. */
export type Decode = (text: string, type: string) => unknown;

/** Standard Schema, version 1 (standardschema.dev): the part that a source needs. */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Maybe<SchemaResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

/** What `createSource` takes. */
export type SourceOptions = StreamOptions & Sharing;

/** Whether one connection serves many. */
export type Sharing =
  | { share?: undefined; user?: string | undefined }
  | {
      /**
       * All sources of one origin, in tabs and workers, with the same request and the same user hold one connection.
       * Where the browser cannot do that, each holds its own.
       */
      share: "browser";
      /** Whose stream it is: tabs of others do not get it. Empty for streams that are the same for everybody. */
      user: string;
    };

/** What a source takes, however it is connected. */
export interface StreamOptions extends Partial<Environment> {
  /** May be relative, in a page. */
  url: string | URL;
  /** Topics and patterns to ask for, sent as `topic` in the query. */
  topics?: string | readonly string[];
  /** A function is asked before every attempt, and once more with the reason after a 401 or 403. */
  headers?: HeadersSource;
  /** What else `fetch` takes: `{ method: "POST", body, credentials: "include" }`. It is sent again with every attempt. */
  init?: RequestInit;
  /** Resume after this event. Who holds no values says so by `~0` after a hub's position, and is told them. */
  lastEventId?: string;
  /** Where to keep the place over the end of the page. What it holds wins over `lastEventId`. */
  cursor?: CursorStore;
  /** What becomes of an event's text, perhaps by a promise; `JSON.parse` by default. Types may be checked: `withSchemas`. */
  decode?: Decode;
  /** Bytes; a larger event is passed over and reported, and a larger value is not held. 16 MiB by default. */
  maxEventBytes?: number;
  /** The least wait, whatever the stream's `retry:` says; 500 by default. */
  minDelayMs?: number;
  /** Where doubling ends; 30,000 by default. A stream may ask for longer. */
  maxDelayMs?: number;
}

/** Ends a subscription; a second call does nothing. */
export type Unsubscribe = () => void;

/** What a topic is, as the stream told it. */
export interface Value<T = unknown> {
  readonly topic: string;
  /** The value, the same object until it is told; undefined if there is none, or none was told. Do not change it. */
  get(): T | undefined;
  /**
   * Calls the listener at once, and after each network read that told the value, as it was or another: once, with the
   * newest. Keeps the connection open. What the first call throws is thrown, and nothing is subscribed.
   */
  subscribe(listener: (value: T | undefined) => void): Unsubscribe;
}

/** Several topics and patterns. (A text has an iterator, too, and is none of them.) */
export type Topics = readonly string[] | ReadonlySet<string>;

/**
 * One stream over any number of connections.
 *
 * It connects when `open` is called or with the first subscription (`on`, `onBatch`, a loop over `events`, a value's
 * `subscribe`). It goes to `idle` a second after the last one ended, unless `open` was called.
 *
 * Listeners are called in the order of the events. What they throw is reported, and the stream goes on. Who returns a
 * promise holds back the stream, so that nothing piles up: no more is read from the network until it is settled. (So it
 * must not wait for a later event.) The cursor moves after that.
 */
export interface Source<Events extends object = AnyEvents> {
  readonly status: Status;
  /** Up to here all events were dealt with: their listeners have returned. */
  readonly lastEventId: string;
  /**
   * Calls the listener with each event of a type. What the stream says of itself are events, too, without a topic:
   * `connected`, `heartbeat`, `gap` and `bye`.
   */
  on<Type extends TypeOf<Events>>(type: Type, listener: (event: EventOf<Events, Type>) => unknown): Unsubscribe;
  /** Calls the listener after each network read with all events of it, which the listeners of `on` have had by then. */
  onBatch(listener: (events: readonly EventOf<Events>[]) => unknown): Unsubscribe;
  /**
   * Calls the listener when events are missing. The events that follow wait until what it returns is settled. Does not
   * open the connection.
   */
  onGap(listener: (gap: Gap) => unknown): Unsubscribe;
  /** Calls the listener with each error; without one they go to the console. Does not open the connection. */
  onError(listener: (error: SourceError) => unknown): Unsubscribe;
  /** Calls the listener with each new status. Does not open the connection. */
  onStatus(listener: (status: Status) => unknown): Unsubscribe;
  /** What a topic is. */
  value<T = unknown>(topic: string): Value<T>;
  /**
   * The events of some types, or of all, from the moment when the first one is asked for, together with all that the
   * same network read brought. An event is dealt with when the next one is asked for. Leaving the loop ends the
   * subscription, and counts what had come by then as dealt with, by an error too: catch inside the loop what shall not
   * lose events. The loop ends when the source closes, and throws if that is for an error. (`return`, called while the
   * loop waits for an event, takes effect with the next one.)
   */
  events<Type extends TypeOf<Events> = TypeOf<Events>>(...types: Type[]): AsyncIterableIterator<EventOf<Events, Type>>;
  /** Asks for more topics, or for fewer: a new request from the same position. All values are told anew. */
  subscribeTopics(add: Topics, remove?: Topics): void;
  /** Connects, and stays connected until `close`. */
  open(): void;
  /** Ends the connection. Subscriptions stay; iterators end once what they hold was given out. */
  close(): void;
  /** Connects at once with a new request, whatever it is doing, unless it is closed or idle. */
  reconnect(): void;
}
