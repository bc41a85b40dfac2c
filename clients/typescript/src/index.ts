/** Reads a stream of events, and never loses its place. */
export { sessionCursor } from "./cursor.js";
export type { ErrorCode, SourceError } from "./errors.js";
export { createSource } from "./source.js";
export type * from "./types.js";
