import type { CursorStore } from "./types.js";

/**
 * Keeps the cursor in the tab's session storage, so that a reload goes on where the page was. Where a page may not use
 * that, each save is reported, and a reload begins anew.
 *
 * key: of the storage, one for each stream and user; two sources must not share it.
 */
export const sessionCursor = (key: string): CursorStore => ({
  load() {
    try {
      return sessionStorage[key];
    } catch {
      return null;
    }
  },
  save(lastEventId) {
    sessionStorage[key] = lastEventId;
  },
});
