/** One stream of the model hub: it may be slow, and is then told its values folded (spec/stream.md, section 10). */
import { frame, type ScriptedRequest, type ScriptedStream } from "../src/testing/index.js";
import { applyChange } from "../src/values.js";
import type { ModelHub } from "./hub.js";

/** Of the hub's topics, this one is for others: it moves positions, and is not told. */
export const FOREIGN = "foreign";

export class HubStream {
  #beginning: Generator<string, { offset: number }> | undefined;
  #offset = 0;
  /** Frames, or parts of them, that are still to be said. */
  #unsaid = "";
  #stream!: ScriptedStream;

  constructor(
    readonly hub: ModelHub,
    /** Of the tab: a stream of one that is gone is closed. */
    readonly isGone: () => boolean,
    readonly request: ScriptedRequest,
  ) {}

  get isClosed(): boolean {
    return this.#stream.closed || this.isGone();
  }

  async open(): Promise<void> {
    this.#stream = await this.request.open();
    this.#beginning = this.hub.begin(this.request.headers.get("last-event-id") ?? "");
  }

  /** Whether it has told everything there is. */
  get isDone(): boolean {
    return !this.#beginning && !this.#unsaid && this.#offset === this.hub.head;
  }

  /** Says something, if there is something to say. batch: how many changes it tells at once, folded. */
  async tell(cut: (text: string) => readonly [now: string, later: string], batch = 1): Promise<void> {
    if (this.isClosed) return;
    if (!this.#unsaid) this.#unsaid = this.#next(batch);
    if (!this.#unsaid && this.#offset < this.hub.trimmed && !this.#beginning) return this.#stream.end();
    const [now, later] = cut(this.#unsaid);
    this.#unsaid = later;
    if (now) await this.#stream.send(now);
  }

  async heartbeat(): Promise<void> {
    if (this.isDone && !this.isClosed) await this.#stream.send(this.hub.heartbeat(this.#offset));
  }

  async bye(): Promise<void> {
    if (!this.#unsaid && !this.#beginning && !this.isClosed) {
      await this.#stream.send(this.hub.bye());
      await this.#stream.end();
    }
  }

  end(): Promise<void> {
    return this.#stream.end();
  }

  fail(): Promise<void> {
    return this.#stream.fail();
  }

  #next(batch: number): string {
    if (this.#beginning) {
      const { value, done } = this.#beginning.next();
      if (!done) return value as string;
      this.#offset = value.offset;
      this.#beginning = undefined;
    }
    if (this.#offset < this.hub.trimmed) return "";
    const after = this.#offset;
    this.#offset = Math.min(this.hub.head, after + batch);
    return this.#batch(after, this.#offset);
  }

  /** Entries after one offset up to another: events first, then each value once. */
  #batch(after: number, through: number): string {
    const { hub } = this;
    const changes = new Map<string, { change: string; data: unknown; last: number; name: string }>();
    const events: [offset: number, topic: string, data: unknown][] = [];
    for (let offset = after + 1; offset <= through; offset++) {
      const { topic, change, data } = hub.entries[offset - 1] as ModelHub["entries"][number];
      if (topic === FOREIGN) continue;
      if (!change) {
        events.push([offset, topic, data]);
        continue;
      }
      const before = changes.get(topic);
      const isFoldable = before && change !== "set" && change !== "delete";
      if (!isFoldable) changes.set(topic, { change, data, last: offset, name: change });
      else if (before.change === "append" && change === "append")
        changes.set(topic, { ...before, data: applyChange(before.data, "append", data), last: offset });
      else changes.set(topic, { change: "set", data: hub.values(offset).get(topic)?.value, last: offset, name: "set" });
    }
    const told = changes.size ? after : through;
    let text = "";
    for (const [offset, topic, data] of events)
      text += frame({ id: hub.idOf({ offset, told: Math.min(told, offset) }), topic, data });
    const waiting = [...changes].sort(([, one], [, other]) => one.last - other.last);
    for (const [index, [topic, { change, data, last }]] of waiting.entries()) {
      const isLast = index === waiting.length - 1;
      // One alone, with no event after it, is at its own place.
      const offset = waiting.length === 1 && events.every(([event]) => event < last) ? last : through;
      const id = hub.idOf({ offset, told: isLast ? offset : last });
      text += frame({ id, event: `value.${change}`, topic, change, data });
    }
    return text;
  }
}
