/** Reads a stream of events, and never loses its place. */
export type { ErrorCode, SourceError } from "./errors.js";
export { cursorInQuery, loadedCursor, sessionCursor } from "./options.js";
export { createSource } from "./source.js";
export type * from "./types.js";
