/** Hooks for React 18 and newer. */
export type { CancelOptions, GenerationValue, ProgressValue, WorkStatus } from "../tasks.js";
export { createHooks } from "./hooks.js";
export { createProgress, type ProgressAttributes, type ProgressProps } from "./progress.js";
export { useSSE } from "./sse.js";
export type { EventOptions, Generation, Hooks, IsEqual, Selection, SSE, SSEOptions } from "./types.js";
