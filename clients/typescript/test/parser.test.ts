/** What the vectors of `parse` do not show: they say what is read, these also when. */
import { expect, it } from "vitest";
import { createParser } from "../src/parser.js";

const encoder = new TextEncoder();

function reader(maxEventBytes?: number) {
  const seen: string[] = [];
  const parser = createParser(({ data }) => seen.push(data), {
    maxEventBytes,
    onTooLarge: ({ lastEventId }) => seen.push(`too large at ${lastEventId}`),
    lastEventId: "0",
  });
  return { seen, feed: (...chunks: string[]) => chunks.forEach((chunk) => void parser.feed(encoder.encode(chunk))) };
}

it("does not take an empty chunk in a skipped block for its end", () => {
  const { seen, feed } = reader(11);
  feed("data: 678901\n", "", "data: lost\n", "data: lost\n\n", "data: kept\n\n");
  expect(seen).toEqual(["too large at 0", "kept"]);
});

it("says at once that an unfinished line is too large, and with which id", () => {
  const { seen, feed } = reader(20);
  feed("id: 1\ndata: a\n\nid: 2\n", "data: 67890123");
  expect(seen).toEqual(["a"]);
  feed("45678");
  expect(seen).toEqual(["a", "too large at 2"]);
  feed("9", "\nid: 3\n", "\ndata: b\n\n");
  expect(seen).toEqual(["a", "too large at 2", "b"]);
});

it("says of what is too large all that it knows by then", () => {
  const seen: unknown[] = [];
  const parser = createParser((message) => seen.push(message), {
    maxEventBytes: 50,
    onTooLarge: (message) => seen.push(message),
  });
  parser.feed(
    encoder.encode("id: 1\nevent: value\ntopic: t\nchange: set\ndata: 1\ndata: 678901234567890\nchange: no\n\n"),
  );
  parser.feed(encoder.encode("data: 678901234567890678901234567890678901234567890"));
  expect(seen).toEqual([
    { type: "value", topic: "t", change: "set", lastEventId: "1", data: null },
    { type: "message", topic: "", change: "", lastEventId: "", data: null },
  ]);
});

it("holds no more of a line than the bound, comment or not", () => {
  const piece = "x".repeat(1000);
  for (const start of [":", "data:", "foo:"]) {
    const { seen, feed } = reader(5000);
    feed(start);
    for (let times = 0; times < 100; times++) feed(piece);
    feed("\n\ndata: kept\n\n");
    expect(seen).toEqual(start === ":" ? ["kept"] : ["too large at 0", "kept"]);
  }
});

it("reads a line of many small chunks in a time that grows with its length", () => {
  const { seen, feed } = reader();
  feed("data:");
  for (let times = 0; times < 200_000; times++) feed("0123456789");
  feed("\n\n");
  expect(seen[0]?.length).toBe(2_000_000);
});

it("gives out a block as soon as its blank line is there, whatever ends its lines", () => {
  for (const end of ["\n", "\r", "\r\n"]) {
    const { seen, feed } = reader();
    feed(`data: a${end}${end}`);
    expect(seen).toEqual(["a"]);
    feed(`data: b${end}${end}`);
    expect(seen).toEqual(["a", "b"]);
  }
});
