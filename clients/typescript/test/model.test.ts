/**
 * A hub that loses its journal, and a network that cuts at any byte, stalls, repeats, refuses, and loses ids on the
 * way; pages that are reloaded, and whose listeners are slow, and act on the source while it reads. Whatever happens,
 * in every way to listen:
 *
 * - Each event is told once and in order, or it is told that some are missing.
 * - A position is kept only after all that it stands for was dealt with: who is reloaded goes on from there, and misses
 *   nothing.
 * - A value that is told is one that the topic had at some time, and at the end it is the hub's.
 * - Nothing is reported but changes that do not fit, and nothing hangs.
 */
import { expect, it } from "vitest";
import { settle } from "../src/testing/index.js";
import { ModelHub } from "./hub.js";
import {
  Dice,
  type Line,
  Network,
  play,
  Reader,
  ROUNDS,
  RUNS,
  type Run,
  Session,
  STEPS,
  stateOf,
  TIMEOUT_MS,
} from "./model-run.js";

const TOPICS = ["a", "b", "c"];

/** What happens in some runs beside what always may: what the page does, and what comes over it. */
const HABITS = ["slow", "busy", "schemas"] as const;
const EVENTS = ["reload", "restart", "lost ids", "earliest", "folded", "unfit"] as const;
type Trait = (typeof HABITS)[number] | (typeof EVENTS)[number];

const lineOf = (id: string): Line => {
  const [epoch, digits] = id.split(/[-~]/) as [string, string];
  return [epoch, Number(digits)];
};

class ModelRun implements Run {
  readonly dice: Dice;
  readonly traits: ReadonlySet<Trait>;
  readonly hub = new ModelHub();
  readonly network: Network;
  readonly session = new Session();
  /** Every plain event that was published, by its place. */
  readonly published = new Set<string>();
  /** Every value that a topic had. */
  readonly states = new Set(TOPICS.map((topic) => stateOf(topic, undefined)));
  reader!: Reader;
  #begun = 0; // the hub's offset from which the stream was told
  #sent = 0; // and up to which
  #unfit = 0; // changes that were said

  constructor(seed: number, habits: number) {
    const dice = new Dice(seed);
    this.dice = dice;
    this.traits = new Set([...HABITS.filter(() => dice.chance(habits)), ...EVENTS.filter(() => dice.chance(0.5))]);
    this.network = new Network(this.dice);
    this.load();
  }

  describe(): string {
    return [...this.traits].join(", ");
  }

  /** Draws, if that is a trait of this run. */
  may(trait: Trait, chance: number): boolean {
    return this.traits.has(trait) && this.dice.chance(chance);
  }

  /** The page is loaded, and reads from where it was. */
  load(): void {
    const { dice, session, traits, network } = this;
    const habits = { isSlow: traits.has("slow"), isBusy: traits.has("busy"), hasSchemas: traits.has("schemas") };
    const options = {
      ...{ url: `http://hub.test/?since=${traits.has("earliest") ? "earliest" : "live"}` },
      ...network.server,
      ...network.clock,
    };
    this.reader = new Reader(dice, session, habits, lineOf, options, TOPICS);
  }

  reload(): void {
    this.reader.leave();
    // Who is quick has kept everything.
    if (this.traits.has("slow")) this.session.forget();
    this.load();
  }

  publish(): void {
    const { hub, dice } = this;
    const topic = TOPICS[dice.below(TOPICS.length)] as string;
    const value = hub.values(hub.head).get(topic)?.value;
    const kind = dice.below(12);
    if (kind < 5) {
      hub.publish(topic, "", { n: dice.below(1000), text: "\u20ac".repeat(dice.below(5)) });
      this.published.add(`${hub.epoch}-${hub.head}`);
    } else if (kind < 6 || value === undefined) hub.publish(topic, "set", { text: `${hub.head}: `, list: [] });
    else if (kind < 9) hub.publish(topic, "append", { text: `${hub.head} ` });
    else if (kind < 11) hub.publish(topic, "merge", { [`m${dice.below(3)}`]: dice.chance(0.3) ? null : hub.head });
    else hub.publish(topic, "delete", null);
    this.states.add(stateOf(topic, hub.values(hub.head).get(topic)?.value));
  }

  /** Answers a request that waits. */
  async answer(faults: boolean): Promise<void> {
    const request = await this.network.request(faults);
    if (!request) return;
    const given = request.headers.get("last-event-id") ?? "";
    if (!given) this.session.beginAnywhere();
    await this.network.accept(request);
    const isLost = faults && this.may("lost ids", 0.3);
    const beginning = this.hub.begin(isLost ? "" : given, request.url.searchParams.get("since") as "live" | "earliest");
    const isOneRead = this.dice.chance(0.5);
    for (let text = ""; ; ) {
      const { value, done } = beginning.next();
      if (done) {
        this.#begun = this.#sent = value.offset;
        return isOneRead ? this.network.say(text, faults) : undefined;
      }
      if (isOneRead) text += value;
      else {
        await this.network.say(value, faults);
        if (!this.network.isOpen) return;
      }
    }
  }

  /** Tells the stream what is new, or something else. */
  async tell(faults: boolean): Promise<void> {
    const { hub, dice, network } = this;
    if (!network.isOpen) return;
    if (network.isStalled) return network.say("", faults);
    if (this.#sent < hub.trimmed) return network.end();
    if (faults && dice.chance(0.1)) return this.tellAgain();
    if (this.#sent < hub.head) return this.tellNew(faults);
    if (dice.chance(0.2)) return network.say(hub.heartbeat(this.#sent), faults);
  }

  /** What was told before; and events, but no changes, from before the stream began. */
  async tellAgain(): Promise<void> {
    let text = "";
    for (let offset = Math.max(this.hub.trimmed, this.#sent - this.dice.below(4)) + 1; offset <= this.#sent; offset++)
      if (offset > this.#begun || !this.hub.entries[offset - 1]?.change) text += this.hub.frameOf(offset);
    await this.network.say(text, true);
  }

  async tellNew(faults: boolean): Promise<void> {
    const { hub, dice, network } = this;
    if (faults && hub.entries[this.#sent]?.change === "append" && this.may("unfit", 0.2)) {
      this.#unfit++;
      return network.say(hub.frameOf(++this.#sent).replace(/data: .*/, "data: 5"), faults);
    }
    const after = this.#sent;
    let frames: string[];
    if (this.may("folded", 0.5)) {
      this.#sent += 1 + dice.below(hub.head - after);
      frames = hub.folded(after, this.#sent);
    } else {
      do this.#sent++;
      while (this.#sent < hub.head && dice.chance(0.6));
      frames = Array.from({ length: this.#sent - after }, (_, index) => hub.frameOf(after + 1 + index));
    }
    for (const text of dice.chance(0.5) ? [frames.join("")] : frames)
      if (network.isOpen) await network.say(text, faults);
  }

  async step(): Promise<void> {
    const { hub, dice, network, reader } = this;
    const kind = dice.below(100);
    if (kind < 24) this.publish();
    else if (kind < 50) await this.tell(true);
    else if (kind < 65) await this.answer(true);
    else if (kind < 74) await network.clock.advance(dice.below(20_000));
    else if (kind < 76) hub.trim(hub.head - dice.below(6));
    else if (kind < 78) reader.source.reconnect();
    else if (kind < 80) this.traits.has("reload") && this.reload();
    else if (kind < 81) await network.say(hub.bye(), false);
    else if (kind < 82) reader.page.signal("pagehide");
    else if (kind < 84) reader.page.signal("pageshow");
    else if (kind < 85) reader.subscribe();
    else if (kind < 86) {
      if (!this.traits.has("restart")) return;
      hub.restart(`e${String(dice.below(1e6)).padStart(6, "0")}`);
      this.#sent = 0;
      await network.break();
    } else {
      reader.finish();
      await settle();
    }
  }

  async turn(): Promise<boolean> {
    const { head } = this.hub;
    await this.answer(false);
    await this.tell(false);
    return this.#sent === head;
  }

  check(): void {
    const { hub, session, reader } = this;
    const errors = session.errors.map(({ code, cause }) => `${code}: ${cause}`);
    expect(errors.filter((error) => !error.startsWith("value: TypeError"))).toEqual([]);
    expect(errors.length, "changes that did not fit").toBeLessThanOrEqual(this.#unfit);
    const { on, onBatch, events } = session.ledgers;
    this.checkLedger(on);
    expect(onBatch, "onBatch").toEqual(on);
    expect(events, "events").toEqual(on);
    for (const id of [reader.source.lastEventId, session.kept])
      expect(lineOf(id), "it is where the hub is").toEqual([hub.epoch, hub.head]);
    expect(
      [...session.states].filter((state) => !this.states.has(state)),
      "no topic was ever that",
    ).toEqual([]);
    const values = hub.values(hub.head);
    for (const topic of TOPICS) {
      expect(reader.source.value(topic).get(), topic).toEqual(values.get(topic)?.value);
      expect(reader.values.get(topic), `${topic}, as it was told`).toEqual(values.get(topic)?.value);
    }
  }

  /** Every event is there between gaps, in order, and once. */
  checkLedger(ledger: readonly Line[]): void {
    const wrong: string[] = [];
    const end: Line = [this.hub.epoch, this.hub.head + 1];
    [...ledger, end].forEach((line, index) => {
      const before = ledger[index - 1];
      if (line === "gap" || before === undefined || before === "gap") return;
      if (line[0] === before[0] && line[1] > before[1]) wrong.push(...this.between(before, line));
      else if (line !== end) wrong.push(`${line.join("-")} after ${before.join("-")}`);
    });
    expect(wrong).toEqual([]);
  }

  /** The plain events between two of an epoch. */
  between([epoch, after]: readonly [string, number], [, before]: readonly [string, number]): string[] {
    const lost: string[] = [];
    for (let offset = after + 1; offset < before; offset++)
      if (this.published.has(`${epoch}-${offset}`)) lost.push(`${epoch}-${offset} was lost in silence`);
    return lost;
  }
}

/** Each is run with the same seeds. */
const PAGES: [title: string, habits: number][] = [
  ["a page that is quick", 0],
  ["a page that takes its time, and acts on its source", 0.8],
];

const TITLE = `keeps its promises to %s, over ${RUNS} runs of ${ROUNDS} times ${STEPS} steps`;

it.each(PAGES)(TITLE, { timeout: TIMEOUT_MS }, async (_, habits) => {
  const { lines, gaps, acts } = await play((seed) => new ModelRun(seed, habits));
  // Something did happen.
  expect(lines).toBeGreaterThan(RUNS * 10);
  expect(gaps).toBeGreaterThan(RUNS);
  if (habits) expect(acts).toBeGreaterThan(RUNS);
});
