import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createSource, type SourceError, type Status } from "../src/index.js";
import { createClock, createPage, settle } from "../src/testing/index.js";
import { bytesOf, type Piece, textOf, vectorFiles, vectors } from "./pieces.js";

interface Said {
  type: string;
  data: string;
  last_event_id: string;
  topic: string | null;
}

interface Exchange {
  expect: { method?: string; path?: string; headers?: Record<string, Piece | null>; body?: Piece };
  answer: {
    status?: number;
    headers?: Record<string, string>;
    body?: Piece[];
    then?: "end" | "break" | "hang";
    no_answer?: boolean;
  };
}

interface Case {
  name: string;
  source?: {
    topics?: string[];
    last_event_id?: Piece;
    method?: string;
    body?: string;
    headers?: Record<string, string>[];
  };
  path?: string;
  exchanges: Exchange[];
  asked?: (number | null)[];
  waits: number[];
  events: (Said | { repeat: [Said, number] })[];
  ends: string;
  last_event_id?: string;
}

/** What happens is over when nobody waits for an answer, and nothing more comes after so many turns of the event loop. */
const QUIET_TURNS = 25;

let server: Server;
let base: string;
let answerer: (request: IncomingMessage, response: ServerResponse) => void;

beforeAll(async () => {
  server = createServer((request, response) => answerer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** Header values are bytes, which node:http gives as Latin-1. */
const fromHeader = (value: string | undefined) =>
  value === undefined ? null : new TextDecoder().decode(Uint8Array.from(value, (char) => char.charCodeAt(0)));

function withoutEscapes(path: string) {
  const url = new URL(path, base);
  return [url.pathname, ...url.searchParams];
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).toString();
}

async function give(response: ServerResponse, { answer }: Exchange): Promise<void> {
  if (answer.no_answer) {
    response.destroy();
    return;
  }
  response.writeHead(answer.status ?? 200, answer.headers ?? { "content-type": "text/event-stream" });
  response.flushHeaders();
  for (const piece of answer.body ?? []) {
    await new Promise((resolve) => response.write(bytesOf(piece), resolve));
    await settle();
  }
  if (answer.then === "break") {
    // What was written is to arrive before the connection breaks.
    await new Promise((resolve) => setImmediate(resolve));
    response.destroy();
  } else if (answer.then !== "hang") response.end();
}

async function outcome(vector: Case) {
  const { source: made = {}, exchanges, path = "/events" } = vector;
  const clock = createClock();
  const events: Said[] = [];
  const waits: number[] = [];
  const asked: (number | null)[] = [];
  const problems: unknown[] = [];
  let exchange = 0;
  let activity = 0;
  answerer = (request, response) => {
    activity++;
    const current = exchanges[exchange++];
    if (!current) {
      problems.push(`an unexpected request: ${request.url}`);
      response.destroy();
      return;
    }
    void (async () => {
      const { expect: wanted } = current;
      const said = {
        method: request.method,
        path: withoutEscapes(request.url as string),
        headers: Object.fromEntries(
          Object.keys(wanted.headers ?? {}).map((name) => [name, fromHeader(request.headers[name] as string)]),
        ),
        body: await bodyOf(request),
      };
      const headers = Object.entries(wanted.headers ?? {}).map(([name, value]) => [name, value && textOf(value)]);
      try {
        expect(said).toEqual({
          method: wanted.method ?? "GET",
          path: withoutEscapes(wanted.path ?? path),
          headers: Object.fromEntries(headers),
          body: wanted.body === undefined ? "" : textOf(wanted.body),
        });
      } catch (error) {
        problems.push(error);
      }
      await give(response, current);
      activity++;
    })();
  };
  const source = createSource({
    ...{ url: base + path, random: () => 0, decode: (text: string) => text, ...clock, ...createPage() },
    ...(made.topics && { topics: made.topics }),
    ...(made.last_event_id !== undefined && { lastEventId: textOf(made.last_event_id) }),
    init: { ...(made.method && { method: made.method }), ...(made.body !== undefined && { body: made.body }) },
    ...(made.headers && {
      headers(refused: number | undefined) {
        asked.push(refused ?? null);
        return made.headers?.[Math.min(asked.length, made.headers.length) - 1] as Record<string, string>;
      },
    }),
  });
  source.onError(() => activity++);
  source.onBatch((batch) => {
    activity++;
    for (const { type, text: data, lastEventId: last_event_id, topic } of batch) {
      const isOwn = !topic && /^(connected|heartbeat|bye)$/.test(type);
      if (!isOwn) events.push({ type, data, last_event_id, topic: topic || null });
    }
  });
  source.onStatus(({ state, delayMs }) => {
    activity++;
    if (state === "waiting") waits.push(delayMs as number);
  });
  source.open();
  for (let quiet = 0, before = -1; quiet < QUIET_TURNS; quiet++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (activity !== before || source.status.state === "connecting") quiet = 0;
    before = activity;
    // One that still waits when all is said shows that it does.
    if (source.status.state === "waiting" && exchange < exchanges.length) await clock.advance(waits.at(-1) as number);
  }
  const result = { problems, events, waits, asked, ends: endOf(source.status), lastEventId: source.lastEventId };
  source.close();
  return result;
}

function endOf({ state, reason, error }: Status): string {
  if (state !== "closed") return state;
  const { code } = (error ?? {}) as Partial<SourceError>;
  return code === "refused" || code === "no-stream" ? "refused" : reason;
}

describe.each(vectorFiles("http"))("%s", (file) => {
  it.each(vectors<Case>("http", file))("$name", async (vector) => {
    const result = await outcome(vector);
    const events = vector.events.flatMap((item) =>
      "repeat" in item ? Array<Said>(item.repeat[1]).fill(item.repeat[0]) : [item],
    );
    expect(result).toEqual({
      problems: [],
      events,
      waits: vector.waits,
      asked: vector.asked ?? [],
      ends: vector.ends,
      lastEventId: vector.last_event_id ?? result.lastEventId,
    });
  });
});
