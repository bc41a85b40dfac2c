import type { SourceEvent, Status } from "./types.js";

// biome-ignore lint/suspicious/noExplicitAny: each kind has its own; who adds one knows which
export type Listener = (what: any) => unknown;

/** Adds a listener for a kind. What is returned takes it away. */
export type Add = (kind: string, listener: Listener) => () => unknown;

/** The events of some types, or of all. Each is dealt with when the next one is asked for. */
export async function* iterate(
  types: readonly string[],
  add: Add,
  keep: Add,
  status: () => Status,
): AsyncGenerator<SourceEvent, void> {
  const items: [event: SourceEvent, dealtWith: () => void][] = [];
  let wake = () => {};
  const deaf = add("status", () => wake());
  const off = keep("batch", (events: SourceEvent[]) => {
    wake();
    return Promise.all(
      events.map(
        (event) =>
          (!types[0] || types.includes(event.type)) && new Promise<void>((dealtWith) => items.push([event, dealtWith])),
      ),
    );
  });
  try {
    while (items[0] || status().state !== "closed") {
      if (items[0]) {
        yield items[0][0];
        items.shift()?.[1]();
      } else {
        await new Promise<void>((resolve) => (wake = resolve));
      }
    }
    if (status().error) throw status().error;
  } finally {
    off();
    deaf();
    for (const [, dealtWith] of items) dealtWith();
  }
}
