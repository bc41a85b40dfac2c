/** The frames that a hub says, as text (spec/stream.md, sections 3 and 6). */

/** The lines of a frame, those that are given, in the order of the contract. */
export interface FrameParts {
  retry?: number;
  id?: string;
  event?: string;
  topic?: string;
  change?: string;
  /** Said as JSON, on one line. */
  data?: unknown;
  /** Said as it is, in place of data: one line for each of its lines. */
  text?: string;
}

export function frame({ data, text = JSON.stringify(data), ...head }: FrameParts): string {
  const lines = [head.retry, head.id, head.event, head.topic, head.change].map((value, index) =>
    value === undefined ? "" : `${["retry", "id", "event", "topic", "change"][index]}: ${value}\n`,
  );
  const said = text === undefined ? [] : text.split(/\r\n|\n|\r/).map((line) => `data: ${line}\n`);
  return `${lines.join("")}${said.join("")}\n`;
}

/** The first frame of a stream. */
export function connected(
  id: string,
  {
    mode = "live",
    heartbeat = 15_000,
    values = "all",
    retry = 2000,
    to = id.replace(/~.*/, ""),
    clientId = "c-1",
  }: { mode?: string; heartbeat?: number; values?: string; retry?: number; to?: string; clientId?: string } = {},
): string {
  return frame({ retry, id, event: "connected", data: { clientId, mode, from: id, to, heartbeat, values } });
}

export function heartbeat(id: string, timestamp = 1_793_709_045_000): string {
  return frame({ id, event: "heartbeat", data: { timestamp } });
}

export function gap(
  id: string,
  { reason = "expired", requested = null as string | null, oldest = id, missed = null as number | null } = {},
): string {
  return frame({ id, event: "gap", data: { reason, requested, oldest, missed } });
}

/** id: given with `done`. */
export function bye(reason: string, { retry = 2000, id = undefined as string | undefined, detail = "" } = {}): string {
  const data = { reason, retry, ...(detail && { detail }) };
  return frame({ retry, ...(id !== undefined && { id }), event: "bye", data });
}
