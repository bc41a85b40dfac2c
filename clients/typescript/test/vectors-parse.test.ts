import { describe, expect, it } from "vitest";
import { createParser, type Message } from "../src/parser.js";
import { bytesOf, cutAtRandom, joined, type Piece, seeded, textOf, vectorFiles, vectors } from "./pieces.js";

interface Said {
  type: Piece;
  data: Piece;
  last_event_id: Piece;
  topic: Piece | null;
  change?: Piece | null;
}

interface Case {
  name: string;
  input: Piece[];
  messages: (Said | { repeat: [Said, number] })[];
  last_event_id: Piece;
  retry: number | null;
  start_last_event_id?: Piece;
  max_event_bytes?: number;
  too_large?: number;
}

/** Above this many bytes one `feed` for each takes long and shows nothing new. */
const MAX_BYTEWISE_BYTES = 100_000;
const SEEDS = 8;

function outcome(vector: Case, chunks: readonly Uint8Array[]) {
  const messages: Message[] = [];
  let tooLarge = 0;
  const parser = createParser((message) => messages.push(message), {
    maxEventBytes: vector.max_event_bytes,
    lastEventId: vector.start_last_event_id === undefined ? undefined : textOf(vector.start_last_event_id),
    onTooLarge: () => tooLarge++,
  });
  for (const chunk of chunks) parser.feed(chunk);
  return { messages, tooLarge, lastEventId: parser.lastEventId, retryMs: parser.retryMs };
}

function expected(vector: Case) {
  const messages = vector.messages.flatMap((item) => {
    const [said, times] = "repeat" in item ? item.repeat : ([item, 1] as const);
    const message: Message = {
      type: textOf(said.type),
      data: textOf(said.data),
      lastEventId: textOf(said.last_event_id),
      topic: said.topic === null ? "" : textOf(said.topic),
      change: said.change == null ? "" : textOf(said.change),
    };
    return Array<Message>(times).fill(message);
  });
  return {
    messages,
    tooLarge: vector.too_large ?? 0,
    lastEventId: textOf(vector.last_event_id),
    retryMs: vector.retry,
  };
}

describe.each(vectorFiles("parse"))("%s", (file) => {
  it.each(vectors<Case>("parse", file))("$name", (vector) => {
    const chunks = vector.input.map(bytesOf);
    const whole = joined(chunks);
    const wanted = expected(vector);
    expect(outcome(vector, chunks)).toEqual(wanted);
    expect(outcome(vector, [whole])).toEqual(wanted);
    if (whole.length <= MAX_BYTEWISE_BYTES) {
      expect(
        outcome(
          vector,
          Array.from(whole, (byte) => Uint8Array.of(byte)),
        ),
      ).toEqual(wanted);
    }
    for (let seed = 0; seed < SEEDS; seed++) {
      expect(outcome(vector, cutAtRandom(whole, seeded(seed)))).toEqual(wanted);
    }
  });
});
