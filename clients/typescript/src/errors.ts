import type { Message, TooLarge } from "./parser.js";

/**
 * What went wrong; the error's `cause` says more.
 *
 * These end the stream: `refused` (a status that is final, the cause), `no-stream` (a 200 with something else),
 * `kicked` (by the server). The others are reported, and the stream goes on:
 * `request` (there can be no such request: headers that cannot be sent, or the function for them threw; it is tried again
 * later), `unreadable` (an event that cannot be decoded, or does not fit its schema; it is passed over),
 * `too-large` (an event; it is passed over), `bad-id` (one that cannot be sent back; the one before it is kept),
 * `value` (a change did not fit it, or it is too large; it is dropped, and asked for again unless it is too large),
 * `listener` (one threw, or a cursor could not be stored).
 */
export type ErrorCode =
  | "refused"
  | "no-stream"
  | "kicked"
  | "request"
  | "unreadable"
  | "too-large"
  | "bad-id"
  | "value"
  | "listener";

/** An error of a source. What a server said stands in attributes, never in `message`. */
export interface SourceError extends Error {
  readonly code: ErrorCode;
  /** The message that it is about, as it came; its data is null if it was too large. */
  readonly about?: Message | TooLarge | undefined;
}
