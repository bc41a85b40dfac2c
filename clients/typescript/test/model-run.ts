/** What the models of a source have in common: dice, a network that does what it likes, a page that reads, and runs. */
import {
  createSource,
  type Source,
  type SourceError,
  type SourceOptions,
  type StandardSchema,
  withSchemas,
} from "../src/index.js";
import {
  createClock,
  createPage,
  createServer,
  type ScriptedRequest,
  type ScriptedStream,
  settle,
} from "../src/testing/index.js";
import { joined, seeded } from "./pieces.js";

/** More of them: MODEL_RUNS=20000 MODEL_FIRST=400 npx vitest run test/model */
export const RUNS = Number(process.env["MODEL_RUNS"] ?? 400);
const FIRST = Number(process.env["MODEL_FIRST"] ?? 0);
/** Far more than any takes; it is for what hangs. */
export const TIMEOUT_MS = 20_000 + 300 * RUNS;
/** Of a run: after each, all is told and checked, and goes on from there. */
export const ROUNDS = 3;
export const STEPS = 60;
/** Without faults, until all is told. Most runs need some ten. */
const MOST_TURNS = 500;

export class Dice {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  chance(of: number): boolean {
    return this.random() < of;
  }

  below(count: number): number {
    return Math.floor(this.random() * count);
  }
}

/** The server's side: it refuses requests; what is said on the newest stream is cut anywhere, stalls, or breaks off. */
export class Network {
  readonly server = createServer();
  readonly clock = createClock();
  #stream: ScriptedStream | undefined;
  #stalled = new Uint8Array(0); // said, and still on its way
  #answered = 0;

  constructor(readonly dice: Dice) {}

  get isOpen(): boolean {
    return this.#stream?.closed === false;
  }

  get isStalled(): boolean {
    return this.#stalled.length > 0;
  }

  /** The next request, if one waits; with faults it may be answered otherwise. */
  async request(faults: boolean): Promise<ScriptedRequest | undefined> {
    const { dice } = this;
    const request = this.server.requests[this.#answered];
    if (!request) return undefined;
    this.#answered++;
    if (request.aborted) return undefined;
    const fault = faults ? dice.below(7) : undefined;
    if (fault === 0) await request.fail();
    else if (fault === 1) await request.answer(503, dice.chance(0.5) ? { "retry-after": "1" } : {});
    else return request;
    return undefined;
  }

  async accept(request: ScriptedRequest): Promise<void> {
    this.#stream = await request.open();
    this.#stalled = new Uint8Array(0);
  }

  /** Sends what is still on its way, and this. */
  async say(text: string, faults: boolean): Promise<void> {
    const { dice } = this;
    const bytes = joined([this.#stalled, new TextEncoder().encode(text)]);
    this.#stalled = new Uint8Array(0);
    if (faults && dice.chance(0.08)) {
      await this.#stream?.send(bytes.subarray(0, dice.below(bytes.length + 1)));
      return this.break();
    }
    const cut = dice.chance(0.3) ? dice.below(bytes.length) : bytes.length;
    await this.#stream?.send(bytes.subarray(0, cut));
    if (faults && dice.chance(0.3)) this.#stalled = bytes.slice(cut);
    else if (cut < bytes.length) await this.#stream?.send(bytes.subarray(cut));
  }

  async end(): Promise<void> {
    await this.#stream?.end();
  }

  async break(): Promise<void> {
    await (this.dice.chance(0.5) ? this.#stream?.end() : this.#stream?.fail());
  }
}

/** What a reader got: an event of an epoch and its offset, or a gap. */
export type Line = readonly [epoch: string, offset: number] | "gap";

/** The ways to be told; each must be told the same. */
const LEDGERS = ["on", "onBatch", "events"] as const;
type Ledger = (typeof LEDGERS)[number];

/** A topic's value as text. */
export const stateOf = (topic: string, value: unknown): string => `${topic} ${JSON.stringify(value) ?? "none"}`;

/** What outlives a page. */
export class Session {
  kept = "";
  readonly ledgers: Record<Ledger, Line[]> = { on: [], onBatch: [], events: [] };
  readonly errors: SourceError[] = [];
  /** Each value that was told, as text. */
  readonly states = new Set<string>();
  /** How often a listener did something with the source. */
  acts = 0;
  #sure = 0; // lines that need not be told again to who goes on from `kept`

  /** There is a gap that nobody has to tell: who never got as far as an id begins somewhere, and has lost nothing. */
  beginAnywhere(): void {
    for (const ledger of LEDGERS) this.ledgers[ledger].push("gap");
  }

  keep(id: string): void {
    const { on, onBatch, events } = this.ledgers;
    if (`${onBatch}` !== `${on}` || `${events}` !== `${on}`) throw new Error(`${id} is kept before all were told`);
    this.kept = id;
    this.#sure = on.length;
  }

  /** The page is gone: what it was told and had not kept is forgotten. */
  forget(): void {
    for (const ledger of LEDGERS) this.ledgers[ledger].length = this.#sure;
  }
}

/** What a page may do. */
export interface Habits {
  /** Listeners, headers and the cursor take their time. */
  readonly isSlow: boolean;
  /** So do schemas, of some types. */
  readonly hasSchemas: boolean;
  /** Listeners act on the source. */
  readonly isBusy: boolean;
}

/** A page that reads, in every way there is, from where its session is. */
export class Reader {
  readonly page = createPage();
  readonly source: Source;
  /** The newest of each topic, as its subscriber was told. */
  readonly values = new Map<string, unknown>();
  isGone = false;
  /** It is quick, and only listens. */
  isCalm = false;
  readonly #waits: (() => void)[] = [];
  #dealing = 0; // with so many events

  constructor(
    readonly dice: Dice,
    readonly session: Session,
    readonly habits: Habits,
    readonly lineOf: (id: string) => Line,
    options: SourceOptions,
    topics: readonly string[] = [],
  ) {
    const schema: StandardSchema = {
      "~standard": {
        ...{ version: 1, vendor: "model" },
        validate: async (value) => {
          await this.#dawdle();
          return { value };
        },
      },
    };
    this.source = createSource({
      ...options,
      ...this.page,
      topics,
      random: dice.random,
      cursor: { load: () => session.kept, save: (id) => this.#save(id) },
      headers: async () => {
        await this.#dawdle();
        return {};
      },
      ...(habits.hasSchemas && { decode: withSchemas({ message: schema, "value.append": schema, heartbeat: schema }) }),
    });
    this.#listen();
    for (const topic of topics) this.#watch(topic);
    void this.#loop();
  }

  #listen(): void {
    const { source, session } = this;
    source.on("message", ({ lastEventId }) => this.#deal("on", [this.lineOf(lastEventId)]));
    source.onGap(() => this.#deal("on", ["gap"]));
    source.onBatch((events) => {
      const lines = events.flatMap(({ type, lastEventId }) => {
        if (type === "gap") return [type] as const;
        return type === "message" ? [this.lineOf(lastEventId)] : [];
      });
      return this.#deal("onBatch", lines);
    });
    for (const own of ["connected", "heartbeat", "bye"])
      source.on(own, () => {
        this.#act(0.25);
        return this.#dawdle();
      });
    source.onStatus(({ state }) => /open|waiting/.test(state) && this.#act());
    source.onError((error) => this.isGone || session.errors.push(error));
  }

  #watch(topic: string): void {
    this.source.value(topic).subscribe((value) => {
      this.values.set(topic, value);
      this.session.states.add(stateOf(topic, value));
      this.#act();
    });
  }

  async #loop(): Promise<void> {
    for await (const { type, lastEventId } of this.source.events("message", "gap"))
      await this.#deal("events", [type === "gap" ? type : this.lineOf(lastEventId)]);
  }

  /** Deals with events, until what is returned is settled. */
  async #deal(ledger: Ledger, lines: readonly Line[]): Promise<void> {
    if (this.isGone) return;
    this.session.ledgers[ledger].push(...lines);
    this.#dealing++;
    this.#act();
    await this.#dawdle();
    this.#dealing--;
  }

  async #save(id: string): Promise<void> {
    if (this.isGone) return;
    if (this.#dealing) throw new Error(`${id} is kept while an event is dealt with`);
    this.session.keep(id);
    await this.#dawdle();
  }

  /** Takes a while, or not. */
  async #dawdle(): Promise<void> {
    if (this.isGone || this.isCalm || !this.habits.isSlow || !this.dice.chance(0.4)) return;
    await new Promise<void>((resolve) => this.#waits.push(resolve));
  }

  #act(chance = 0.08): void {
    if (this.isGone || this.isCalm || !this.habits.isBusy || !this.source || !this.dice.chance(chance)) return;
    this.session.acts++;
    const kind = this.dice.below(4);
    if (kind === 0) this.source.reconnect();
    else if (kind === 1) {
      this.source.close();
      this.source.open();
    } else if (kind === 2) this.subscribe();
    else {
      this.page.signal("pagehide");
      this.page.signal("pageshow");
    }
  }

  /** Another topic, in place of the one before. */
  subscribe(): void {
    const { acts } = this.session;
    this.source.subscribeTopics([`x${acts + 1}`], [`x${acts}`]);
  }

  /** Something that took a while is done. */
  finish(): void {
    this.#waits.splice(this.dice.below(this.#waits.length), 1)[0]?.();
  }

  /** Everything is done, and what it leads to takes no time. Returns whether there was something. */
  calm(): boolean {
    this.isCalm = true;
    for (const finish of this.#waits) finish();
    return this.#waits.splice(0).length > 0;
  }

  leave(): void {
    this.isGone = true;
    this.source.close();
  }
}

/** A run of a model. */
export interface Run {
  readonly network: Network;
  readonly reader: Reader;
  readonly session: Session;
  /** Something happens. */
  step(): Promise<void>;
  /** The server answers and tells what it can, without faults. Returns whether all is told. */
  turn(): Promise<boolean>;
  check(): void;
  /** What its seed made of it. */
  describe(): string;
}

/** The faults are over: until nothing is left to tell. */
async function calm(run: Run): Promise<void> {
  const { reader, network } = run;
  while (reader.calm()) await settle();
  reader.page.signal("pageshow");
  for (let quiet = 0, turns = 0; quiet < 3; turns++) {
    if (turns > MOST_TURNS) throw new Error(`never at rest: ${JSON.stringify(reader.source.status)}`);
    const isTold = await run.turn();
    await settle();
    if (isTold && reader.source.status.state === "open" && !network.isStalled) quiet++;
    else if (!network.isOpen) await network.clock.advance(5_000);
  }
  reader.isCalm = false;
}

/** Makes all runs. Returns what happened in them. */
export async function play(create: (seed: number) => Run): Promise<{ lines: number; gaps: number; acts: number }> {
  const tally = { lines: 0, gaps: 0, acts: 0 };
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    const run = create(seed);
    try {
      for (let round = 0; round < ROUNDS; round++) {
        for (let step = 0; step < STEPS; step++) await run.step();
        await calm(run);
        run.check();
      }
    } catch (error) {
      throw new Error(`seed ${seed} (${run.describe()}): ${(error as Error).message}`, { cause: error });
    } finally {
      run.reader.leave();
    }
    const { ledgers, acts } = run.session;
    tally.lines += ledgers.on.length;
    tally.gaps += ledgers.on.filter((line) => line === "gap").length;
    tally.acts += acts;
  }
  return tally;
}
