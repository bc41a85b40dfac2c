/** A model of a hub, as simple as the contract lets it be: it keeps everything, and tells each change as it was. */
import { bye, connected, frame, gap, heartbeat } from "../src/testing/index.js";
import { applyChange } from "../src/values.js";

interface Entry {
  readonly topic: string;
  /** Empty for a plain event. */
  readonly change: string;
  readonly data: unknown;
}

/** Where a reader is, as its id says. */
export interface Cursor {
  offset: number;
  told: number;
}

export class ModelHub {
  epoch = "aaaa";
  /** Entry n has the offset n + 1. */
  entries: Entry[] = [];
  /** Plain events up to here are not kept any more. */
  trimmed = 0;

  get head(): number {
    return this.entries.length;
  }

  publish(topic: string, change: string, data: unknown): void {
    this.entries.push({ topic, change, data });
  }

  trim(upTo: number): void {
    this.trimmed = Math.max(this.trimmed, upTo);
  }

  /** The journal was lost. */
  restart(epoch: string): void {
    this.epoch = epoch;
    this.entries = [];
    this.trimmed = 0;
  }

  /** Each topic's value at an offset, and where it was changed last. */
  values(offset: number): Map<string, { value: unknown; last: number }> {
    const values = new Map<string, { value: unknown; last: number }>();
    this.entries.slice(0, offset).forEach(({ topic, change, data }, index) => {
      if (change) values.set(topic, { value: applyChange(values.get(topic)?.value, change, data), last: index + 1 });
    });
    return values;
  }

  idOf({ offset, told }: Cursor): string {
    return `${this.epoch}-${offset}${told < offset ? `~${told}` : ""}`;
  }

  /** How a stream begins that is asked for with an id. Moves the cursor that it returns as it is read. */
  *begin(lastEventId: string): Generator<string, Cursor> {
    const [, epoch, digits, toldDigits = digits] = /^(\w+)-(\d+)(?:~(\d+))?$/.exec(lastEventId) ?? [];
    const offset = Number(digits);
    const isOurs = epoch === this.epoch && offset <= this.head;
    const cursor = { offset: this.head, told: 0 };
    let mode = "live";
    if (isOurs && offset >= this.trimmed) {
      Object.assign(cursor, { offset, told: Number(toldDigits) });
      mode = "resumed";
    } else if (lastEventId) {
      cursor.offset = this.trimmed;
      mode = "gap";
    }
    const all = cursor.told === 0;
    const waiting = [...this.values(cursor.offset)]
      .filter(([, { last }]) => last > cursor.told)
      .sort(([, one], [, other]) => one.last - other.last);
    if (!waiting.length) cursor.told = cursor.offset;
    yield connected(this.idOf(cursor), { mode, values: all ? "all" : "changed", heartbeat: 15_000, retry: 1000 });
    if (mode === "gap") {
      const reason = epoch === this.epoch ? "expired" : "epoch";
      yield gap(this.idOf(cursor), { reason, requested: lastEventId });
    }
    for (const [index, [topic, { value, last }]] of waiting.entries()) {
      cursor.told = index === waiting.length - 1 ? cursor.offset : last;
      const id = this.idOf(cursor);
      const what = value === undefined ? "delete" : "set";
      yield frame({ id, event: "value", topic, change: what, data: value ?? null });
    }
    return cursor;
  }

  /** What comes after an offset. */
  frameOf(offset: number): string {
    const { topic, change, data } = this.entries[offset - 1] as Entry;
    return frame({
      id: `${this.epoch}-${offset}`,
      ...(change && { event: `value.${change}`, change }),
      topic,
      data,
    });
  }

  heartbeat(offset: number): string {
    return heartbeat(`${this.epoch}-${offset}`);
  }

  bye(): string {
    return bye("drain", { retry: 500 });
  }
}
