/**
 * A hub, and a network that cuts at any byte, stalls, repeats, refuses and loses its journal: whatever happens, a source
 * gets every event once and in order, or is told that some are missing; and ends with the hub's values.
 */
import { expect, it } from "vitest";
import { type CursorStore, createSource } from "../src/index.js";
import { createClock, createPage, createServer, type ScriptedStream, settle } from "../src/testing/index.js";
import { ModelHub } from "./hub.js";
import { seeded } from "./pieces.js";

/** More of them: MODEL_RUNS=20000 npx vitest run test/model.test.ts */
const RUNS = Number(process.env["MODEL_RUNS"] ?? 1000);
const STEPS = 50;
const TOPICS = ["a", "b", "c"];

/** What a reader got: an event of an epoch and its offset, or a gap. */
type Line = readonly [epoch: string, offset: number] | "gap";

class Run {
  readonly hub = new ModelHub();
  readonly server = createServer();
  readonly clock = createClock();
  readonly page = createPage();
  readonly ledger: Line[] = [];
  readonly errors: unknown[] = [];
  /** Every plain event that was published, by its place. */
  readonly published = new Set<string>();
  source!: ReturnType<typeof createSource>;
  kept = "";
  stream: ScriptedStream | undefined;
  #sent = 0; // the hub's offset up to which the stream was told
  #unsent = ""; // of a frame that was begun
  #answered = 0;

  constructor(readonly random: () => number) {
    this.load();
  }

  chance(of: number): boolean {
    return this.random() < of;
  }

  below(count: number): number {
    return Math.floor(this.random() * count);
  }

  /** The page is loaded, and reads from where it was. */
  load(): void {
    const cursor: CursorStore = {
      load: () => this.kept,
      save: (id) => {
        this.kept = id;
      },
    };
    const { random } = this;
    const source = createSource({
      ...{ url: "http://hub.test/", cursor, random, topics: TOPICS },
      ...this.server,
      ...this.clock,
      ...this.page,
    });
    source.on("message", ({ lastEventId }) => {
      const [epoch, digits] = lastEventId.split(/[-~]/) as [string, string];
      this.ledger.push([epoch, Number(digits)]);
    });
    source.onGap(() => this.ledger.push("gap"));
    source.onError((error) => this.errors.push(error));
    this.source = source;
  }

  reload(): void {
    this.source.close();
    this.load();
  }

  publish(): void {
    const { hub } = this;
    const topic = TOPICS[this.below(TOPICS.length)] as string;
    const value = hub.values(hub.head).get(topic)?.value;
    const kind = this.below(8);
    if (kind < 4) {
      hub.publish(topic, "", { n: this.below(1000), text: "\u20ac".repeat(this.below(5)) });
      this.published.add(`${hub.epoch}-${hub.head}`);
    } else if (kind === 4) hub.publish(topic, "set", { text: "", list: [] });
    else if (kind === 5 && value !== undefined) hub.publish(topic, "append", { text: `${hub.head} ` });
    else if (kind === 6 && value !== undefined)
      hub.publish(topic, "merge", { [`m${this.below(3)}`]: this.chance(0.3) ? null : hub.head });
    else if (kind === 7 && value !== undefined) hub.publish(topic, "delete", null);
  }

  /** Answers a request that waits. */
  async answer(faults: boolean): Promise<void> {
    const request = this.server.requests[this.#answered];
    if (!request) return;
    this.#answered++;
    if (request.aborted) return;
    if (faults && this.chance(0.15)) return request.fail();
    if (faults && this.chance(0.15)) return request.answer(503, this.chance(0.5) ? { "retry-after": "1" } : {});
    this.stream = await request.open();
    this.#unsent = "";
    const asked = request.headers.get("last-event-id") ?? "";
    // Who never got as far as an id begins with what is new, and has lost nothing.
    if (!asked) this.ledger.push("gap");
    const beginning = this.hub.begin(asked);
    for (;;) {
      const { value, done } = beginning.next();
      if (done) {
        this.#sent = value.offset;
        return;
      }
      await this.say(value as string, faults);
      if (this.stream?.closed !== false) return;
    }
  }

  /** Tells the stream what is new, or something else. */
  async tell(faults: boolean): Promise<void> {
    if (!this.stream || this.stream.closed) return;
    if (this.#unsent) return this.say("", faults);
    if (this.#sent < this.hub.trimmed) return this.stream.end();
    if (faults && this.chance(0.1)) this.#sent = Math.max(this.hub.trimmed, this.#sent - this.below(4));
    if (this.#sent < this.hub.head) return this.say(this.hub.frameOf(++this.#sent), faults);
    if (this.chance(0.2)) return this.say(this.hub.heartbeat(this.#sent), faults);
  }

  /** Sends bytes, cut anywhere; or breaks. */
  async say(text: string, faults: boolean): Promise<void> {
    const { stream } = this;
    const bytes = new TextEncoder().encode(this.#unsent + text);
    this.#unsent = "";
    if (faults && this.chance(0.08)) {
      await stream?.send(bytes.subarray(0, this.below(bytes.length + 1)));
      return this.chance(0.5) ? stream?.end() : stream?.fail();
    }
    const cut = this.chance(0.3) ? this.below(bytes.length) : bytes.length;
    await stream?.send(bytes.subarray(0, cut));
    await stream?.send(bytes.subarray(cut));
  }

  async step(): Promise<void> {
    const kind = this.below(100);
    if (kind < 40) this.publish();
    else if (kind < 65) await this.tell(true);
    else if (kind < 80) await this.answer(true);
    else if (kind < 88) await this.clock.advance(this.below(20_000));
    else if (kind < 90) this.hub.trim(this.hub.head - this.below(6));
    else if (kind < 92) this.source.reconnect();
    else if (kind < 94) this.reload();
    else if (kind < 96) await this.say(this.hub.bye(), false);
    else if (kind < 97) this.page.signal("pagehide");
    else if (kind < 99) this.page.signal("pageshow");
    else {
      this.hub.restart(`e${String(this.below(1e6)).padStart(6, "0")}`);
      await this.stream?.fail();
    }
  }

  /** The faults are over: until nothing is left to tell. */
  async calm(): Promise<void> {
    this.page.signal("pageshow");
    for (let quiet = 0; quiet < 3; ) {
      const { head } = this.hub;
      await this.answer(false);
      await this.tell(false);
      await settle();
      const isDone = this.source.status.state === "open" && this.#sent === head && !this.#unsent;
      if (isDone) quiet++;
      else if (!this.stream || this.stream.closed) await this.clock.advance(5_000);
    }
  }

  check(): void {
    const { hub, ledger } = this;
    expect(this.errors).toEqual([]);
    ledger.forEach((line, index) => {
      const before = ledger[index - 1];
      if (line === "gap" || before === undefined || before === "gap") return;
      expect(line[0], "another epoch is told").toBe(before[0]);
      expect(line[1], "in order, and once").toBeGreaterThan(before[1]);
      for (let offset = before[1] + 1; offset < line[1]; offset++) {
        expect(this.published.has(`${line[0]}-${offset}`), `${line[0]}-${offset} was lost in silence`).toBe(false);
      }
    });
    // What came after the last line was no plain event.
    const last = ledger.at(-1);
    if (last && last !== "gap" && last[0] === hub.epoch) {
      for (let offset = last[1] + 1; offset <= hub.head; offset++)
        expect(this.published.has(`${hub.epoch}-${offset}`)).toBe(false);
    }
    const values = hub.values(hub.head);
    for (const topic of TOPICS) expect(this.source.value(topic).get(), topic).toEqual(values.get(topic)?.value);
  }
}

it(`keeps its promises over ${RUNS} runs of ${STEPS} steps`, { timeout: 600_000 }, async () => {
  let events = 0;
  let gaps = 0;
  for (let seed = 0; seed < RUNS; seed++) {
    const run = new Run(seeded(seed));
    for (let step = 0; step < STEPS; step++) await run.step();
    await run.calm();
    try {
      run.check();
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    events += run.ledger.length;
    gaps += run.ledger.filter((line) => line === "gap").length;
    run.source.close();
  }
  // Something did happen.
  expect(events).toBeGreaterThan(RUNS * 5);
  expect(gaps).toBeGreaterThan(RUNS / 5);
});
