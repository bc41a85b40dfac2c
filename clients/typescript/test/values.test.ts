/** What a source holds of topics' values. What a change does to a value is in the vectors. */
import { describe, expect, it } from "vitest";
import { connected, frame, heartbeat } from "../src/testing/index.js";
import { createValues } from "../src/values.js";
import { change, createWorld, event, resumed } from "./world.js";

describe("a value", () => {
  it("is told anew where the hub has forgotten what was deleted, though nothing new has happened", async () => {
    const world = createWorld();
    world.source.open();
    const first = change("k3v9-8", "set", { a: 1 }) + change("k3v9-9", "set", "old", "task/43");
    const [stream] = await world.stream(connected("k3v9-7"), first);
    await stream.end();
    await world.clock.advance(2000);
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const again = connected("k3v9-9~0", { mode: "resumed", values: "all" });
    await world.stream(again, change("k3v9-9", "set", { a: 2 }) + event(10));
    expect(world.source.value("task/42").get()).toEqual({ a: 2 });
    expect(world.source.value("task/43").get()).toBeUndefined();
    expect(texts).toEqual(["10"]);
  });

  it("is folded from a set and what follows", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", { text: "Hello", n: 1 }));
    expect(world.source.value("task/42").get()).toEqual({ text: "Hello", n: 1 });
    await stream.send(change("k3v9-10", "append", { text: " world" }) + change("k3v9-11", "merge", { n: null, m: 2 }));
    expect(world.source.value("task/42").get()).toEqual({ text: "Hello world", m: 2 });
    await stream.send(change("k3v9-12", "delete", null));
    expect(world.source.value("task/42").get()).toBeUndefined();
    await stream.send(change("k3v9-13", "append", "anew"));
    expect(world.source.value("task/42").get()).toBe("anew");
  });

  it("is told anew from where a stream begins whose id was lost, and no event again", async () => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const told = event(1) + change("k3v9-2", "set", "a") + event(3) + change("k3v9-4", "append", "b") + event(5);
    const [stream] = await world.stream(connected("k3v9-0"), told);
    await stream.end();
    await world.clock.advance(2000);
    const repeated = change("k3v9-4", "append", "b") + change("k3v9-6", "append", "c");
    await world.stream(connected("k3v9-0"), told + repeated + repeated + event(7));
    expect(texts).toEqual(["1", "3", "5", "7"]);
    expect(world.source.value("task/42").get()).toBe("abc");
    expect(world.source.lastEventId).toBe("k3v9-7");
  });

  it("stays while it is told over again, also if that is begun twice", async () => {
    const world = createWorld();
    world.source.open();
    const task = world.source.value("task/42");
    await world.stream(connected("k3v9-4~0"), change("k3v9-4", "set", 1));
    for (const topic of ["a", "b"]) {
      world.source.subscribeTopics([topic]);
      await world.stream(connected("k3v9-4~0", { mode: "resumed" }));
      expect(task.get()).toBe(1);
    }
    world.source.subscribeTopics(["c"]);
    await world.stream(connected("k3v9-4", { mode: "resumed" }));
    expect(task.get()).toBeUndefined();
  });

  it("has to be told over again, if the stream is lost before it was", async () => {
    const world = createWorld();
    world.source.open();
    const [first] = await world.stream(connected("k3v9-7"), change("k3v9-8", "set", "a") + event(9));
    await first.end();
    await world.clock.advance(2000);
    const [second] = await world.stream(connected("k3v9-9~0", { mode: "resumed", values: "all" }));
    await second.end();
    await world.clock.advance(2000);
    expect((await world.server.next()).headers.get("last-event-id")).toBe("k3v9-9~0");
  });

  it("is told at once, and then once for each network read that changed it, the newest", async () => {
    const world = createWorld();
    const seen: unknown[] = [];
    world.source.value<string>("task/42").subscribe((value) => seen.push(value));
    world.source.value("other").subscribe(() => seen.push("other"));
    const [stream] = await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", "a"));
    await stream.send(change("k3v9-10", "append", "b") + change("k3v9-11", "append", "c") + event(12));
    await stream.send(event(13));
    expect(seen).toEqual([undefined, "other", "a", "abc"]);
    world.source.value("task/42").subscribe((value) => seen.push(["late", value]));
    expect(seen.at(-1)).toEqual(["late", "abc"]);
  });

  it("keeps its identity until it changes, and what it was is not touched", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(
      connected("k3v9-9~0"),
      change("k3v9-9~1", "set", { list: [1], same: {} }) + change("k3v9-9", "set", 1, "other"),
    );
    const value = world.source.value<{ list: number[]; same: object }>("task/42");
    const before = value.get();
    expect(value.get()).toBe(before);
    await stream.send(change("k3v9-10", "append", { list: [2] }));
    expect(before).toEqual({ list: [1], same: {} });
    expect(value.get()).toEqual({ list: [1, 2], same: {} });
    expect(value.get()?.same).toBe(before?.same);
  });

  it("is not what a listener makes of the event", async () => {
    const world = createWorld();
    world.source.on("value", ({ data }) => data.list.push("mine"));
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", { list: [] }));
    expect(world.source.value("task/42").get()).toEqual({ list: [] });
  });

  it("is left alone by a change of a kind that is not known", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", 1) + change("k3v9-10", "reset", 5));
    expect(world.source.value("task/42").get()).toBe(1);
  });

  it("is not kept open by a listener whose first call throws", async () => {
    const world = createWorld();
    const { subscribe } = world.source.value("task/42");
    expect(() => subscribe(() => expect.unreachable())).toThrow();
    expect(world.source.status.state).toBe("idle");
  });

  it("does not care for plain events, whatever their type", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(
      connected("k3v9-9~0"),
      change("k3v9-9", "set", 1) + event(10, 2, "value", "task/42") + event(11, 3, "value.append", "task/42"),
    );
    expect(world.source.value("task/42").get()).toBe(1);
  });

  it("may be null, which is something else than nothing", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", null));
    expect(world.source.value("task/42").get()).toBeNull();
  });
});

describe("a stream that begins", () => {
  it("with `changed` goes on with what is held", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", "a"));
    await stream.end();
    await world.clock.advance(1000);
    await world.stream(resumed("k3v9-9"), change("k3v9-10", "append", "b"));
    expect(world.source.value("task/42").get()).toBe("ab");
  });

  it("with `all` shows the old values until the new ones are told, and then no others", async () => {
    const world = createWorld();
    const seen: unknown[] = [];
    world.source.value("kept").subscribe((value) => seen.push(value));
    world.source.value("gone").subscribe((value) => seen.push(["gone", value]));
    await world.stream(
      connected("k3v9-9~0"),
      change("k3v9-9~1", "set", 1, "kept") + change("k3v9-9", "set", 1, "gone"),
    );
    seen.length = 0;
    world.source.reconnect();
    const [stream] = await world.stream(connected("zzzz-9~0", { mode: "live" }));
    expect([world.source.value("kept").get(), world.source.value("gone").get()]).toEqual([1, 1]);
    expect(seen).toEqual([]);
    await stream.send(change("zzzz-9~3", "set", 2, "kept"));
    expect(seen).toEqual([2]);
    await stream.send(change("zzzz-9", "set", 3, "other"));
    expect(world.source.value("gone").get()).toBeUndefined();
    expect(seen).toContainEqual(["gone", undefined]);
    expect(world.source.value("kept").get()).toBe(2);
  });

  it("with `all` stays if the connection was over before its place was taken", async () => {
    const world = createWorld();
    world.source.open();
    const [first] = await world.stream(connected("k3v9-4~0"), change("k3v9-4", "set", 1));
    await first.end();
    const off = world.source.on("connected", () => world.source.reconnect());
    await world.clock.advance(2000);
    await world.stream(connected("k3v9-7~0")); // the id was lost on the way
    off();
    const [, request] = await world.stream(resumed("k3v9-4"), event(8)); // this time it was not
    expect(request.headers.get("last-event-id")).toBe("k3v9-4");
    expect(world.source.value("task/42").get()).toBe(1);
  });

  it("is told on from a place that was taken, though the connection was over by then", async () => {
    const world = createWorld();
    const off = world.source.on("connected", () => world.source.reconnect());
    await world.stream(connected("k3v9-7~0"));
    off();
    const [, request] = await world.stream(resumed("k3v9-7~0"), change("k3v9-7", "append", "b"));
    expect(request.headers.get("last-event-id")).toBe("k3v9-7~0");
    expect([world.source.value("task/42").get(), world.errors]).toEqual(["b", []]);
  });

  it("with `all` and no value at all takes them away", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", 1));
    world.source.reconnect();
    await world.stream(connected("zzzz-3"));
    expect(world.source.value("task/42").get()).toBeUndefined();
  });

  it("tells a topic anew that was deleted meanwhile, also by a change of something else", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", "old"));
    world.source.reconnect();
    await world.stream(connected("zzzz-9~0"), change("zzzz-9~2", "append", "new"));
    expect(world.source.value("task/42").get()).toBe("new");
    expect(world.errors).toEqual([]);
  });

  it("tells a deletion at once, too", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", "old"));
    world.source.reconnect();
    await world.stream(connected("zzzz-9~0"), change("zzzz-9~2", "delete", null));
    expect(world.source.value("task/42").get()).toBeUndefined();
  });

  it("in the middle of telling values goes on from a heartbeat", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-9~0"), change("k3v9-9~3", "set", 1, "a"), heartbeat("k3v9-9~5"));
    expect(world.source.lastEventId).toBe("k3v9-9~5");
  });

  it("in the middle of telling values goes on there", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-9~0"), change("k3v9-9~3", "set", 1, "a"));
    await stream.fail();
    await world.clock.advance(1000);
    const [, request] = await world.stream(resumed("k3v9-9~3"), change("k3v9-9", "set", 2, "b"));
    expect(request.headers.get("last-event-id")).toBe("k3v9-9~3");
    expect([world.source.value("a").get(), world.source.value("b").get()]).toEqual([1, 2]);
  });
});

describe("a change that cannot be carried out", () => {
  it.each([
    ["append", 5],
    ["append", ["x"]],
  ])("%s of %j drops the value, is reported, and all values are asked for anew", async (what, delta) => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    await world.stream(
      connected("k3v9-9~0"),
      change("k3v9-9", "set", "text") + event(10) + change("k3v9-11", what, delta) + event(12),
    );
    expect(world.errors).toMatchObject([{ code: "value", about: { topic: "task/42", change: what } }]);
    expect(world.source.value("task/42").get()).toBeUndefined();
    expect(world.states().at(-1)).toBe("waiting: value");
    expect(texts).toEqual(["10"]);
    await world.clock.advance(2000);
    const [stream, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-11~0");
    await stream.send(connected("k3v9-11~0", { mode: "resumed" }) + change("k3v9-11", "set", "better") + event(12));
    expect(world.source.value("task/42").get()).toBe("better");
    expect(texts).toEqual(["10", "12"]);
  });

  it("is also one that is no JSON", async () => {
    const world = createWorld();
    world.source.open();
    const broken = frame({ id: "k3v9-10", topic: "task/42", change: "append", text: "{oops" });
    await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", "a") + broken);
    expect(world.errors.map(({ code }) => code)).toEqual(["unreadable", "value"]);
    expect(world.states().at(-1)).toBe("waiting: value");
  });

  it("is also one of a value that was never told", async () => {
    const world = createWorld({ lastEventId: "k3v9-9" });
    world.source.open();
    await world.stream(resumed("k3v9-9"), change("k3v9-10", "append", "b"));
    expect(world.source.value("task/42").get()).toBeUndefined();
    expect(world.errors).toMatchObject([{ code: "value" }]);
    await world.clock.advance(1000);
    expect((await world.server.next()).headers.get("last-event-id")).toBe("k3v9-10~0");
  });

  it("does not make a storm of a hub that keeps doing it", async () => {
    const world = createWorld({ random: () => 0.9999 });
    world.source.open();
    const waits: number[] = [];
    for (let times = 0; times < 5; times++) {
      await world.stream(
        connected(`k3v9-${9 + times}~0`),
        change(`k3v9-${10 + times}`, "append", 1) + change(`k3v9-${11 + times}`, "append", 1),
      );
      waits.push(world.source.status.delayMs as number);
      await world.clock.advance(waits.at(-1) as number);
    }
    expect(waits).toEqual([1999, 3999, 7999, 15998, 29997]);
  });
});

describe("bounds", () => {
  it("a value over the limit is not held, which is reported once; others are", async () => {
    const world = createWorld({ maxEventBytes: 1000 });
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", ""));
    for (let offset = 10; offset < 40; offset++) await stream.send(change(`k3v9-${offset}`, "append", "x".repeat(100)));
    expect(world.errors.map(({ code }) => code)).toEqual(["value"]);
    expect(world.errors[0]?.cause).toBeInstanceOf(RangeError);
    expect(world.source.status.state).toBe("open");
    expect(world.source.value("task/42").get()).toBeUndefined();
    await stream.send(change("k3v9-50", "set", 1, "other") + change("k3v9-51", "set", "short"));
    expect([world.source.value("other").get(), world.source.value("task/42").get()]).toEqual([1, "short"]);
  });

  it("a value of which one change was too large is not held, until it is set anew", async () => {
    const world = createWorld({ maxEventBytes: 200 });
    const seen: unknown[] = [];
    world.source.value("task/42").subscribe((value) => seen.push(value));
    const large = "x".repeat(300);
    const [stream, request] = await world.stream(connected("k3v9-9~0"), change("k3v9-9", "set", { a: 1 }));
    await stream.send(change("k3v9-10", "set", { a: 2 }) + change("k3v9-11", "merge", { a: 3, large }));
    await stream.send(change("k3v9-12", "merge", { large: null }));
    expect(seen).toEqual([undefined, { a: 1 }, undefined, undefined]);
    await stream.send(change("k3v9-13", "set", { a: 4 }));
    expect(seen.at(-1)).toEqual({ a: 4 });
    expect(world.errors.map(({ code, about }) => [code, about?.topic])).toEqual([
      ["too-large", "task/42"],
      ["value", "task/42"],
    ]);
    expect([request.aborted, world.source.lastEventId]).toEqual([false, "k3v9-13"]);
  });

  it("what is too large is not asked for again", async () => {
    const world = createWorld({ maxEventBytes: 200 });
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4"), event(5) + event(6, "x".repeat(300)));
    await stream.end();
    await world.clock.advance(5000);
    expect((await world.server.next()).headers.get("last-event-id")).toBe("k3v9-6");
  });

  it("patches that replace each other are not added up", () => {
    const [heldValue, begin, apply] = createValues(200);
    begin();
    for (let times = 0; times < 100; times++) apply("t", "merge", JSON.stringify({ progress: times }));
    expect(heldValue("t")).toEqual({ progress: 99 });
  });

  it("what was deleted takes no room", () => {
    const [heldValue, begin, apply, caughtUp] = createValues();
    begin();
    apply("t", "set", "1");
    apply("t", "delete", "null");
    begin();
    expect([...caughtUp()]).toEqual([]);
    expect(heldValue("t")).toBeUndefined();
  });
});
