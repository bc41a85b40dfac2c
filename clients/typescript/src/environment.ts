import type { Environment, PageSignal } from "./types.js";

/** What is around a source, unless it is told otherwise. */
export const surroundings = (): Environment => ({
  fetch: (url, init) => fetch(url, init),
  now: Date.now,
  random: Math.random,
  setTimeout,
  clearTimeout: clearTimeout as Environment["clearTimeout"],
  // A worker has some of them, other places may have none.
  watchPage(listener) {
    const stop = new AbortController();
    for (const type of ["pagehide", "pageshow", "visibilitychange", "online"] as PageSignal[]) {
      const listen = () => (type === "visibilitychange" && document.hidden) || listener(type);
      globalThis.addEventListener?.(type, listen, stop);
    }
    return () => stop.abort();
  },
});
