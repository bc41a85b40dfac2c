/**
 * A server that knows nothing of Clarion, behind the network of model.test.ts and for its pages: it goes on after the
 * id that it is given, whatever that looks like, and now and then says nothing but an id. Each event is told once and
 * in order, in every way to listen; nothing is a gap, and nothing is reported.
 */
import { expect, it } from "vitest";
import { frame, settle } from "../src/testing/index.js";
import { Dice, Network, play, Reader, ROUNDS, RUNS, type Run, Session, STEPS, TIMEOUT_MS } from "./model-run.js";

/** Every so many there is an id without an event. */
const BARE = 5;
const FAR = 100_000;

/** What ids look like: numbers; words; places of a hub that fall. */
const IDS: readonly ((offset: number) => string)[] = [
  (offset) => `${offset}`,
  (offset) => `caf\u00e9 ${offset}`,
  (offset) => `post-${FAR - offset}`,
];

class ForeignRun implements Run {
  readonly dice: Dice;
  readonly network: Network;
  readonly session = new Session();
  reader!: Reader;
  readonly idOf: (offset: number) => string;
  readonly #habits: { isSlow: boolean; hasSchemas: boolean; isBusy: boolean };
  #head = 0;
  #sent = 0;

  constructor(seed: number) {
    const dice = new Dice(seed);
    this.dice = dice;
    this.network = new Network(dice);
    this.idOf = IDS[dice.below(IDS.length)] as (typeof IDS)[number];
    this.#habits = { isSlow: dice.chance(0.7), hasSchemas: dice.chance(0.5), isBusy: dice.chance(0.7) };
    this.load();
  }

  load(): void {
    const { dice, session, network } = this;
    const options = { url: "http://foreign.test/", ...network.server, ...network.clock };
    this.reader = new Reader(dice, session, this.#habits, (id) => ["", this.offsetOf(id)], options);
  }

  offsetOf(id: string): number {
    const number = Number(/\d+$/.exec(id)?.[0] ?? 0);
    return id.startsWith("post") ? FAR - number : number;
  }

  describe(): string {
    return `${this.idOf(1)}, ${JSON.stringify(this.#habits)}`;
  }

  /** Answers a request that waits. */
  async answer(faults: boolean): Promise<void> {
    const request = await this.network.request(faults);
    if (!request) return;
    await this.network.accept(request);
    // A header's value is the bytes of the id's UTF-8.
    this.#sent = this.offsetOf(Buffer.from(request.headers.get("last-event-id") ?? "", "latin1").toString());
    if (this.dice.chance(0.3)) await this.network.say(": hello\n\n", faults);
  }

  async tell(faults: boolean): Promise<void> {
    if (!this.network.isOpen) return;
    let text = "";
    while (this.#sent < this.#head && (!text || this.dice.chance(0.6))) {
      const id = this.idOf(++this.#sent);
      text += this.#sent % BARE ? frame({ id, data: this.#sent }) : frame({ id });
    }
    if (text || this.network.isStalled) await this.network.say(text, faults);
  }

  async step(): Promise<void> {
    const { dice, network, reader, session } = this;
    const kind = dice.below(100);
    if (kind < 33) this.#head++;
    else if (kind < 58) await this.tell(true);
    else if (kind < 72) await this.answer(true);
    else if (kind < 78) await network.clock.advance(dice.below(20_000));
    else if (kind < 80) reader.source.reconnect();
    else if (kind < 82) {
      reader.leave();
      session.forget();
      this.load();
    } else {
      reader.finish();
      await settle();
    }
  }

  async turn(): Promise<boolean> {
    await this.answer(false);
    await this.tell(false);
    return this.#sent === this.#head;
  }

  check(): void {
    const offsets = Array.from({ length: this.#head }, (_, index) => index + 1);
    const all = offsets.filter((offset) => offset % BARE).map((offset) => ["", offset]);
    expect(this.session.errors).toEqual([]);
    for (const [way, ledger] of Object.entries(this.session.ledgers)) expect(ledger, way).toEqual(all);
    expect(this.session.kept).toBe(this.#head ? this.idOf(this.#head) : "");
  }
}

const TITLE = `tells what another server says, over ${RUNS} runs of ${ROUNDS} times ${STEPS} steps`;

it(TITLE, { timeout: TIMEOUT_MS }, async () => {
  const { lines, acts } = await play((seed) => new ForeignRun(seed));
  // Something did happen.
  expect(lines).toBeGreaterThan(RUNS * 10);
  expect(acts).toBeGreaterThan(RUNS);
});
