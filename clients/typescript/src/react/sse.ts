import { useMemo, useSyncExternalStore } from "react";
import type { AnyEvents, SourceOptions, Status } from "../index.js";
import { keyOf, statusOf, withSource } from "../sources.js";
import { useNewest } from "./hooks.js";
import type { SSE, SSEOptions } from "./types.js";

const IDLE: Status = { state: "idle", reason: "" };

/**
 * The stream of a URL, connected while the component is there. All components with the same URL, topics and user share one
 * connection.
 *
 * options: those of who comes first count. If `headers` is a function, the one that was rendered last is asked.
 */
export function useSSE<Events extends object = AnyEvents>(url: string | URL, options: SSEOptions = {}): SSE<Events> {
  const newest = useNewest(options);
  const key = keyOf({ ...options, url });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says which URL; the newest options are read later
  const [subscribe, connect] = useMemo(() => {
    const made = (): SourceOptions => {
      const { headers } = newest.current;
      const isAsked = typeof headers === "function";
      const ask = (refused?: number) => (newest.current.headers as (refused?: number) => undefined)(refused);
      return { ...newest.current, url, ...(isAsked && { headers: ask }) };
    };
    return [
      (type: string, listener: () => void) => withSource(key, made, (source) => source.on(type, listener)),
      (notify: () => void) =>
        withSource(key, made, (source) => {
          const offs = [source.onStatus(notify), source.onBatch(() => {})];
          return () => {
            for (const off of offs) off();
          };
        }),
    ];
  }, [key]);
  const status = useSyncExternalStore(
    connect,
    () => statusOf(key) ?? IDLE,
    () => IDLE,
  );
  return useMemo(() => ({ subscribe, status }) as SSE<Events>, [subscribe, status]);
}
