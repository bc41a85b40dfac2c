// What sources of the built package are given, said line by line: `node ledger.mjs '{"speed": 50, "sources": [...]}'`.
// Each source has a `url` and a `seed`, and may have `topics`, `values` (topics whose values are told) and `token` (an
// address that gives one, and is asked when the server has refused the last). Its clock is so many times faster than
// the system's. Ends with its input.
import { createSource } from "clarion-client";

const { speed, sources } = JSON.parse(process.argv[2]);

/** Numbers from 0 up to 1 that are the same for the same seed (mulberry32). */
function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const quick = {
  now: () => performance.now() * speed,
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs / speed),
};

/** Asks for a token when there is none, or the server does not take it any more. */
function headersFrom(address, say) {
  let token;
  return async (refused) => {
    say({ asked: refused ?? null });
    if (refused || !token) token = await (await fetch(address)).text();
    return { authorization: `Bearer ${token}` };
  };
}

function read({ url, seed, topics = [], values = [], token }, number) {
  const say = (what) => process.stdout.write(`${JSON.stringify({ source: number, ...what })}\n`);
  const source = createSource({
    ...quick,
    ...{ url, topics, random: seeded(seed), maxDelayMs: 5_000 },
    ...(token && { headers: headersFrom(token, say) }),
  });
  source.onBatch((events) => {
    for (const { type, data, topic, change, lastEventId: id } of events) {
      if (topic) say({ event: type, data, topic, change, id });
      else if (type === "gap") say({ gap: data });
    }
  });
  for (const topic of values) source.value(topic).subscribe((value) => say({ value: topic, is: value }));
  source.onStatus(({ state, reason }) => say({ state, reason }));
  source.onError(({ code, cause }) => say({ error: code, cause: String(cause) }));
  source.open();
  return source;
}

const open = sources.map(read);
process.stdin.resume();
process.stdin.on("end", () => {
  for (const source of open) source.close();
});
