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

  /**
   * How a stream begins that is asked for with an id; without one, at `since`. Moves the cursor that it returns as it
   * is read.
   */
  *begin(lastEventId: string, since: "live" | "earliest" = "live"): Generator<string, Cursor> {
    const [, epoch, digits, toldDigits = digits] = /^(\w+)-(\d+)(?:~(\d+))?$/.exec(lastEventId) ?? [];
    const offset = Number(digits);
    const isOurs = epoch === this.epoch && offset <= this.head;
    const cursor = { offset: since === "live" ? this.head : this.trimmed, told: 0 };
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
      .filter(([, { value, last }]) => (all ? value !== undefined : last > cursor.told))
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

  /** What comes after one offset up to another, for a slow reader: events first, then what became of each value. */
  folded(after: number, upTo: number): string[] {
    const span = this.entries.slice(after, upTo).map((entry, index) => ({ ...entry, offset: after + 1 + index }));
    const told = (span.find(({ change }) => change)?.offset ?? upTo + 1) - 1;
    const frames = span
      .filter(({ change }) => !change)
      .map(({ topic, data, offset }) =>
        frame({ id: this.idOf({ offset, told: Math.min(told, offset) }), topic, data }),
      );
    const changed = [...this.values(upTo)]
      .filter(([, { last }]) => last > after)
      .sort(([, one], [, other]) => one.last - other.last);
    for (const [index, [topic, { value, last }]] of changed.entries()) {
      const id = this.idOf({ offset: upTo, told: index === changed.length - 1 ? upTo : last });
      const changes = span.filter((entry) => entry.change && entry.topic === topic);
      if (changes.every(({ change }) => change === "append")) {
        const data = changes.reduce((delta: unknown, entry) => applyChange(delta, "append", entry.data), undefined);
        frames.push(frame({ id, event: "value.append", topic, change: "append", data }));
      } else if (value === undefined) {
        frames.push(frame({ id, event: "value.delete", topic, change: "delete", data: null }));
      } else frames.push(frame({ id, event: "value", topic, change: "set", data: value }));
    }
    return frames;
  }

  heartbeat(offset: number): string {
    return heartbeat(`${this.epoch}-${offset}`);
  }

  bye(): string {
    return bye("drain", { retry: 500 });
  }
}
