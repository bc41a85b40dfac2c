/**
 * A browser for tests of sharing: tabs with Web Locks, BroadcastChannels and timers of their own. What passes between
 * them takes as long, and comes in such an order, as a test or its random numbers have it; only what one tab tells another
 * stays in order.
 */
import type { Environment } from "../src/index.js";
import { sharedFetch } from "../src/share.js";
import { type Clock, createClock, settle } from "../src/testing/index.js";

/** Something on its way to a tab. */
interface Delivery {
  readonly to: Tab;
  /** Those of one line are delivered in order. */
  readonly line: string;
  readonly act: () => void;
}

interface LockRequest {
  readonly tab: Tab;
  readonly name: string;
  readonly callback: () => unknown;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  isStarted: boolean;
}

export class FakeBrowser {
  readonly tabs: Tab[] = [];
  readonly channels: FakeChannel[] = [];
  /** Everything that was said on channels. */
  readonly said: unknown[][] = [];
  #deliveries: Delivery[] = [];
  #holders = new Map<string, LockRequest>();
  #queues = new Map<string, LockRequest[]>();

  /** random: chooses what is delivered next; without it, what was sent first is. */
  constructor(readonly random: () => number = () => 0) {}

  open(network: Environment["fetch"], user = "ann"): Tab {
    const tab = new Tab(this, network, user);
    this.tabs.push(tab);
    return tab;
  }

  /** Who holds a lock of which the name has this in it. */
  holder(part = ""): Tab | undefined {
    return [...this.#holders].find(([name]) => name.includes(part))?.[1].tab;
  }

  /** Who waits for a lock. */
  waiting(): Tab[] {
    return [...this.#queues.values()].flat().map(({ tab }) => tab);
  }

  send(to: Tab, line: string, act: () => void): void {
    this.#deliveries.push({ to, line, act });
  }

  /** Delivers one thing; says whether there was one. */
  deliver(): boolean {
    const lines = new Set<string>();
    const ready = this.#deliveries.filter(({ to, line }) => {
      const isFirst = !lines.has(line);
      lines.add(line);
      return isFirst && !to.isSuspended && !to.isGone;
    });
    const next = ready[Math.floor(this.random() * ready.length)];
    if (!next) return false;
    this.#deliveries.splice(this.#deliveries.indexOf(next), 1);
    next.act();
    return true;
  }

  /** Delivers everything, and what follows from it. */
  async settle(): Promise<void> {
    do await settle();
    while (this.deliver());
  }

  /** Lets time pass for all tabs that are awake. */
  async advance(ms: number): Promise<void> {
    for (const tab of this.tabs) if (!tab.isSuspended && !tab.isGone) await tab.clock.advance(ms);
    await this.settle();
  }

  request(tab: Tab, name: string, options: LockOptions, callback: () => unknown): Promise<unknown> {
    const { signal, steal } = options;
    if (steal && signal) throw new DOMException("signal and steal", "NotSupportedError");
    if (name.startsWith("-")) throw new DOMException("name", "NotSupportedError");
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const request = { tab, name, callback, resolve, reject, isStarted: false };
      signal?.addEventListener("abort", () => {
        if (request.isStarted) return;
        this.#remove(request);
        reject(signal.reason);
      });
      const holder = this.#holders.get(name);
      if (steal) {
        if (holder) {
          const stolen = () => holder.reject(new DOMException("stolen", "AbortError"));
          this.send(holder.tab, `locks of ${holder.tab.id}`, stolen);
        }
        this.#grant(request);
      } else {
        this.#queues.set(name, [...(this.#queues.get(name) ?? []), request]);
        this.#next(name);
      }
    });
  }

  #grant(request: LockRequest): void {
    const { tab, name } = request;
    this.#holders.set(name, request);
    this.send(tab, `locks of ${tab.id}`, () => {
      if (this.#holders.get(name) !== request) return;
      request.isStarted = true;
      void (async () => {
        const value = await request.callback();
        request.resolve(value);
        this.#remove(request);
      })();
    });
  }

  #next(name: string): void {
    if (this.#holders.has(name)) return;
    const request = this.#queues.get(name)?.shift();
    if (request) this.#grant(request);
  }

  #remove(request: LockRequest): void {
    const { name } = request;
    this.#queues.set(
      name,
      (this.#queues.get(name) ?? []).filter((other) => other !== request),
    );
    if (this.#holders.get(name) !== request) return;
    this.#holders.delete(name);
    this.#next(name);
  }

  forget(tab: Tab): void {
    for (const channel of this.channels.filter((one) => one.tab === tab)) channel.close();
    for (const queue of this.#queues.values()) {
      for (const request of queue) if (request.tab === tab) this.#remove(request);
    }
    for (const request of [...this.#holders.values()]) if (request.tab === tab) this.#remove(request);
  }
}

export class FakeChannel {
  static #count = 0;
  readonly id = FakeChannel.#count++;
  onmessage: ((event: MessageEvent) => void) | null = null;
  isClosed = false;

  constructor(
    readonly tab: Tab,
    readonly name: string,
  ) {
    tab.browser.channels.push(this);
  }

  postMessage(data: unknown[]): void {
    if (this.isClosed) throw new DOMException("closed", "InvalidStateError");
    const { browser } = this.tab;
    browser.said.push(data);
    for (const other of browser.channels) {
      if (other === this || other.name !== this.name) continue;
      const copy = structuredClone(data);
      browser.send(other.tab, `${this.id} to ${other.id}`, () => {
        if (!other.isClosed) other.onmessage?.({ data: copy } as MessageEvent);
      });
    }
  }

  close(): void {
    const { channels } = this.tab.browser;
    this.isClosed = true;
    if (channels.includes(this)) channels.splice(channels.indexOf(this), 1);
  }
}

export class Tab {
  static #count = 0;
  readonly id = Tab.#count++;
  readonly clock: Clock = createClock();
  /** Nothing in it happens. */
  isSuspended = false;
  /** Its process has ended. */
  isGone = false;
  /** What a page has around it, and this one may lack. */
  readonly globals: Record<string, unknown>;

  constructor(
    readonly browser: FakeBrowser,
    readonly network: Environment["fetch"],
    readonly user: string,
  ) {
    const tab = this;
    this.globals = {
      navigator: {
        locks: {
          request: (name: string, options: LockOptions, callback: () => unknown) =>
            browser.request(tab, name, options, callback),
        },
      },
      BroadcastChannel: class extends FakeChannel {
        constructor(name: string) {
          super(tab, name);
        }
      },
      setTimeout: tab.clock.setTimeout,
      clearTimeout: tab.clock.clearTimeout,
    };
  }

  /** The shared one, as it is in this tab. */
  readonly fetch: Environment["fetch"] = (url, init) => {
    const before = Object.keys(this.globals).map(
      (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
    );
    for (const [name, value] of Object.entries(this.globals))
      Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    try {
      return sharedFetch(this.user, this.network)(url, init);
    } finally {
      for (const [name, property] of before) {
        if (property) Object.defineProperty(globalThis, name, property);
        else delete (globalThis as Record<string, unknown>)[name];
      }
    }
  };

  /** Its process ends in the middle of whatever it does. */
  kill(): void {
    this.isGone = true;
    this.browser.forget(this);
  }
}
