// biome-ignore-all lint/correctness/noComponentHookFactories: the hooks of a source are made once, with the source
import { createContext, useContext, useEffect, useInsertionEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { AnyEvents, EventOf, Source, TypeOf, Unsubscribe } from "../index.js";
import { type CancelOptions, cancelTask, type GenerationValue } from "../tasks.js";
import type { EventOptions, Hooks, Selection } from "./types.js";

/** How long a component that waits keeps the connection without being asked again: it may be gone, and cannot say so. */
const WAIT_MS = 30_000;

/** What `useSyncExternalStore` takes. */
interface Store<T> {
  readonly subscribe: (notify: () => void) => Unsubscribe;
  readonly get: () => T;
}

/** What was rendered last, for who is called later. It is taken over before all other effects of that render. */
export function useNewest<T>(value: T): { readonly current: T } {
  const newest = useRef(value);
  useInsertionEffect(() => {
    newest.current = value;
  });
  return newest;
}

function useSelected<Whole, Part>(
  { subscribe, get }: Store<Whole | undefined>,
  { initial, select = (whole) => whole as never, isEqual = Object.is }: Selection<Whole, Part> = {},
): Part {
  const last = useRef<Part>(undefined);
  let seen: unknown = isEqual; // nothing that is ever told
  let part: Part;
  const choose = (whole = initial as Whole): Part => {
    if (seen !== whole) {
      seen = whole;
      part = select(whole);
      if (last.current !== undefined && isEqual(last.current, part)) part = last.current;
      last.current = part;
    }
    return part;
  };
  return useSyncExternalStore(
    subscribe,
    () => choose(get()),
    () => choose(),
  );
}

/**
 * The hooks of a source. Without one, `SourceProvider` has to give it.
 *
 * options: what `stop` of a generation has to know, as `createSource` was told it.
 */
export function createHooks<Events extends object = AnyEvents>(
  source?: Source<Events>,
  options?: CancelOptions,
): Hooks<Events> {
  // All hooks are in this function, for they share the context; a page pays for what is handed from one to another.
  const SourceContext = createContext(source);
  const waits = new WeakMap<object, Map<string, Promise<void>>>(); // of sources' topics, until they have values

  const useSource = () => {
    const found = useContext(SourceContext);
    if (found) return found;
    throw Error("clarion: no SourceProvider");
  };
  const useReducedEvents = <Type extends TypeOf<Events>, State>(
    types: Type | readonly Type[],
    reduce: (state: State, event: EventOf<Events, Type>) => State,
    initial: State,
  ): State => {
    const source = useSource();
    const newest = useNewest(reduce);
    // biome-ignore lint/correctness/useExhaustiveDependencies: the types are compared by what they say
    const [subscribe, get] = useMemo(() => {
      let state = initial;
      let told = state; // as of the end of the last network read
      return [
        (notify: () => void) => {
          const offs = [...new Set([types].flat() as Type[])].map((type) =>
            source.on(type, (event) => {
              state = newest.current(state, event);
            }),
          );
          offs.push(
            source.onBatch(() => {
              told = state;
              notify();
            }),
          );
          return () => {
            offs.map((off) => off());
          };
        },
        () => told,
      ] as const;
    }, [source, JSON.stringify(types)]);
    return useSyncExternalStore(subscribe, get, get);
  };
  const useTopic = (topic: string) => {
    const source = useSource();
    return useMemo(() => source.value(topic), [source, topic]);
  };
  // biome-ignore lint/suspicious/noExplicitAny: `Hooks` says which
  const useValue = (topic: string, options?: Selection<any, any>) => useSelected(useTopic(topic), options);

  return {
    SourceProvider: SourceContext.Provider,
    useSource,
    useEvent(type, handler, { topic, enabled = true }: EventOptions = {}) {
      const source = useSource();
      const newest = useNewest(handler);
      // biome-ignore lint/correctness/useExhaustiveDependencies: the newest is read when an event comes
      useEffect(
        () =>
          enabled
            ? source.on(type, (event) => (topic ?? event.topic) === event.topic && newest.current(event))
            : undefined,
        [source, type, topic, enabled],
      );
    },
    useReducedEvents,
    useLatest: (type) => useReducedEvents(type, (_: unknown, event) => event, undefined) as never,
    useValue,
    useValueSuspense(topic) {
      const source = useSource();
      const { subscribe, get } = useTopic(topic);
      const told = useSyncExternalStore(subscribe, get);
      if (told !== undefined) return told as never;
      if (source.status.state === "closed") throw source.status.error ?? Error("clarion: closed");

      const topics = waits.get(source) ?? new Map<string, Promise<void>>();
      const wait = async () => {
        await undefined; // React is rendering, and nothing is to be opened then
        let offs: (() => unknown)[] = [];
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, WAIT_MS);
          offs = [
            subscribe((value) => value !== undefined && resolve()),
            source.onStatus(() => resolve()),
            () => clearTimeout(timer),
            () => topics.delete(topic),
          ];
        });
        offs.map((off) => off());
      };
      const found = topics.get(topic) ?? wait();
      waits.set(source, topics.set(topic, found));
      throw found;
    },
    useProgress: useValue,
    useGeneration(topic) {
      const value: GenerationValue | undefined = useValue(topic);
      // biome-ignore lint/correctness/useExhaustiveDependencies: the options are those of all hooks
      return useMemo(() => ({ text: "", ...value, stop: () => cancelTask(topic, options) }), [value, topic]);
    },
    // biome-ignore lint/suspicious/noExplicitAny: `Hooks` says which
    useSourceStatus(select?: any, isEqual?: any): any {
      const source = useSource();
      return useSelected(
        { subscribe: source.onStatus, get: () => source.status },
        { initial: { state: "idle", reason: "" }, select, isEqual },
      );
    },
  };
}
