import type { Environment, PageSignal } from "../types.js";

/** Lets everything run that waits for nothing but its turn: promises, and streams that have their bytes. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

/** A clock that is turned by hand. `{ now, setTimeout, clearTimeout }` are for a source. */
export interface Clock extends Pick<Environment, "now" | "setTimeout" | "clearTimeout"> {
  /** Milliseconds from now to each timer that is set, the next one first. */
  readonly timers: readonly number[];
  /** Turns it on, timer by timer, and lets the source do what follows from each. */
  advance: (ms: number) => Promise<void>;
  /** The machine sleeps: the time passes, and no timer hears of it; each is due as much later. */
  sleep: (ms: number) => void;
}

/** startMs: Unix time. */
export function createClock(startMs = 1_793_709_045_000): Clock {
  let nowMs = startMs;
  let timers: Timer[] = [];
  const inOrder = () => timers.sort((one, other) => one.dueMs - other.dueMs);
  return {
    now: () => nowMs,
    setTimeout(callback, delayMs) {
      // As everywhere: what a timer cannot hold comes at once.
      const waitMs = delayMs > 0 && delayMs < 2 ** 31 ? delayMs : 0;
      const timer = { dueMs: nowMs + waitMs, callback };
      timers.push(timer);
      return timer;
    },
    clearTimeout(timer) {
      timers = timers.filter((other) => other !== timer);
    },
    get timers() {
      return inOrder().map(({ dueMs }) => dueMs - nowMs);
    },
    async advance(ms) {
      const endMs = nowMs + ms;
      await settle();
      for (;;) {
        const [next] = inOrder();
        if (!next || next.dueMs > endMs) break;
        nowMs = Math.max(nowMs, next.dueMs);
        timers.shift();
        next.callback();
        await settle();
      }
      nowMs = endMs;
    },
    sleep(ms) {
      nowMs += ms;
      timers = timers.map(({ dueMs, callback }) => ({ dueMs: dueMs + ms, callback }));
    },
  };
}

/** A page that says of itself what a test tells it to. `{ watchPage }` is for a source. */
export interface Page extends Pick<Environment, "watchPage"> {
  /** How many sources listen. */
  readonly listeners: number;
  signal: (signal: PageSignal) => void;
}

export function createPage(): Page {
  const listeners = new Set<(signal: PageSignal) => void>();
  return {
    watchPage(listener) {
      const own = (signal: PageSignal) => listener(signal);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    get listeners() {
      return listeners.size;
    },
    signal(signal) {
      for (const listener of [...listeners]) listener(signal);
    },
  };
}
