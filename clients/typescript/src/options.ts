/** What not every source needs, outside of the core: each makes something that `createSource` takes. */
import type { AnyEvents, CursorStore, Decode, Environment, StandardSchema } from "./types.js";

/**
 * A `fetch` that says the last event id in the query, as `last_event_id` (spec/stream.md, section 1), in place of the
 * header: a request to another origin then needs no preflight, if it has no other headers of its own.
 *
 * own: what sends the requests; the global one by default. With `share`, give it as the source's `fetch`.
 */
export const cursorInQuery =
  (own: Environment["fetch"] = (url, init) => fetch(url, init)): Environment["fetch"] =>
  (address, init) => {
    const headers = new Headers(init.headers);
    const id = headers.get("last-event-id");
    if (!id) return own(address, init);
    headers.delete("last-event-id");
    const url = new URL(address);
    // A header's value is the bytes of the id's UTF-8.
    const bytes = Uint8Array.from(id, (char) => char.charCodeAt(0));
    url.searchParams.set("last_event_id", new TextDecoder().decode(bytes));
    return own(url.href, { ...init, headers });
  };

/** A cursor store whose functions may return promises: IndexedDB, a native app's storage. */
export interface AsyncCursorStore {
  load(): PromiseLike<string | null | undefined> | string | null | undefined;
  save(lastEventId: string): unknown;
}

/**
 * Loads a cursor, for `createSource({ cursor: await loadedCursor(store) })`. Rejects with what `load` throws.
 *
 * The source waits for each `save` before it reads on, so a text is never overtaken by another; what it throws is
 * reported, and the stream goes on.
 */
export async function loadedCursor(store: AsyncCursorStore): Promise<CursorStore> {
  let kept = await store.load();
  return {
    load: () => kept,
    save(lastEventId) {
      kept = lastEventId;
      return store.save(lastEventId);
    },
  };
}

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

/** What each type of event has to be; a type that is not there is not checked. */
export type Schemas<Events extends object> = { readonly [Type in keyof Events]?: StandardSchema<Events[Type]> };

/**
 * Checks data by a Standard Schema for its type of event (Zod, Valibot, ArkType), which may change it, too. What does
 * not fit is reported as `unreadable`, with the issues as its cause, and not told.
 *
 * decode: what makes the data of the text, before that; `JSON.parse` by default.
 */
export const withSchemas =
  <Events extends object = AnyEvents>(schemas: Schemas<Events>, decode: Decode = (text) => JSON.parse(text)): Decode =>
  (text, type) => {
    const data = decode(text, type);
    const schema = Object.hasOwn(schemas, type) && (schemas[type as keyof Events] as StandardSchema | undefined);
    return schema ? checked(schema, data) : data;
  };

async function checked(schema: StandardSchema, data: unknown): Promise<unknown> {
  const result = await schema["~standard"].validate(await data);
  if (result.issues) throw result.issues;
  return result.value;
}
