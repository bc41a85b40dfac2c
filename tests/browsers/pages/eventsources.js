/** The browser's own EventSource, and the one of the client, side by side. */
import { EventSource as ClientEventSource } from "../../../clients/typescript/src/eventsource.ts";

const KINDS = { native: globalThis.EventSource, client: ClientEventSource };
const OWN_TYPES = ["connected", "heartbeat", "gap", "bye"];
const opened = new Map();

/** Opens one of a kind, and notes each event of these types, with those that the stream has of itself. */
export function openEventSource(kind, url, types, init = {}) {
  const source = new KINDS[kind](url, init);
  const log = { events: [], opens: 0, errors: 0, source };
  source.onopen = () => log.opens++;
  source.onerror = () => log.errors++;
  for (const type of [...types, ...OWN_TYPES]) {
    source.addEventListener(type, ({ data, lastEventId, origin }) =>
      log.events.push({ type, data, lastEventId, origin }),
    );
  }
  opened.set(kind, log);
}

export function eventSource(kind) {
  const { source, ...rest } = opened.get(kind);
  return { ...rest, url: source.url, readyState: source.readyState, withCredentials: source.withCredentials };
}

export const closeEventSource = (kind) => opened.get(kind).source.close();
