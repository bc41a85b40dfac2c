// The parser against eventsource-parser, from bytes to events, in the same run. Fails where it is slower.
//
//   node scripts/speed.mjs [FOLDER]    what `npm run build` made; `dist` by default
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createParser as createOther } from "eventsource-parser";

/** A round is short, so that of many some are not disturbed; the best one of each counts. */
const EVENTS = 3000;
const ROUNDS = 400;
/** How the network cuts it: a frame at a time, and in large pieces. */
const CHUNK_BYTES = [133, 1024, 64 * 1024];
/** What is left of noise. */
const LEAST_RATIO = 0.95;

const folder = resolve(process.argv[2] ?? "dist");
const { createParser } = await import(pathToFileURL(resolve(folder, "parser.js")).href);

const frames = Array.from({ length: EVENTS }, (_, index) => {
  const data = { taskId: "42", progress: 40, message: "working on it, please wait a moment", n: index };
  return `id: k3v9-${1000 + index}\nevent: progress\ntopic: task/42\ndata: ${JSON.stringify(data)}\n\n`;
});
const bytes = new TextEncoder().encode(frames.join(""));

function ours(chunks) {
  let events = 0;
  const parser = createParser(() => events++);
  for (const chunk of chunks) parser.feed(chunk);
  return events;
}

function theirs(chunks) {
  let events = 0;
  const decoder = new TextDecoder();
  const parser = createOther({ onEvent: () => events++ });
  for (const chunk of chunks) parser.feed(decoder.decode(chunk, { stream: true }));
  return events;
}

console.log(`Node ${process.version}`);
for (const size of CHUNK_BYTES) {
  const chunks = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  const best = new Map([ours, theirs].map((read) => [read, Infinity]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const read of best.keys()) {
      const start = performance.now();
      if (read(chunks) !== EVENTS) throw new Error("events were lost");
      best.set(read, Math.min(best.get(read), performance.now() - start));
    }
  }
  const ratio = best.get(theirs) / best.get(ours);
  const perEvent = [...best.values()].map((ms) => `${Math.round((ms * 1e6) / EVENTS)} ns`);
  console.log(`chunks of ${size} bytes: ${perEvent.join(" against ")} an event, ${ratio.toFixed(2)} times as fast`);
  if (ratio < LEAST_RATIO) process.exitCode = 1;
}
