/**
 * `EventSource`, shaped as WHATWG HTML 9.2 has it, on a source: in the place of the native one it survives every answer
 * that may pass, notices dead streams, backs off with jitter, and takes headers.
 */
import { createSource } from "./source.js";
import type { Sharing, Source, StreamOptions } from "./types.js";

/** What the native one takes, and what a source does. */
export type EventSourceInit = Omit<StreamOptions, "url" | "decode"> &
  Sharing & {
    withCredentials?: boolean;
  };

type Listener<E extends Event = Event> = ((this: EventSource, event: E) => unknown) | null;

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 2;

/** Listeners get `MessageEvent`s, whatever the type; but for `open` and `error`. */
export interface EventSource {
  addEventListener(
    type: string,
    listener: ((this: EventSource, event: MessageEvent) => unknown) | EventListenerOrEventListenerObject | null,
    options?: AddEventListenerOptions | boolean,
  ): void;
  removeEventListener(
    type: string,
    listener: ((this: EventSource, event: MessageEvent) => unknown) | EventListenerOrEventListenerObject | null,
    options?: EventListenerOptions | boolean,
  ): void;
}

/** See `EventSource` in HTML. `error` events come for each lost connection; `readyState` says whether it comes back. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: nothing is added but types
export class EventSource extends EventTarget {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSED = CLOSED;
  readonly CONNECTING = CONNECTING;
  readonly OPEN = OPEN;
  readonly CLOSED = CLOSED;
  readonly url: string;
  readonly withCredentials: boolean;

  readonly #source: Source;
  readonly #attributes = new Map<string, Listener<never>>();
  #state: 0 | 1 | 2 = CONNECTING;

  /** Throws a `SyntaxError` for an address that is none. */
  constructor(url: string | URL, { withCredentials = false, init, ...options }: EventSourceInit = {}) {
    super();
    try {
      this.url = new URL(url, globalThis.location as never).href;
    } catch {
      throw new DOMException(`"${url}" is no address`, "SyntaxError");
    }
    this.withCredentials = withCredentials;
    this.#source = createSource({
      ...options,
      url: this.url,
      init: { credentials: withCredentials ? "include" : "same-origin", ...init },
      decode: (text) => text,
    });
    const { origin } = new URL(this.url);
    this.#source.onStatus(({ state }) => this.#moved(state));
    this.#source.onBatch((events) => {
      for (const { type, text: data, lastEventId } of events) {
        // "If the event source's readyState attribute is set to CLOSED", nothing is fired.
        if (this.#state !== CLOSED) this.dispatchEvent(new MessageEvent(type, { data, lastEventId, origin }));
      }
    });
    this.#source.open();
  }

  get readyState(): 0 | 1 | 2 {
    return this.#state;
  }

  close(): void {
    this.#state = CLOSED;
    this.#source.close();
  }

  get onopen(): Listener {
    return this.#attribute("open");
  }
  set onopen(listener: Listener) {
    this.#setAttribute("open", listener);
  }

  get onmessage(): Listener<MessageEvent> {
    return this.#attribute("message");
  }
  set onmessage(listener: Listener<MessageEvent>) {
    this.#setAttribute("message", listener);
  }

  get onerror(): Listener {
    return this.#attribute("error");
  }
  set onerror(listener: Listener) {
    this.#setAttribute("error", listener);
  }

  #moved(state: string): void {
    const before = this.#state;
    if (before === CLOSED) return;
    this.#state = state === "open" ? OPEN : state === "closed" ? CLOSED : CONNECTING;
    if (this.#state === OPEN && before !== OPEN) this.dispatchEvent(new Event("open"));
    else if (state === "waiting" || state === "closed") this.dispatchEvent(new Event("error"));
  }

  #attribute<E extends Event>(type: string): Listener<E> {
    return (this.#attributes.get(type) as Listener<E> | undefined) ?? null;
  }

  /** An event handler is one listener, wherever it is set anew. */
  #setAttribute<E extends Event>(type: string, listener: Listener<E>): void {
    if (!this.#attributes.has(type))
      this.addEventListener(type, (event: Event) => this.#attribute(type)?.call(this, event));
    this.#attributes.set(type, typeof listener === "function" ? (listener as Listener<never>) : null);
  }
}
