/** What a page without npm imports from `/clarion.js`. */
export { defineProgress } from "./element.js";
export { EventSource } from "./eventsource.js";
export * from "./index.js";
export { cancelTask } from "./tasks.js";
