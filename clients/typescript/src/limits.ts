/** Without a byte for so many heartbeats, a stream is dead (spec/stream.md, section 9.4). */
export const SILENT_HEARTBEATS = 2;
/** The same when somebody looks: it should have said something by now. */
export const HURRIED_HEARTBEATS = 1.25;
/** A stream that was open for so long was no failure. */
export const STABLE_MS = 10_000;
/** Taken for the heartbeat until the first frame has come, which announces one. */
export const FIRST_HEARTBEAT_MS = 30_000;
/** For an answer to begin. */
export const CONNECT_TIMEOUT_MS = 30_000;
/** From the last subscription's end to the connection's: who goes from one view to the next keeps it. */
export const LINGER_MS = 1000;
