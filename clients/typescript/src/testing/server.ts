import type { Environment } from "../types.js";
import { settle } from "./clock.js";

/** A stream that a request was answered with. Each call lets the source deal with what was said. */
export interface ScriptedStream {
  /** Whether the source hung up. */
  readonly closed: boolean;
  /** Says bytes, or text as UTF-8; as one network read. */
  send(chunk: string | Uint8Array): Promise<void>;
  /** The stream ends. */
  end(): Promise<void>;
  /** The connection breaks. */
  fail(): Promise<void>;
}

/** A request that waits for its answer. */
export interface ScriptedRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: RequestInit["body"];
  /** Everything that `fetch` was given. */
  readonly init: RequestInit;
  /** Whether the source has given it up. */
  readonly aborted: boolean;
  /** Answers with a stream. */
  open(headers?: Record<string, string>): Promise<ScriptedStream>;
  /** Answers with something else. */
  answer(status: number, headers?: Record<string, string>, body?: string): Promise<void>;
  /** There is no answer: the network fails. */
  fail(): Promise<void>;
}

/** A server that does what a test tells it to. `{ fetch }` is for a source. */
export interface ScriptedServer extends Pick<Environment, "fetch"> {
  /** All requests so far. */
  readonly requests: readonly ScriptedRequest[];
  /** The next request that was not taken yet, once it has come. */
  next(): Promise<ScriptedRequest>;
}

export function createServer(): ScriptedServer {
  const requests: ScriptedRequest[] = [];
  const waiting: ((request: ScriptedRequest) => void)[] = [];
  let taken = 0;
  const give = () => {
    while (waiting.length && taken < requests.length) waiting.shift()?.(requests[taken++] as ScriptedRequest);
  };
  return {
    requests,
    next: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
        give();
      }),
    fetch: (url, init) =>
      new Promise((resolve, reject) => {
        if (init.signal?.aborted) return reject(init.signal.reason);
        requests.push(scripted(url, init, resolve, reject));
        give();
      }),
  };
}

function scripted(
  url: string,
  init: RequestInit,
  resolve: (response: Response) => void,
  reject: (error: unknown) => void,
): ScriptedRequest {
  const { signal } = init;
  signal?.addEventListener("abort", () => reject(signal.reason));
  const answered = (response: Response) => {
    resolve(response);
    return settle();
  };
  return {
    method: init.method ?? "GET",
    url: new URL(url),
    headers: new Headers(init.headers),
    body: init.body,
    init,
    get aborted() {
      return signal?.aborted ?? false;
    },
    async open(headers = {}) {
      const stream = streamFor(signal);
      await answered(
        new Response(stream.body, { status: 200, headers: { "content-type": "text/event-stream", ...headers } }),
      );
      return stream;
    },
    answer: (status, headers = {}, body) => answered(new Response(body ?? null, { status, headers })),
    fail() {
      reject(new TypeError("fetch failed"));
      return settle();
    },
  };
}

function streamFor(signal: AbortSignal | null | undefined): ScriptedStream & { body: ReadableStream<Uint8Array> } {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  let closed = false;
  const body = new ReadableStream<Uint8Array>({
    start(given) {
      controller = given;
    },
    cancel() {
      closed = true;
    },
  });
  signal?.addEventListener("abort", () => {
    if (!closed) controller.error(signal.reason);
    closed = true;
  });
  const act = (what: () => void) => {
    if (!closed) what();
    return settle();
  };
  return {
    body,
    get closed() {
      return closed;
    },
    send: (chunk) => act(() => controller.enqueue(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk)),
    end: () =>
      act(() => {
        closed = true;
        controller.close();
      }),
    fail: () =>
      act(() => {
        closed = true;
        controller.error(new TypeError("terminated"));
      }),
  };
}
