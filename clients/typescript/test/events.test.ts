/** What listeners get, in which order, and what becomes of what goes wrong. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { createSource, type StandardSchema, withSchemas } from "../src/index.js";
import { bye, connected, frame, gap, heartbeat, settle } from "../src/testing/index.js";
import { change, createWorld, event, resumed } from "./world.js";

afterEach(() => vi.restoreAllMocks());

describe("events", () => {
  it("say what they are", async () => {
    const world = createWorld();
    const events: unknown[] = [];
    world.source.on("order", (event) => events.push(event));
    world.source.on("value.append", (event) => events.push(event));
    world.source.on("message", (event) => events.push(event));
    await world.stream(
      connected("k3v9-4"),
      frame({ id: "k3v9-5", event: "order", topic: "orders/1", data: { n: 1 } }),
      change("k3v9-6", "append", "x"),
      frame({ id: "k3v9-7", topic: "t", data: null }),
    );
    expect(events).toEqual([
      { type: "order", data: { n: 1 }, text: '{"n":1}', lastEventId: "k3v9-5", topic: "orders/1", change: "" },
      {
        type: "value.append",
        data: "x",
        text: '"x"',
        lastEventId: "k3v9-6",
        topic: "task/42",
        change: "append",
      },
      { type: "message", data: null, text: "null", lastEventId: "k3v9-7", topic: "t", change: "" },
    ]);
  });

  it("of the stream itself can be had, too", async () => {
    const world = createWorld();
    const types: string[] = [];
    for (const type of ["connected", "heartbeat", "gap", "bye"] as const) {
      world.source.on(type, ({ type, topic }) => types.push(type + topic));
    }
    await world.stream(connected("k3v9-4"), heartbeat("k3v9-5"), gap("k3v9-9"), bye("drain"));
    expect(types).toEqual(["connected", "heartbeat", "gap", "bye"]);
  });

  it("of one network read come in one batch, after the listeners of each", async () => {
    const world = createWorld();
    const told: string[] = [];
    world.source.onBatch((events) => told.push(events.map(({ text }) => text).join()));
    world.source.on("message", ({ text }) => told.push(text));
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 0 }));
    told.length = 0;
    const all = event(5) + event(6) + event(7);
    await stream.send(all.slice(0, -3));
    await stream.send(all.slice(-3));
    await stream.send(": nothing\n\n");
    expect(told).toEqual(["5", "6", "5,6", "7", "7"]);
  });

  it("go to who is there when it is their turn", async () => {
    const world = createWorld();
    const told: string[] = [];
    const listener = () => told.push("same");
    const off = [world.source.on("message", listener), world.source.on("message", listener)];
    world.source.on("message", () => {
      told.push("first");
      late();
      world.source.on("message", () => told.push("added"));
    });
    const late = world.source.on("message", () => told.push("late"));
    const [stream] = await world.stream(connected("k3v9-4"));
    await stream.send(event(5));
    expect(told).toEqual(["same", "same", "first"]);
    told.length = 0;
    off[0]?.();
    await stream.send(event(6));
    expect(told).toEqual(["same", "first", "added"]);
    expect(world.errors).toEqual([]);
  });

  it("are not given out any more once the source is closed", async () => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => {
      texts.push(text);
      world.source.close();
    });
    await world.stream(connected("k3v9-4"), event(5) + event(6));
    expect(texts).toEqual(["5"]);
    world.source.open();
    const [, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-5");
  });
});

describe("what goes wrong", () => {
  it("is reported, and the stream goes on: a frame that is no JSON", async () => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    await world.stream(connected("k3v9-4"), frame({ id: "k3v9-5", topic: "t", text: "{oops" }) + event(6));
    expect(texts).toEqual(["6"]);
    expect(world.errors).toMatchObject([{ code: "unreadable", about: { data: "{oops", lastEventId: "k3v9-5" } }]);
    expect(world.errors[0]?.cause).toBeInstanceOf(SyntaxError);
    expect(world.errors[0]).toBeInstanceOf(Error);
    expect(world.errors[0]?.message).toBe("clarion: unreadable");
    expect(world.source.lastEventId).toBe("k3v9-6");
  });

  it("is reported: listeners that throw or reject, and the others are called", async () => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", () => {
      throw new Error("one");
    });
    world.source.on("message", async () => {
      throw new Error("two");
    });
    world.source.on("message", ({ text }) => texts.push(text));
    world.source.onBatch(() => {
      throw new Error("three");
    });
    world.source.onStatus(() => {
      throw new Error("four");
    });
    await world.stream(connected("k3v9-4", { heartbeat: 0 }), event(5));
    expect(texts).toEqual(["5"]);
    expect(new Set(world.errors.map(({ cause }) => (cause as Error).message))).toEqual(
      new Set(["one", "two", "three", "four"]),
    );
  });

  it("is reported: an event over the limit, once, and it is not held", async () => {
    const world = createWorld({ maxEventBytes: 1000 });
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const [stream] = await world.stream(connected("k3v9-4"), "id: k3v9-5\ntopic: t\ndata: ");
    for (let times = 0; times < 100; times++) await stream.send("x".repeat(100));
    await stream.send(`\n\n${event(6)}`);
    expect(texts).toEqual(["6"]);
    expect(world.errors.map(({ code }) => code)).toEqual(["too-large"]);
  });

  it("is reported: an id that cannot be sent back", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream("id: 1\ndata: 1\n\n", "id: 2\u0007\ndata: 2\n\n");
    expect(world.errors.map(({ code }) => code)).toContain("bad-id");
    expect(world.source.lastEventId).toBe("1");
  });

  it.each(['"text"', "null", "5", "[]", "{oops"])("does not come from a hub that says %s of itself", async (said) => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const frames = ["connected", "heartbeat", "gap", "bye"].map((type) => `event: ${type}\ndata: ${said}\n\n`).join("");
    const [stream] = await world.stream(connected("k3v9-4"), event(5));
    await stream.send(frames);
    await world.clock.advance(60_000);
    world.source.reconnect();
    const requests = world.server.requests.length;
    expect(requests).toBeGreaterThan(1);
    expect(requests).toBeLessThan(40);
    expect(texts).toEqual(["5"]);
  });

  it("goes to the console if nobody wants to know", async () => {
    const console_ = vi.spyOn(console, "error").mockImplementation(() => {});
    const world = createWorld();
    const source = createSource({ url: "http://hub.test/", ...world.server, ...world.clock, ...world.page });
    source.open();
    await world.stream("data: {oops\n\n");
    expect(console_.mock.calls).toMatchObject([[{ code: "unreadable" }]]);
    source.close();
  });

  it("goes there if who is told of it throws, and no further", async () => {
    const console_ = vi.spyOn(console, "error").mockImplementation(() => {});
    const world = createWorld();
    const mine = new Error("in the error listener");
    world.source.onError(() => {
      throw mine;
    });
    world.source.open();
    await world.stream("data: {oops\n\n");
    expect(console_.mock.calls).toEqual([[mine]]);
    expect(world.errors).toHaveLength(1);
  });
});

describe("decoding", () => {
  it("can be another", async () => {
    const world = createWorld({ decode: (text, type) => `${type}:${text}` });
    const data: unknown[] = [];
    world.source.on("message", (event) => data.push(event.data));
    await world.stream(connected("k3v9-4"), frame({ id: "k3v9-5", topic: "t", text: "{oops" }));
    expect(data).toEqual(["message:{oops"]);
    expect(world.errors).toEqual([]);
  });

  it("that throws is reported", async () => {
    const world = createWorld({
      decode() {
        throw new Error("no");
      },
    });
    world.source.open();
    await world.stream("data: 1\n\n");
    expect(world.errors).toMatchObject([{ code: "unreadable", cause: { message: "no" } }]);
  });
});

describe("what a hub says of itself", () => {
  const like = { mode: "live", from: "k3v9-9", heartbeat: 1000, values: "all" };

  it("is not what an event of a topic says", async () => {
    const world = createWorld();
    const gaps: unknown[] = [];
    world.source.onGap((gap) => gaps.push(gap));
    world.source.open();
    await world.stream(resumed("k3v9-4"), event(5, like, "connected"));
    expect([gaps, world.source.status.connected?.values]).toEqual([[], "changed"]);
  });

  it("is not what a stranger's event of another type says", async () => {
    const world = createWorld({ decode: (text) => text });
    const data: unknown[] = [];
    world.source.on("message", (event) => data.push(event.data));
    await world.stream(frame({ data: like }));
    expect(data).toEqual([JSON.stringify(like)]);
  });
});

describe("schemas", () => {
  const schema = <Output>(validate: StandardSchema<Output>["~standard"]["validate"]): StandardSchema<Output> => ({
    "~standard": { version: 1, vendor: "test", validate },
  });
  const number = schema<number>((value) =>
    typeof value === "number" ? { value: value + 1 } : { issues: [{ message: "no number" }] },
  );

  it("check and change the data of their type only", async () => {
    const world = createWorld<{ count: number; name: string }>({ decode: withSchemas({ count: number }) });
    const data: unknown[] = [];
    world.source.on("count", (event) => data.push(event.data));
    world.source.on("name", (event) => data.push(event.data));
    await world.stream(
      connected("k3v9-4"),
      event(5, 1, "count") + event(6, "ann", "name") + event(7, "x", "count") + event(8, 2, "count"),
    );
    expect(data).toEqual([2, "ann", 3]);
    expect(world.errors).toMatchObject([{ code: "unreadable", cause: [{ message: "no number" }] }]);
  });

  it("may take their time; the order stays", async () => {
    const world = createWorld<{ count: number; name: string }>({
      decode: withSchemas({ count: schema(async (value) => ({ value: value as number })) }),
    });
    const data: unknown[] = [];
    world.source.on("count", (event) => data.push(event.data));
    world.source.on("name", (event) => data.push(event.data));
    await world.stream(connected("k3v9-4"), event(5, 1, "count") + event(6, "ann", "name") + event(7, 2, "count"));
    expect(data).toEqual([1, "ann", 2]);
  });

  it("that throw are reported", async () => {
    const world = createWorld<{ count: number }>({
      decode: withSchemas({ count: schema(() => Promise.reject(new Error("no"))) }),
    });
    world.source.open();
    await world.stream(event(5, 1, "count"));
    expect(world.errors).toMatchObject([{ code: "unreadable", cause: { message: "no" } }]);
  });

  it.each(["constructor", "__proto__", "toString"])("are not found for an event of the type %s", async (type) => {
    const world = createWorld<Record<string, number>>({ decode: withSchemas({ count: number }) });
    world.source.open();
    await world.stream(event(5, 1, type));
    expect(world.errors).toEqual([]);
  });
});

describe("a loop", () => {
  it("gets the events of its types, and ends with the source", async () => {
    const world = createWorld();
    const texts: string[] = [];
    const loop = (async () => {
      for await (const { text } of world.source.events("order", "message")) texts.push(text);
      texts.push("end");
    })();
    const [stream] = await world.stream(connected("k3v9-4"), event(5) + event(6, 6, "other") + event(7, 7, "order"));
    expect(texts).toEqual(["5", "7"]);
    await stream.send(event(8));
    world.source.close();
    await loop;
    expect(texts).toEqual(["5", "7", "8", "end"]);
  });

  it("gets all types if it names none", async () => {
    const world = createWorld();
    const types: string[] = [];
    void (async () => {
      for await (const { type } of world.source.events()) types.push(type);
    })();
    await world.stream(connected("k3v9-4"), event(5));
    expect(types).toEqual(["connected", "message"]);
  });

  it("throws what the source closed with", async () => {
    const world = createWorld();
    const loop = (async () => {
      for await (const _ of world.source.events("order"));
    })();
    const rejection = expect(loop).rejects.toMatchObject({ code: "refused", cause: 403 });
    await (await world.server.next()).answer(403);
    await rejection;
  });

  it("that is left lets go of the connection", async () => {
    const world = createWorld();
    const loop = (async () => {
      for await (const { data } of world.source.events("message")) if (data === 6) break;
    })();
    const [stream] = await world.stream(connected("k3v9-4"), event(5) + event(6) + event(7));
    await loop;
    await settle();
    expect(world.source.lastEventId).toBe("k3v9-7");
    await world.clock.advance(1000);
    expect(stream.closed).toBe(true);
    expect(world.source.status.state).toBe("idle");
  });

  it("holds back the cursor, and the stream, until it asks for the next", async () => {
    const world = createWorld();
    const loop = world.source.events("message");
    const first = loop.next();
    const [stream] = await world.stream(connected("k3v9-4"));
    await stream.send(event(5) + event(6));
    await stream.send(event(7));
    expect(await first).toMatchObject({ value: { text: "5" } });
    expect(await loop.next()).toMatchObject({ value: { text: "6" } });
    expect(world.source.lastEventId).toBe("k3v9-4");
    const third = loop.next();
    await settle();
    expect(world.source.lastEventId).toBe("k3v9-6");
    expect(await third).toMatchObject({ value: { text: "7" } });
    await loop.return?.();
    await settle();
    expect(world.source.lastEventId).toBe("k3v9-7");
  });

  it("on a closed source is over at once", async () => {
    const world = createWorld();
    world.source.close();
    expect(await world.source.events().next()).toEqual({ value: undefined, done: true });
    expect(world.server.requests).toEqual([]);
  });
});
