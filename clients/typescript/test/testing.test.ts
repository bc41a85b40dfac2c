/** The kit for tests does what it says. */
import { describe, expect, it } from "vitest";
import { createParser, type Message } from "../src/parser.js";
import {
  bye,
  connected,
  createClock,
  createPage,
  createServer,
  frame,
  gap,
  heartbeat,
  settle,
} from "../src/testing/index.js";

describe("the clock", () => {
  it("fires timers in the order in which they are due", async () => {
    const clock = createClock(1000);
    const fired: string[] = [];
    const note = (name: string) => () => fired.push(`${name} at ${clock.now()}`);
    clock.setTimeout(note("late"), 30);
    const gone = clock.setTimeout(note("gone"), 10);
    clock.setTimeout(() => {
      note("early")();
      clock.setTimeout(note("nested"), 5);
    }, 10);
    clock.clearTimeout(gone);
    clock.clearTimeout(undefined);
    expect(clock.timers).toEqual([10, 30]);
    await clock.advance(29);
    expect(fired).toEqual(["early at 1010", "nested at 1015"]);
    await clock.advance(1);
    expect(fired.at(-1)).toBe("late at 1030");
    expect(clock.now()).toBe(1030);
  });

  it("fires at once what no timer holds", async () => {
    const clock = createClock();
    const fired: number[] = [];
    for (const delay of [-1, Number.NaN, 2 ** 31, Infinity]) clock.setTimeout(() => fired.push(delay), delay);
    await clock.advance(0);
    expect(fired).toHaveLength(4);
  });

  it("puts timers off while the machine sleeps", async () => {
    const clock = createClock(0);
    const fired: number[] = [];
    clock.setTimeout(() => fired.push(clock.now()), 10);
    clock.sleep(1000);
    expect(clock.now()).toBe(1000);
    await clock.advance(9);
    expect(fired).toEqual([]);
    await clock.advance(1);
    expect(fired).toEqual([1010]);
  });
});

describe("the page", () => {
  it("tells who listens", () => {
    const page = createPage();
    const heard: string[] = [];
    const listener = (signal: string) => heard.push(signal);
    const stops = [page.watchPage(listener), page.watchPage(listener)];
    page.signal("online");
    stops[0]?.();
    page.signal("pagehide");
    expect(heard).toEqual(["online", "online", "pagehide"]);
    expect(page.listeners).toBe(1);
  });
});

describe("the server", () => {
  it("gives out requests in order, and what they say", async () => {
    const server = createServer();
    const answers = [
      server.fetch("http://hub.test/a", { method: "POST", headers: { x: "y" }, body: "b" }),
      server.fetch("http://hub.test/b", {}),
    ];
    const [one, other] = [await server.next(), await server.next()];
    expect([one.method, one.url.pathname, one.headers.get("x"), one.body]).toEqual(["POST", "/a", "y", "b"]);
    expect([other.method, other.url.pathname, other.body]).toEqual(["GET", "/b", undefined]);
    const failure = expect(answers[1]).rejects.toBeInstanceOf(TypeError);
    await one.answer(503, { "retry-after": "1" }, "busy");
    await other.fail();
    await failure;
    const answer = (await answers[0]) as Response;
    expect([answer.status, answer.headers.get("retry-after"), await answer.text()]).toEqual([503, "1", "busy"]);
    expect(server.requests).toEqual([one, other]);
  });

  it("does as fetch does with a signal: before the request, before the answer, and while a stream is read", async () => {
    const server = createServer();
    const early = new AbortController();
    early.abort();
    await expect(server.fetch("http://hub.test/", { signal: early.signal })).rejects.toBe(early.signal.reason);
    expect(server.requests).toEqual([]);
    for (const isOpen of [false, true]) {
      const controller = new AbortController();
      const answer = server.fetch("http://hub.test/", { signal: controller.signal });
      const request = await server.next();
      const stream = isOpen ? await request.open() : undefined;
      const reading = isOpen ? (await answer).body?.getReader().read() : answer;
      controller.abort();
      await expect(reading).rejects.toBe(controller.signal.reason);
      expect([request.aborted, stream?.closed ?? true]).toEqual([true, true]);
      await stream?.send("late");
      await stream?.end();
      await stream?.fail();
    }
  });

  it("has streams that end, break, and are hung up", async () => {
    const server = createServer();
    const reading: ReadableStreamDefaultReader<Uint8Array>[] = [];
    const streams = [];
    for (let times = 0; times < 3; times++) {
      const answer = server.fetch("http://hub.test/", {});
      streams.push(await (await server.next()).open({ "x-more": "1" }));
      const { body, headers } = await answer;
      expect([headers.get("content-type"), headers.get("x-more")]).toEqual(["text/event-stream", "1"]);
      reading.push((body as ReadableStream<Uint8Array>).getReader());
    }
    await streams[0]?.send("a");
    await streams[0]?.send(Uint8Array.of(98));
    expect((await reading[0]?.read())?.value).toEqual(Uint8Array.of(97));
    expect((await reading[0]?.read())?.value).toEqual(Uint8Array.of(98));
    await streams[0]?.end();
    expect((await reading[0]?.read())?.done).toBe(true);
    const broken = expect(reading[1]?.read()).rejects.toBeInstanceOf(TypeError);
    await streams[1]?.fail();
    await broken;
    await reading[2]?.cancel();
    expect(streams.map(({ closed }) => closed)).toEqual([true, true, true]);
  });
});

it("writes frames as a hub does", () => {
  expect(frame({ id: "k3v9-5", event: "order", topic: "t", change: "set", data: { a: 1 } })).toBe(
    'id: k3v9-5\nevent: order\ntopic: t\nchange: set\ndata: {"a":1}\n\n',
  );
  expect(frame({ retry: 5, text: "a\r\nb\rc" })).toBe("retry: 5\ndata: a\ndata: b\ndata: c\n\n");
  expect(frame({ id: "1" })).toBe("id: 1\n\n");
  const messages: Message[] = [];
  const parser = createParser((message) => messages.push(message));
  const said = [connected("k3v9-4~0"), heartbeat("k3v9-5"), gap("k3v9-9"), bye("kicked", { detail: "why" })];
  parser.feed(new TextEncoder().encode(said.join("")));
  expect(messages.map(({ type, data }) => [type, Object.keys(JSON.parse(data))])).toEqual([
    ["connected", ["clientId", "mode", "from", "to", "heartbeat", "values"]],
    ["heartbeat", ["timestamp"]],
    ["gap", ["reason", "requested", "oldest", "missed"]],
    ["bye", ["reason", "retry", "detail"]],
  ]);
  expect(JSON.parse(messages[0]?.data as string)).toMatchObject({ from: "k3v9-4~0", to: "k3v9-4" });
});

it("settles", async () => {
  const done: string[] = [];
  void (async () => {
    for (let turns = 0; turns < 100; turns++) await null;
    done.push("all turns");
  })();
  await settle();
  expect(done).toEqual(["all turns"]);
});
