/** What a page without npm imports from `/clarion.js`. */
export { EventSource } from "./eventsource.js";
export * from "./index.js";
