/** Sources by name, and what each of them was given. */
import { createSource, sessionCursor } from "../../../clients/typescript/src/index.ts";

const readers = new Map();
let token = "";
let persisted = 0;

addEventListener("pageshow", (event) => {
  if (event.persisted) persisted++;
});

/** How often this page came out of the back/forward cache. */
export const timesPersisted = () => persisted;

/** Time that is so many times faster: what would take minutes takes seconds. */
const quickTime = (speed) => ({
  now: () => Date.now() * speed,
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs / speed),
});

/** Headers with a token of this server, which is asked for anew when it was refused. */
async function freshToken(refused) {
  if (refused || !token) token = await (await fetch("/token")).text();
  return { authorization: `Bearer ${token}` };
}

/**
 * Opens a source. key: of its cursor in the session's storage. withToken: it goes with a token. speed: of its clock.
 * keep: note its numbers in the session's storage, too, under this name, after `workMs` of work for each read. The rest goes to
 * `createSource`.
 */
export function start(name, { key, withToken, speed, keep, workMs, ...options }) {
  const reader = { lines: [], ids: [], gaps: [], statuses: [], errors: [], fetches: 0 };
  const source = createSource({
    decode: (text) => text,
    ...(key && { cursor: sessionCursor(key) }),
    ...(withToken && { headers: freshToken }),
    ...(speed && quickTime(speed)),
    async fetch(url, init) {
      reader.fetches++;
      return fetch(url, init);
    },
    ...options,
  });
  source.on("message", ({ text, lastEventId }) => {
    reader.lines.push(parseInt(JSON.parse(text), 10));
    reader.ids.push(lastEventId);
  });
  if (keep) {
    source.onBatch(async (batch) => {
      await new Promise((resolve) => setTimeout(resolve, workMs));
      const numbers = batch.filter(({ type }) => type === "message").map(({ text }) => parseInt(JSON.parse(text), 10));
      if (numbers.length) sessionStorage[`kept ${keep}`] = [sessionStorage[`kept ${keep}`], ...numbers].join(" ");
    });
  }
  source.onGap((gap) => {
    reader.lines.push(null);
    reader.gaps.push(gap);
  });
  source.onStatus(({ state, reason, connected }) => {
    reader.statuses.push({ state, reason, mode: connected?.mode ?? null, at: performance.now() });
  });
  source.onError((error) => reader.errors.push(`${error.code}: ${error.cause}`));
  reader.source = source;
  readers.set(name, reader);
  source.open();
}

/** Opens a source in a worker of its own. It goes with the page. */
export function startInWorker(name, options) {
  const reader = { lines: [], errors: [] };
  const worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data: { number, error } }) => {
    if (error) reader.errors.push(error);
    else reader.lines.push(number);
  };
  worker.onerror = ({ message }) => reader.errors.push(message);
  worker.postMessage(options);
  readers.set(name, { ...reader, worker, source: { status: {}, close: () => worker.terminate() } });
}

/** The numbers that it was given, in order, and null for each gap. */
export const lines = (name) => readers.get(name).lines;

/** The numbers that pages of this tab have noted under a name; null if there are none. */
export const kept = (name) => sessionStorage[`kept ${name}`]?.trim().split(" ").map(Number);

/** What a test looks at: all but the source. */
export function reader(name) {
  const { source, worker, ...rest } = readers.get(name);
  return { ...rest, state: source.status.state, lastEventId: source.lastEventId, now: performance.now() };
}

export const close = (name) => readers.get(name).source.close();

/** As the page is told when somebody looks at it again. */
export const becomeVisible = () => document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));

/** How long a plain request takes, in milliseconds. */
export async function timeToFetch(url) {
  const begun = performance.now();
  await (await fetch(url, { cache: "no-store" })).text();
  return performance.now() - begun;
}

/** Whether a plain request has had no answer after so long. */
export const isHung = (url, waitMs) =>
  Promise.race([timeToFetch(url).then(() => false), new Promise((resolve) => setTimeout(resolve, waitMs, true))]);

/** Whether this page holds one of the locks whose name says so. */
export async function holdsLock(part) {
  const own = `own ${Math.random()}`;
  return navigator.locks.request(own, async () => {
    const { held } = await navigator.locks.query();
    const { clientId } = held.find(({ name }) => name === own);
    return held.some((lock) => lock.clientId === clientId && lock.name !== own && lock.name.includes(part));
  });
}
