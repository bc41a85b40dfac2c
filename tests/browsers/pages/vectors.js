/** The shared vectors in a browser; what they mean stands in spec/README.md and spec/vectors/http/README.md. */
import { createSource } from "../../../clients/typescript/src/index.ts";
import { createParser } from "../../../clients/typescript/src/parser.ts";
import {
  connected,
  createClock,
  createPage,
  createServer,
  frame,
} from "../../../clients/typescript/src/testing/index.ts";
import { applyChange } from "../../../clients/typescript/src/values.ts";

/** Above this many bytes one `feed` for each takes long and shows nothing new. */
const MAX_BYTEWISE_BYTES = 100_000;
/** Nothing more comes, if nothing came for so long; and nothing ever will, after the longer one. */
const QUIET_MS = 25;
const PATIENCE_MS = 5_000;
/** A longer text is not shown whole. */
const SHOWN_CHARACTERS = 300;

const encoder = new TextEncoder();

function joined(parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function bytesOf(piece) {
  if (typeof piece === "string") return encoder.encode(piece);
  if (Array.isArray(piece)) return joined(piece.map(bytesOf));
  if ("hex" in piece) return Uint8Array.from(piece.hex.split(" ").filter(Boolean), (byte) => parseInt(byte, 16));
  const [repeated, times] = piece.repeat;
  const part = bytesOf(repeated);
  const all = new Uint8Array(part.length * times);
  for (let index = 0; index < times; index++) all.set(part, index * part.length);
  return all;
}

const textOf = (piece) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(piece));
const repeatedly = (items) =>
  items.flatMap((item) => ("repeat" in item ? Array(item.repeat[1]).fill(item.repeat[0]) : [item]));
const shown = (text) =>
  text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}... (${text.length})` : text;

/** As JSON with sorted members, so that also a member `__proto__` is compared. */
function canonical(value) {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, part]) => `${JSON.stringify(name)}:${canonical(part)}`).join()}}`;
}

/** What is compared more than once. */
class Canonical {
  constructor(value) {
    this.text = canonical(value);
  }
}

/** Notes what differs; counts what was compared. */
function createJudge() {
  const judged = { compared: 0, differences: [] };
  const judge = (name, got, wanted) => {
    const [one, other] = [got, wanted].map((what) => (what instanceof Canonical ? what.text : canonical(what)));
    judged.compared++;
    if (one !== other) judged.differences.push(`${name}: got ${shown(one)}, not ${shown(other)}`);
  };
  return [judged, judge];
}

function parsed(vector, chunks) {
  const messages = [];
  let tooLarge = 0;
  const parser = createParser((message) => messages.push(message), {
    maxEventBytes: vector.max_event_bytes,
    lastEventId: vector.start_last_event_id === undefined ? undefined : textOf(vector.start_last_event_id),
    onTooLarge: () => tooLarge++,
  });
  for (const chunk of chunks) parser.feed(chunk);
  return { messages, tooLarge, lastEventId: parser.lastEventId, retryMs: parser.retryMs };
}

/** Numbers from 0 up to 1, the same in each run. */
function seeded(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function cutAtRandom(bytes) {
  const random = seeded(7);
  const parts = [];
  for (let at = 0; at < bytes.length; ) {
    const length = random() < 0.1 ? 0 : 1 + Math.floor(random() * Math.max(20, bytes.length / 500));
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}

/** Reads each case of `vectors/parse` four ways. */
export function judgeParsing(cases) {
  const [judged, judge] = createJudge();
  for (const vector of cases) {
    const chunks = vector.input.map(bytesOf);
    const whole = joined(chunks);
    const wanted = new Canonical({
      messages: repeatedly(vector.messages).map((said) => ({
        type: textOf(said.type),
        data: textOf(said.data),
        lastEventId: textOf(said.last_event_id),
        topic: textOf(said.topic ?? ""),
        change: textOf(said.change ?? ""),
      })),
      tooLarge: vector.too_large ?? 0,
      lastEventId: textOf(vector.last_event_id),
      retryMs: vector.retry,
    });
    judge(`${vector.name}, as it is cut`, parsed(vector, chunks), wanted);
    judge(`${vector.name}, in one piece`, parsed(vector, [whole]), wanted);
    judge(`${vector.name}, cut at random`, parsed(vector, cutAtRandom(whole)), wanted);
    if (whole.length > MAX_BYTEWISE_BYTES) continue;
    const bytes = Array.from(whole, (byte) => Uint8Array.of(byte));
    judge(`${vector.name}, byte by byte`, parsed(vector, bytes), wanted);
  }
  return judged;
}

/** Carries out each case of `vectors/values`: changes of one value, refused changes, and streams of them. */
export async function judgeValues(cases) {
  const [judged, judge] = createJudge();
  for (const vector of cases) {
    if (vector.stream) await judgeStream(vector, judge);
    else if (vector.changes) {
      const value = vector.changes.reduce((before, { change, data }) => applyChange(before, change, data), undefined);
      judge(vector.name, value, vector.value);
    } else {
      const before = canonical(vector.value);
      let refusal = "none";
      try {
        applyChange(vector.value, vector.change, vector.data);
      } catch (error) {
        refusal = error.constructor.name;
      }
      judge(vector.name, [refusal, canonical(vector.value)], ["TypeError", before]);
    }
  }
  return judged;
}

async function judgeStream({ name, stream, held = {}, values }, judge) {
  const server = createServer();
  const source = createSource({ url: "/events", ...createClock(), ...createPage(), ...server });
  source.onError((error) => judge(name, String(error.cause), "no error"));
  source.open();
  const sets = Object.entries(held).map(([topic, data], index) =>
    frame({ id: `k3v9-8~${index + 1}`, event: "value", topic, change: "set", data }),
  );
  const before = await (await server.next()).open();
  await before.send(connected("k3v9-8~0") + sets.join("") + frame({ id: "k3v9-8", topic: "plain", data: 0 }));
  source.reconnect();
  await (await (await server.next()).open()).send(stream);
  const topics = [...new Set([...Object.keys(held), ...Object.keys(values)])];
  judge(
    name,
    topics.map((topic) => source.value(topic).get()),
    topics.map((topic) => values[topic]),
  );
  source.close();
}

const pause = (delayMs) => new Promise((resolve) => setTimeout(resolve, delayMs));

function endOf({ state, reason, error }) {
  if (state !== "closed") return state;
  return error?.code === "refused" || error?.code === "no-stream" ? "refused" : reason;
}

/**
 * Plays a case of `vectors/http` against the server that this page is from, which has the answers. The network is real;
 * time is the test's. Gives what came of it and what should have.
 */
export async function playExchanges(vector) {
  const made = vector.source ?? {};
  const clock = createClock();
  const got = { events: [], waits: [], asked: [] };
  const source = createSource({
    ...{ url: vector.path ?? "/events", random: () => 0, decode: (text) => text, ...clock, ...createPage() },
    ...(made.topics && { topics: made.topics }),
    ...(made.last_event_id !== undefined && { lastEventId: textOf(made.last_event_id) }),
    init: { ...(made.method && { method: made.method }), ...(made.body !== undefined && { body: made.body }) },
    ...(made.headers && {
      headers(refused) {
        got.asked.push(refused ?? null);
        return made.headers[Math.min(got.asked.length, made.headers.length) - 1];
      },
    }),
  });
  source.onError(() => {});
  source.onBatch((batch) => {
    for (const { type, text: data, lastEventId: last_event_id, topic } of batch) {
      const isOwn = !topic && /^(connected|heartbeat|bye)$/.test(type);
      if (!isOwn) got.events.push({ type, data, last_event_id, topic: topic || null });
    }
  });
  source.onStatus(({ state, delayMs }) => {
    if (state === "waiting") got.waits.push(delayMs);
  });
  source.open();
  const wanted = {
    events: repeatedly(vector.events),
    waits: vector.waits,
    asked: vector.asked ?? [],
    ends: vector.ends,
    lastEventId: vector.last_event_id ?? "",
  };
  const outcome = () => ({
    ...got,
    ends: endOf(source.status),
    lastEventId: vector.last_event_id === undefined ? "" : source.lastEventId,
  });
  let quietSince = performance.now();
  for (let before = ""; ; await pause(3)) {
    const now = canonical(outcome());
    if (now !== before) quietSince = performance.now();
    before = now;
    // The wait that a case ends with is not waited for.
    const isLast = vector.ends === "waiting" && got.waits.length === vector.waits.length;
    if (source.status.state === "waiting" && !isLast && got.waits.length <= vector.waits.length) {
      await clock.advance(got.waits.at(-1));
    }
    const quietMs = performance.now() - quietSince;
    if (quietMs > PATIENCE_MS || (quietMs > QUIET_MS && now === canonical(wanted))) break;
  }
  const [judged, judge] = createJudge();
  judge(vector.name, outcome(), wanted);
  source.close();
  return judged;
}
