/**
 * Tabs that share one stream of a model hub, over a faulty network, and in a browser that delivers what they say to each
 * other at any time: tabs come and go, are reloaded, killed and suspended, and leaders change. Each tab gets every event
 * once and in order, or is told that some are missing, and ends with the hub's values. At rest there is one connection.
 */
import { expect, it } from "vitest";
import { type CursorStore, createSource, type Source } from "../src/index.js";
import { createPage, createServer, settle } from "../src/testing/index.js";
import { ModelHub } from "./hub.js";
import { seeded } from "./pieces.js";
import { FakeBrowser, type Tab } from "./share-browser.js";
import { FOREIGN, HubStream } from "./share-hub.js";

/** More of them: SHARE_RUNS=20000 SHARE_FIRST=400 npx vitest run test/share-model.test.ts */
const RUNS = Number(process.env["SHARE_RUNS"] ?? 400);
const FIRST = Number(process.env["SHARE_FIRST"] ?? 0);
const STEPS = 120;
const MOST_TABS = 5;
const TOPICS = ["a", "b", "c"];

/** What a reader got: an event of an epoch and its offset, or a gap. */
type Line = readonly [epoch: string, offset: number] | "gap";

/** What outlives a reload. */
interface Session {
  kept: string;
  readonly ledger: Line[];
}

/** A page in a tab. */
class Reader {
  readonly server = createServer();
  readonly page = createPage();
  readonly errors: unknown[] = [];
  readonly streams: HubStream[] = [];
  readonly tab: Tab;
  readonly source: Source;
  answered = 0;

  constructor(
    readonly run: Run,
    readonly session: Session,
  ) {
    this.tab = run.browser.open(this.server.fetch);
    const cursor: CursorStore = {
      load: () => session.kept,
      save: (id) => {
        session.kept = id;
      },
    };
    const { fetch, clock } = this.tab;
    const { random } = run;
    this.source = createSource({
      ...clock,
      ...this.page,
      url: "http://hub.test/",
      topics: TOPICS,
      cursor,
      random,
      fetch,
    });
    this.source.on("message", ({ lastEventId }) => {
      const [epoch, digits] = lastEventId.split(/[-~]/) as [string, string];
      session.ledger.push([epoch, Number(digits)]);
    });
    this.source.onGap(() => session.ledger.push("gap"));
    this.source.onError((error) => this.errors.push(error));
  }

  get open(): HubStream[] {
    return this.streams.filter((stream) => !stream.isClosed);
  }
}

class Run {
  readonly hub = new ModelHub();
  readonly browser: FakeBrowser;
  readonly published = new Set<string>();
  readers: Reader[] = [];
  /** Of tabs that are closed. */
  readonly past: Session[] = [];
  requests = 0;

  constructor(readonly random: () => number) {
    this.browser = new FakeBrowser(random);
    this.open();
  }

  chance(of: number): boolean {
    return this.random() < of;
  }

  below(count: number): number {
    return Math.floor(this.random() * count);
  }

  any(): Reader {
    return this.readers[this.below(this.readers.length)] as Reader;
  }

  open(session: Session = { kept: "", ledger: [] }): void {
    this.readers.push(new Reader(this, session));
  }

  /** The page goes away, in order or not. */
  leave(reader: Reader): void {
    const kind = this.below(3);
    if (kind === 0) reader.source.close();
    if (kind === 1) reader.page.signal("pagehide");
    reader.tab.kill();
    expect(reader.errors).toEqual([]);
    this.readers = this.readers.filter((other) => other !== reader);
  }

  publish(): void {
    const { hub } = this;
    const kind = this.below(10);
    const topic = TOPICS[this.below(TOPICS.length)] as string;
    const value = hub.values(hub.head).get(topic)?.value;
    if (kind < 3) {
      hub.publish(topic, "", { n: this.below(1000), text: "\u20ac\n".repeat(this.below(5)) });
      this.published.add(`${hub.epoch}-${hub.head}`);
    } else if (kind < 5) hub.publish(FOREIGN, "", 0);
    else if (kind === 5) hub.publish(topic, "set", { text: "", list: [] });
    else if (kind < 8 && value !== undefined) hub.publish(topic, "append", { text: `${hub.head} ` });
    else if (kind === 8 && value !== undefined)
      hub.publish(topic, "merge", { [`m${this.below(3)}`]: this.chance(0.3) ? null : hub.head });
    else if (kind === 9 && value !== undefined) hub.publish(topic, "delete", null);
  }

  /** Answers a request of a tab that waits. */
  async answer(reader: Reader, faults: boolean): Promise<void> {
    const request = reader.server.requests[reader.answered];
    if (!request || reader.tab.isSuspended) return;
    reader.answered++;
    this.requests++;
    if (request.aborted) return;
    if (faults && this.chance(0.15)) return request.fail();
    if (faults && this.chance(0.15)) return request.answer(503, this.chance(0.5) ? { "retry-after": "1" } : {});
    const stream = new HubStream(this.hub, () => reader.tab.isGone, request);
    reader.streams.push(stream);
    // Who never got as far as an id begins with what is new, and has lost nothing.
    if (!request.headers.get("last-event-id")) reader.session.ledger.push("gap");
    await stream.open();
  }

  async tell(reader: Reader, faults: boolean): Promise<void> {
    for (const stream of reader.open) {
      if (reader.tab.isSuspended) return;
      if (faults && this.chance(0.05)) {
        await stream.tell((text) => [text.slice(0, this.below(text.length + 1)), ""]);
        await (this.chance(0.5) ? stream.end() : stream.fail());
      } else {
        const cut = (text: string) => {
          const at = faults && this.chance(0.3) ? this.below(text.length + 1) : text.length;
          return [text.slice(0, at), text.slice(at)] as const;
        };
        await stream.tell(cut, this.chance(0.4) ? 1 + this.below(6) : 1);
      }
    }
  }

  async deliver(most: number): Promise<void> {
    for (let count = this.below(most + 1); count > 0; count--) {
      if (!this.browser.deliver()) break;
      if (this.chance(0.7)) await settle();
    }
    await settle();
  }

  async step(): Promise<void> {
    const kind = this.below(100);
    const reader = this.any();
    if (kind < 22) this.publish();
    else if (kind < 42) await this.tell(reader, true);
    else if (kind < 65) await this.deliver(6);
    else if (kind < 75) await this.answer(reader, true);
    else if (kind < 82) await this.browserTime(this.below(6000));
    else if (kind < 83) this.hub.trim(this.hub.head - this.below(6));
    else if (kind < 84) reader.source.reconnect();
    else if (kind < 87) for (const stream of reader.open) await stream.heartbeat();
    else if (kind < 88) for (const stream of reader.open) await stream.bye();
    else if (kind < 91) {
      if (this.readers.length < MOST_TABS) this.open();
    } else if (kind < 93) {
      const { session } = reader;
      this.leave(reader);
      this.open(session);
    } else if (kind < 94) {
      if (this.readers.length > 1) {
        this.leave(reader);
        this.past.push(reader.session);
      }
    } else if (kind < 96) reader.tab.isSuspended = !reader.tab.isSuspended;
    else if (kind < 97) reader.page.signal("pagehide");
    else if (kind < 99) reader.page.signal("pageshow");
    else if (this.chance(0.3)) {
      this.hub.restart(`e${String(this.below(1e6)).padStart(6, "0")}`);
      for (const { open } of this.readers) for (const stream of open) await stream.fail();
    }
  }

  /** Time passes, and some of what is on its way arrives meanwhile. */
  async browserTime(ms: number): Promise<void> {
    for (const { tab } of this.readers) if (!tab.isSuspended) await tab.clock.advance(ms);
  }

  /** The faults are over: until nothing is left to tell, and all tabs share one connection. */
  async calm(): Promise<void> {
    for (const { tab, page } of this.readers) {
      tab.isSuspended = false;
      page.signal("pageshow");
    }
    for (let quiet = 0, rounds = 0; quiet < 4; rounds++) {
      if (rounds > 400) throw new Error(`never at rest: ${this.state()}`);
      for (const reader of this.readers) {
        await this.answer(reader, false);
        await this.tell(reader, false);
      }
      if (rounds > 10) await this.browser.settle();
      else await this.deliver(6);
      const streams = this.readers.flatMap(({ open }) => open);
      const isOpen = this.readers.every(
        ({ source, answered, server }) => source.status.state === "open" && answered === server.requests.length,
      );
      if (rounds > 10 && isOpen && streams.length === 1 && streams[0]?.isDone) quiet++;
      else {
        quiet = 0;
        if (rounds % 3 === 2) await this.browserTime(1_500);
        if (rounds % 30 === 29) for (const stream of streams) await stream.heartbeat();
      }
    }
  }

  state(): string {
    return JSON.stringify(
      this.readers.map(({ source, open, session }) => [
        source.status.state,
        open.length,
        source.lastEventId,
        session.ledger.at(-1),
      ]),
    );
  }

  check(): void {
    for (const { ledger } of this.past) this.checkLedger(ledger);
    for (const { session, errors, source } of this.readers) {
      expect(errors).toEqual([]);
      this.checkLedger(session.ledger);
      this.checkEnd(session.ledger);
      const values = this.hub.values(this.hub.head);
      for (const topic of TOPICS) expect(source.value(topic).get(), topic).toEqual(values.get(topic)?.value);
    }
  }

  checkLedger(ledger: readonly Line[]): void {
    ledger.forEach((line, index) => {
      const before = ledger[index - 1];
      if (line === "gap" || before === undefined || before === "gap") return;
      expect(line[0], "another epoch is told").toBe(before[0]);
      expect(line[1], "in order, and once").toBeGreaterThan(before[1]);
      this.checkNone(line[0], before[1] + 1, line[1] - 1);
    });
  }

  checkEnd(ledger: readonly Line[]): void {
    const last = ledger.at(-1);
    if (last && last !== "gap" && last[0] === this.hub.epoch) this.checkNone(last[0], last[1] + 1, this.hub.head);
  }

  checkNone(epoch: string, from: number, to: number): void {
    for (let offset = from; offset <= to; offset++)
      expect(this.published.has(`${epoch}-${offset}`), `${epoch}-${offset} was lost in silence`).toBe(false);
  }
}

it(`keeps its promises over ${RUNS} runs of ${STEPS} steps`, { timeout: 900_000 }, async () => {
  let events = 0;
  let gaps = 0;
  let relayed = 0;
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    const run = new Run(seeded(seed));
    try {
      for (let step = 0; step < STEPS; step++) await run.step();
      await run.calm();
      run.check();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    const ledgers = run.readers.flatMap(({ session }) => session.ledger);
    events += ledgers.length;
    gaps += ledgers.filter((line) => line === "gap").length;
    relayed += run.browser.said.length;
    for (const { source } of run.readers) source.close();
  }
  // Something did happen.
  expect(events).toBeGreaterThan(RUNS * 5);
  expect(gaps).toBeGreaterThan(RUNS / 5);
  expect(relayed).toBeGreaterThan(RUNS * 20);
});
