import type { Provider } from "react";
import type { AnyEvents, EventOf, Sharing, Source, Status, StreamOptions, TypeOf, Unsubscribe } from "../index.js";
import type { GenerationValue, ProgressValue } from "../tasks.js";

export interface EventOptions {
  /** Only the events of this topic. */
  topic?: string;
  /** Whether to listen; true by default. */
  enabled?: boolean;
}

/** What a component needs of something that changes. */
export interface Selection<Whole, Part> {
  /** In place of a value while there is none, and on servers. */
  initial?: Whole | undefined;
  /** The part that is needed: the component renders when that changes. */
  select?: ((whole: Whole) => Part) | undefined;
  /** Whether two parts are the same, so that the first may stay; `Object.is` by default. */
  isEqual?: IsEqual<Part> | undefined;
}

export type IsEqual<Part> = (one: Part, other: Part) => boolean;

/** A generated text, as far as it is told: all members of its value, and these. */
export interface Generation extends Partial<Omit<GenerationValue, "text">> {
  /** So far; empty if there is none. */
  readonly text: string;
  /** Asks the server to stop it, as `cancelTask` does. Its `status` says when it has. */
  readonly stop: () => Promise<void>;
}

/** The hooks of a source. All but the last keep it connected while the component is there. */
export interface Hooks<Events extends object = AnyEvents> {
  /** `<SourceProvider value={source}>`: the source of what is in it, in place of the one that the hooks were made with. */
  readonly SourceProvider: Provider<Source<Events> | undefined>;
  /** The source itself. Throws if there is none. */
  useSource(): Source<Events>;
  /**
   * Calls the handler that was rendered last with each event of a type; it may be another one each time. What it throws
   * goes to the source's `onError`, and while what it returns is not settled, the stream waits.
   */
  useEvent<Type extends TypeOf<Events>>(
    type: Type,
    handler: (event: EventOf<Events, Type>) => unknown,
    options?: EventOptions,
  ): void;
  /**
   * What the events of some types add up to while the component is there, from `initial` on. Each is reduced once, by the
   * function that was rendered last, and the component renders once for each network read. Other types begin anew.
   */
  useReducedEvents<Type extends TypeOf<Events>, State>(
    types: Type | readonly Type[],
    reduce: (state: State, event: EventOf<Events, Type>) => State,
    initial: State,
  ): State;
  /** The newest event of a type that came while the component was there. */
  useLatest<Type extends TypeOf<Events>>(type: Type): EventOf<Events, Type> | undefined;
  /**
   * What a topic is, or a part of that. It does not ask for the topic: the source's request has to cover it, by a pattern
   * or by the user whose stream it is.
   */
  useValue<T, Part>(topic: string, options: Selection<T, Part> & { initial: T; select: (value: T) => Part }): Part;
  useValue<T, Part>(
    topic: string,
    options: Selection<T | undefined, Part> & { select: (value: T | undefined) => Part },
  ): Part;
  useValue<T>(topic: string, options: Selection<T, T> & { initial: T }): T;
  useValue<T = unknown>(topic: string, options?: Selection<T | undefined, T | undefined>): T | undefined;
  /**
   * What a topic is; suspends while it has no value. Throws what closed the source, if that is closed without one. Servers
   * leave it to the browser, by an error within `<Suspense>` that React names.
   */
  useValueSuspense<T = unknown>(topic: string): T;
  /** How far a task is: the value of its topic, which is its id. */
  useProgress(taskId: string): ProgressValue | undefined;
  /** A generated text: the value of its topic. */
  useGeneration(topic: string): Generation;
  /** Where the source is, or a part of that. On servers it is idle. */
  useSourceStatus(): Status;
  useSourceStatus<Part>(select: (status: Status) => Part, isEqual?: IsEqual<Part>): Part;
}

/** What `useSSE` gives. */
export interface SSE<Events extends object = AnyEvents> {
  /**
   * Calls the listener with each event of a type, until the function that it returns is called. For effects, of this
   * component or of those that it is given to. It is the same function as long as the stream is the same.
   */
  readonly subscribe: <Type extends TypeOf<Events>>(
    type: Type,
    listener: (event: EventOf<Events, Type>) => unknown,
  ) => Unsubscribe;
  readonly status: Status;
}

export type SSEOptions = Omit<StreamOptions, "url"> & Sharing;
