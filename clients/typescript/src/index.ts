/** Reads a stream of events, and never loses its place. */
export type { ErrorCode, SourceError } from "./errors.js";
export { cursorInQuery, loadedCursor, type Schemas, sessionCursor, withSchemas } from "./options.js";
export { createSource } from "./source.js";
export type * from "./types.js";
