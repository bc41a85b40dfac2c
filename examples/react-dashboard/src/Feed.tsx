import type { EventOf } from "clarion-client";
import { type Events, type Order, useReducedEvents } from "./source";

const LINES = 12;
const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** Orders, the newest first. A gap stands where some may be missing. */
type Line = Order | { gap: string };

function add(lines: readonly Line[], event: EventOf<Events, "order" | "gap">): readonly Line[] {
  const line = event.type === "gap" ? { gap: event.lastEventId } : event.data;
  return [line, ...lines].slice(0, LINES);
}

const NONE: readonly Line[] = [];
const TYPES = ["order", "gap"] as const;

export function Feed({ show }: { show: (amount: number) => string }) {
  const lines = useReducedEvents(TYPES, add, NONE);
  return (
    <section className="card feed" id="feed">
      <h2>Orders</h2>
      {lines.length === 0 && <p className="hint">The next one will be here.</p>}
      <ol>
        {lines.map((line) =>
          "gap" in line ? (
            <li key={line.gap} className="gap">
              Some orders are missing here.
            </li>
          ) : (
            <li key={line.number}>
              <time dateTime={new Date(line.at).toISOString()}>{time.format(line.at)}</time>
              <span className="what">{line.what}</span>
              <span className="where">{line.where}</span>
              <span className="amount">{show(line.amount)}</span>
            </li>
          ),
        )}
      </ol>
    </section>
  );
}
