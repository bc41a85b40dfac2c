import { createParser as createOracle } from "eventsource-parser";
import { expect, it } from "vitest";
import { createParser } from "../src/parser.js";
import { cutAtRandom, seeded } from "./pieces.js";

const RUNS = 4000;

interface Seen {
  readonly messages: readonly (readonly [type: string, data: string, lastEventId: string])[];
  readonly lastEventId: string;
  readonly retryMs: number | null;
}

const FIELDS = [
  "data",
  "id",
  "event",
  "retry",
  "topic",
  "change",
  "datax",
  "Data",
  "",
  " data",
  "da",
  "foo",
  "i",
  "event ",
];
const COLONS = [":", ": ", "", ":  ", ":\t", "::"];
const VALUES = [
  "",
  "x",
  "1",
  "0042",
  "12a",
  "-1",
  "\u20ac",
  "\ud83d\ude00",
  "a:b",
  "\0",
  "\u2028",
  " ",
  "\ufeff",
  "long ".repeat(9),
];
const ENDS = ["\n", "\n", "\n", "\r\n", "\r"];

/** Something that looks like a stream, here and there. */
function stream(random: () => number): Uint8Array {
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
  const lf = random() < 0.4;
  const end = () => (lf ? "\n" : pick(ENDS));
  let text = random() < 0.2 ? "\ufeff" : "";
  for (let lines = 1 + random() * 30; lines > 0; lines--) {
    text += random() < 0.25 ? end() : pick(FIELDS) + pick(COLONS) + pick(VALUES) + end();
  }
  const bytes = new TextEncoder().encode(text);
  // Not always UTF-8.
  if (random() < 0.3) {
    for (let times = random() * 4; times > 0; times--)
      bytes[Math.floor(random() * bytes.length)] = 0x80 + random() * 128;
  }
  return bytes;
}

function ours(parts: readonly Uint8Array[]): Seen {
  const messages: [string, string, string][] = [];
  const parser = createParser(({ type, data, lastEventId }) => messages.push([type, data, lastEventId]));
  for (const part of parts) parser.feed(part);
  return { messages, lastEventId: parser.lastEventId, retryMs: parser.retryMs };
}

function theirs(parts: readonly Uint8Array[]): Seen {
  const messages: [string, string, string][] = [];
  const decoder = new TextDecoder();
  let lastEventId = "";
  let retryMs: number | null = null;
  const parser = createOracle({
    onId: (id) => {
      lastEventId = id;
    },
    onRetry: (milliseconds) => {
      retryMs = Math.min(milliseconds, 2 ** 31 - 1);
    },
    onEvent: ({ event, data }) => messages.push([event ?? "message", data, lastEventId]),
  });
  for (const part of parts) parser.feed(decoder.decode(part, { stream: true }));
  return { messages, lastEventId, retryMs };
}

it(`reads ${RUNS} streams as eventsource-parser does, however they are cut`, () => {
  // It makes the oracle deal with a CR that it waits behind.
  const end = new TextEncoder().encode("\n\n");
  let messages = 0;
  for (let seed = 0; seed < RUNS; seed++) {
    const random = seeded(seed);
    const parts = [...cutAtRandom(stream(random), random), end];
    const seen = ours(parts);
    expect(seen, `seed ${seed}`).toEqual(theirs(parts));
    messages += seen.messages.length;
  }
  expect(messages).toBeGreaterThan(RUNS / 2);
});
