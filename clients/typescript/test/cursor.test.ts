/** Where a source stands: which events it had, when they are dealt with, and what is kept over the end of a page. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { type CursorStore, loadedCursor, sessionCursor } from "../src/index.js";
import { isSendable, isUpTo, placeOf } from "../src/positions.js";
import { bye, connected, frame, gap, heartbeat, settle } from "../src/testing/index.js";
import { change, createWorld, event, resumed, type World } from "./world.js";

const memory = (kept = ""): CursorStore & { saved: string[] } => {
  const saved: string[] = [];
  return { saved, load: () => saved.at(-1) ?? kept, save: (id) => void saved.push(id) };
};

/** Who fetches the state anew at a gap, and is at it: what it was told so far, and what ends its work. */
async function fetchingAtGap({ source, stream }: World): Promise<[told: string[], fetched: () => void]> {
  const told: string[] = [];
  let fetched = () => {};
  source.onGap(async () => {
    await new Promise<void>((resolve) => (fetched = resolve));
    told.push("state");
  });
  source.on("message", ({ text }) => told.push(text));
  await stream(connected("k3v9-4"), event(5) + gap("k3v9-50") + event(51));
  return [told, () => fetched()];
}

describe("positions", () => {
  it("are read, and nothing else is", () => {
    expect(placeOf("k3v9-1042")).toEqual(placeOf("k3v9-1042~1042"));
    for (const id of [
      "",
      "k3v-1",
      "K3v9-1",
      "k3v9-",
      "k3v9-1~",
      "k3v9-1~x",
      "k3v9-1.done",
      "k3v9-1\n",
      `${"x".repeat(17)}-1`,
    ]) {
      expect(placeOf(id), id).toBeNull();
    }
  });

  it("are compared by offset, then by what was told of values, and not across epochs", () => {
    const upTo = (one: string, other: string) => isUpTo(placeOf(one), placeOf(other));
    expect(upTo("k3v9-9", "k3v9-10")).toBe(true);
    expect(upTo("k3v9-10", "k3v9-9")).toBe(false);
    expect(upTo("k3v9-10", "k3v9-10")).toBe(true);
    expect(upTo("k3v9-10~3", "k3v9-10")).toBe(true);
    expect(upTo("k3v9-10", "k3v9-10~9")).toBe(false);
    expect(upTo("k3v9-10~9", "k3v9-10~10")).toBe(true);
    expect(upTo("k3v9-9223372036854775807", "k3v9-9223372036854775806")).toBe(false);
    expect(upTo("k3v9-1", "zzzz-2")).toBe(false);
    expect(isUpTo(null, placeOf("k3v9-1"))).toBe(false);
    expect(isUpTo(placeOf("k3v9-1"), null)).toBe(false);
  });

  it("can be sent, unless they have control characters or no end", () => {
    expect(isSendable("k3v9-1~0")).toBe(true);
    expect(isSendable("\u00e9\u20ac")).toBe(true);
    for (const id of ["a\u0007", "\u007f", "a\tb", "x".repeat(1025)]) expect(isSendable(id)).toBe(false);
  });
});

describe("the last event id", () => {
  it("moves after the listeners have returned", async () => {
    const world = createWorld();
    const before: string[] = [];
    world.source.on("message", () => before.push(world.source.lastEventId));
    const [stream] = await world.stream(connected("k3v9-4"));
    await stream.send(event(5));
    await stream.send(event(6));
    expect(before).toEqual(["k3v9-4", "k3v9-5"]);
    expect(world.source.lastEventId).toBe("k3v9-6");
  });

  it("waits for what listeners promise, and so does the stream", async () => {
    const world = createWorld();
    const finish: (() => void)[] = [];
    const texts: string[] = [];
    world.source.on("message", ({ text }) => {
      texts.push(text);
      return new Promise<void>((resolve) => finish.push(resolve));
    });
    const [stream] = await world.stream(connected("k3v9-4"));
    await stream.send(event(5) + event(6));
    await stream.send(event(7));
    expect(texts).toEqual(["5", "6"]);
    expect(world.source.lastEventId).toBe("k3v9-4");
    finish[1]?.();
    await settle();
    expect(world.source.lastEventId).toBe("k3v9-4");
    finish[0]?.();
    await settle();
    expect(world.source.lastEventId).toBe("k3v9-6");
    expect(texts).toEqual(["5", "6", "7"]);
  });

  it("does not pass what is still being dealt with when the stream was lost", async () => {
    const world = createWorld();
    let finish = () => {};
    world.source.on("slow", () => new Promise<void>((resolve) => (finish = resolve)));
    const [old, first] = await world.stream(connected("k3v9-4"));
    await old.send(event(5, 5, "slow"));
    world.source.reconnect();
    const [stream, request] = await world.stream(resumed("k3v9-5"), event(6));
    expect(first.aborted).toBe(true);
    expect(request.headers.get("last-event-id")).toBe("k3v9-5");
    await stream.send(event(7));
    expect(world.source.lastEventId).toBe("k3v9-4");
    finish();
    await settle();
    expect(world.source.lastEventId).toBe("k3v9-7");
  });

  it("moves on if a listener throws or rejects", async () => {
    const world = createWorld();
    world.source.on("message", () => Promise.reject(new Error("no")));
    world.source.on("message", () => {
      throw new Error("no");
    });
    await world.stream(connected("k3v9-4"), event(5));
    expect(world.source.lastEventId).toBe("k3v9-5");
    expect(world.errors.map(({ code }) => code)).toEqual(["listener", "listener"]);
  });

  it("moves with heartbeats", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-4"), heartbeat("k3v9-99"));
    expect(world.source.lastEventId).toBe("k3v9-99");
  });

  it("may be no position, which makes nothing come again", async () => {
    const world = createWorld();
    const told: string[] = [];
    world.source.on("message", ({ text }) => told.push(text));
    await world.stream(connected("k3v9-4"), event(5) + frame({ id: "x", topic: "news", data: "odd" }) + event(5));
    expect(told).toEqual(["5", '"odd"']);
  });

  it("does not fall, except by a gap", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-40"), heartbeat("k3v9-30") + event(20));
    expect(world.source.lastEventId).toBe("k3v9-40");
    await stream.send(gap("k3v9-10"));
    expect(world.source.lastEventId).toBe("k3v9-10");
  });
});

describe("a gap", () => {
  it("is told with what the hub says of it", async () => {
    const world = createWorld();
    const gaps: unknown[] = [];
    world.source.onGap((told) => gaps.push(told));
    world.source.open();
    await world.stream(connected("k3v9-50", { mode: "gap" }), gap("k3v9-50", { requested: "k3v9-1", missed: 7 }));
    expect(gaps).toEqual([{ reason: "expired", requested: "k3v9-1", oldest: "k3v9-50", missed: 7 }]);
  });

  it("holds back what follows until its listeners are done", async () => {
    const world = createWorld();
    const [told, fetched] = await fetchingAtGap(world);
    expect(told).toEqual(["5"]);
    fetched();
    await settle();
    expect(told).toEqual(["5", "state", "51"]);
  });

  it("comes again if the stream is lost before it", async () => {
    const world = createWorld({ lastEventId: "k3v9-4" });
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-50", { mode: "gap" }));
    await stream.fail();
    await world.clock.advance(2000);
    const [, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-4");
  });
});

describe("what is being dealt with", () => {
  it("does not take what comes after it along, if it ends the source", async () => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => {
      texts.push(text);
      if (text === "1") world.source.close();
    });
    await world.stream([1, 2, 3].map((n) => frame({ id: `${n}`, data: n })).join(""));
    world.source.open();
    const [, request] = await world.stream(frame({ id: "2", data: 2 }));
    expect(request.headers.get("last-event-id")).toBe("1");
    expect(texts).toEqual(["1", "2"]);
  });

  it("holds back the next connection, too", async () => {
    const cursor = memory();
    const world = createWorld({ cursor });
    const [told, fetched] = await fetchingAtGap(world);
    await world.clock.advance(20_000);
    world.page.signal("visibilitychange"); // it is busy, and not silent
    await world.clock.advance(1);
    expect(world.source.status.state).toBe("open");
    world.source.reconnect();
    await world.stream(resumed("k3v9-50"), event(51));
    expect([told, cursor.load()]).toEqual([["5"], ""]);
    fetched();
    await settle();
    expect(told).toEqual(["5", "state", "51"]);
  });
});

describe("an id that was lost on the way", () => {
  const unasked = { reason: "unasked", requested: "k3v9-4", oldest: "k3v9-7", missed: null };

  it("is a gap, told before what follows", async () => {
    const world = createWorld({ lastEventId: "k3v9-4" });
    const told: unknown[] = [];
    world.source.onGap((gap) => told.push(gap));
    world.source.on("message", ({ text }) => told.push(text));
    await world.stream(connected("k3v9-7") + event(8));
    expect(told).toEqual([unasked, "8"]);
    expect(world.source.lastEventId).toBe("k3v9-8");
  });

  it("leaves what was had as it is, also if the values are told anew", async () => {
    const world = createWorld({ lastEventId: "k3v9-9~0" });
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    await world.stream(connected("k3v9-0"), event(8) + event(9) + event(10));
    expect(texts).toEqual(["10"]);
  });

  it("is asked for again if the stream is lost before the gap was dealt with", async () => {
    const cursor = memory();
    const world = createWorld({ lastEventId: "k3v9-4", cursor });
    world.source.onGap(() => new Promise(() => {}));
    world.source.open();
    await world.stream(connected("k3v9-7"), event(8));
    expect([world.source.lastEventId, cursor.load()]).toEqual(["k3v9-4", ""]);
  });

  it.each([
    ["the same place", "k3v9-4", "k3v9-4"],
    ["the same place, of one who holds no values", "k3v9-4~0", "k3v9-4"],
    ["no id", "", "k3v9-7"],
  ])("is none with %s", async (_, lastEventId, begins) => {
    const world = createWorld({ lastEventId });
    const gaps: unknown[] = [];
    world.source.onGap((gap) => gaps.push(gap));
    world.source.open();
    await world.stream(connected(begins));
    expect(gaps).toEqual([]);
  });
});

describe("a cursor that is kept", () => {
  it("is where a new page begins, without events twice", async () => {
    const cursor = memory();
    const before = createWorld({ cursor });
    before.source.open();
    await before.stream(frame({ id: "1", data: "a" }) + frame({ id: "2", data: "b" }));
    before.page.signal("pagehide");
    const after = createWorld({ cursor, lastEventId: "0" });
    expect(after.source.lastEventId).toBe("2");
    after.source.open();
    const [, request] = await after.stream();
    expect(request.headers.get("last-event-id")).toBe("2");
  });

  it("says that no values are kept with it, if the hub tells any", async () => {
    const cursor = memory();
    const world = createWorld({ cursor });
    const texts: string[] = [];
    world.source.open();
    await world.stream(connected("k3v9-4~0"), change("k3v9-4~2", "set", 1), event(5));
    expect(cursor.saved.at(-1)).toBe("k3v9-5~0");
    expect(world.source.lastEventId).toBe("k3v9-5");

    const after = createWorld({ cursor });
    after.source.on("message", ({ text }) => texts.push(text));
    const [stream, request] = await after.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-5~0");
    await stream.send(connected("k3v9-5~0", { mode: "resumed" }) + change("k3v9-5~2", "set", 1));
    await stream.send(change("k3v9-5", "set", 2, "other") + event(6));
    expect(after.source.value("task/42").get()).toBe(1);
    expect(after.source.value("other").get()).toBe(2);
    expect(texts).toEqual(["6"]);
    expect(after.errors).toEqual([]);
  });

  it("keeps the word that a stream is complete", async () => {
    const cursor = memory();
    const world = createWorld({ cursor });
    world.source.open();
    await world.stream(connected("k3v9-4"), bye("done", { id: "k3v9-4.done" }));
    const after = createWorld({ cursor });
    after.source.open();
    const request = await after.server.next();
    expect(request.headers.get("last-event-id")).toBe("k3v9-4.done");
    await request.answer(204);
    expect(after.states().at(-1)).toBe("closed: done");
  });

  it("is not kept again before it moves", async () => {
    const kept: string[] = [];
    const world = createWorld({ cursor: { load: () => "", save: (id) => kept.push(id) } });
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4"));
    for (const said of [":\n\n", heartbeat("k3v9-4"), event(5), ":\n\n"]) await stream.send(said);
    expect(kept).toEqual(["k3v9-4~0", "k3v9-5~0"]);
  });

  const full = new Error("full");
  const throwing: CursorStore = {
    load: () => null,
    save() {
      throw full;
    },
  };

  it.each([
    ["throws", throwing],
    ["rejects", { load: () => null, save: () => Promise.reject(full) }],
  ])("is reported if the store %s, and the stream goes on", async (_, store) => {
    const world = createWorld({ cursor: await loadedCursor(store) });
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const [stream] = await world.stream(connected("k3v9-4"));
    await stream.send(event(5));
    expect(texts).toEqual(["5"]);
    expect(world.errors.at(-1)).toMatchObject({ code: "listener", cause: full });
  });
});

describe("sessionCursor", () => {
  afterEach(() => vi.unstubAllGlobals());

  it("keeps its text in the tab's session storage", () => {
    const storage: Record<string, string> = {};
    vi.stubGlobal("sessionStorage", storage);
    const cursor = sessionCursor("events of ann");
    expect(cursor.load()).toBeUndefined();
    cursor.save("k3v9-5");
    expect(storage).toEqual({ "events of ann": "k3v9-5" });
    expect(sessionCursor("events of ann").load()).toBe("k3v9-5");
  });

  it("begins anew where a page may not use that, and says so when it saves", () => {
    const forbidden = new Proxy(
      {},
      {
        get() {
          throw new DOMException("no", "SecurityError");
        },
        set() {
          throw new DOMException("no", "SecurityError");
        },
      },
    );
    vi.stubGlobal("sessionStorage", forbidden);
    expect(sessionCursor("key").load()).toBeNull();
    expect(() => sessionCursor("key").save("k3v9-5")).toThrow("no");
  });

  it("is nothing where there is no such storage", () => {
    expect(sessionCursor("key").load()).toBeNull();
  });
});
