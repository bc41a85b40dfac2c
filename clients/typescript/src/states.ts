import type { State } from "./types.js";

/** All states, and from which others each is reached. What does not stand here does not happen. */
export const WAYS: { readonly [To in State]: string } = {
  // It is needed; or the wait is over, the page is back, its owner asks for it.
  connecting: "connecting open waiting paused idle closed",
  // The server answered with a stream.
  open: "connecting",
  // The attempt or the stream ended, and another shall follow.
  waiting: "connecting open",
  // The page is put away, and may say so twice.
  paused: "connecting open waiting paused",
  // Nobody needs it any more.
  idle: "connecting open waiting paused",
  // By its owner, or because there is nothing to come back for.
  closed: "connecting open waiting paused idle",
};
