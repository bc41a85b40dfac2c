import { createSource, type Source, type SourceOptions, type Status, type Unsubscribe } from "./index.js";

interface Entry {
  readonly source: Source;
  users: number;
}

const entries = new Map<string, Entry>();

/** What makes two requests the same. */
export const keyOf = ({ url, user, topics }: Pick<SourceOptions, "url" | "user" | "topics">): string =>
  [url, user, topics].flat().join("\n"); // none of them has a line end

/** The status of the one source with this key, if there is one. */
export const statusOf = (key: string): Status | undefined => entries.get(key)?.source.status;

/**
 * Uses the one source with a key; there is one from its first use until a second after the last one ended. options:
 * asked for if it has to be made. use: subscribes to the source; a subscription keeps the connection.
 */
export function withSource(
  key: string,
  options: () => SourceOptions,
  use: (source: Source) => Unsubscribe,
): Unsubscribe {
  let entry = entries.get(key) as Entry;
  if (!entry) {
    const source = createSource(options());
    entry = { source, users: 0 };
    entries.set(key, entry);
    const made = entry;
    source.onStatus(({ state }) => (state === "idle" || (state === "closed" && !made.users)) && entries.delete(key));
  }
  entry.users++;
  let end: Unsubscribe | undefined = use(entry.source);
  return () => {
    if (!end) return;
    end();
    end = undefined;
    // A closed one would never become idle, and who comes next shall have another.
    if (!--entry.users && entry.source.status.state === "closed") entries.delete(key);
  };
}
