/** How a source notices that nobody is there any more, and what it does when somebody looks. */
import { describe, expect, it } from "vitest";
import {
  bye,
  connected,
  createClock,
  createPage,
  createServer,
  frame,
  heartbeat,
  settle,
} from "../src/testing/index.js";
import { createWorld, event, resumed, type World } from "./world.js";

describe("the watchdog", () => {
  it("learns its interval from the stream: dead after two heartbeats", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 15_000 }));
    await world.clock.advance(29_999);
    expect(world.source.status.state).toBe("open");
    await world.clock.advance(1);
    expect(world.states().at(-1)).toBe("waiting: silent");
    expect(stream.closed).toBe(true);
    await world.clock.advance(1000);
    const [, request] = await world.stream(resumed("k3v9-4"));
    expect(request.headers.get("last-event-id")).toBe("k3v9-4");
  });

  it("is fed by every byte, also by a comment's", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 15_000 }));
    for (const said of [heartbeat("k3v9-5"), event(6), ":", "d"]) {
      await world.clock.advance(29_999);
      await stream.send(said);
    }
    await world.clock.advance(29_999);
    expect(world.source.status.state).toBe("open");
    await world.clock.advance(1);
    expect(world.source.status.state).toBe("waiting");
  });

  it("knows the interval also before the next stream says it", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 5000 }));
    await stream.end();
    await world.clock.advance(1000);
    await world.stream();
    await world.clock.advance(10_000);
    expect(world.states().at(-1)).toBe("waiting: silent");
  });

  it("leaves streams alone that said no interval", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 0 }));
    await world.clock.advance(1e8);
    world.page.signal("visibilitychange");
    await world.clock.advance(1e8);
    expect(stream.closed).toBe(false);
  });

  it("does without, where the interval is more than a timer holds", async () => {
    const world = createWorld();
    world.source.open();
    for (const interval of [2 ** 31, 1e9 + 1, 1e300]) {
      const [stream] = await world.stream(connected("k3v9-4", { heartbeat: interval }));
      await world.clock.advance(1e8);
      expect(stream.closed).toBe(false);
      world.source.reconnect();
    }
  });

  it("does not blame the stream for a listener that takes its time", async () => {
    const world = createWorld();
    let done = () => {};
    world.source.on("message", () => new Promise<void>((resolve) => (done = resolve)));
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 15_000 }));
    await stream.send(event(5));
    await world.clock.advance(1e6);
    expect(world.source.status.state).toBe("open");
    done();
    await world.clock.advance(29_999);
    expect(world.source.status.state).toBe("open");
    await world.clock.advance(1);
    expect(world.source.status.state).toBe("waiting");
  });

  it("does not wait for an answer for ever", async () => {
    const world = createWorld();
    world.source.open();
    const request = await world.server.next();
    await world.clock.advance(29_999);
    expect(request.aborted).toBe(false);
    await world.clock.advance(1);
    expect(request.aborted).toBe(true);
    expect(world.states().at(-1)).toBe("waiting: silent");
  });

  it.each([
    ["nothing", ""],
    ["a part of its first frame", "retry: 1000\nid: k3v9-4\nevent: conn"],
  ])("nor for a stream that has said %s", async (_, said) => {
    const world = createWorld();
    world.source.open();
    await world.stream(said);
    await world.clock.advance(59_999);
    expect(world.source.status.state).toBe("open");
    await world.clock.advance(1);
    expect(world.states().at(-1)).toBe("waiting: silent");
  });

  it.each([
    ["of another server", frame({ data: "a" })],
    ["that announces none", connected("k3v9-4", { heartbeat: 0 })],
  ])("knows no heartbeat of a stream %s", async (_, said) => {
    const world = createWorld();
    world.source.open();
    await world.stream(said);
    await world.clock.advance(1e7);
    expect(world.source.status.state).toBe("open");
  });

  it("nor for headers", async () => {
    const world = createWorld({ headers: () => new Promise<HeadersInit>(() => {}) });
    world.source.open();
    await world.clock.advance(30_000);
    expect(world.states().at(-1)).toBe("waiting: silent");
  });

  it.each([1e300, -1, "soon", [], null])("survives a heartbeat of %j", async (interval) => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-4", { heartbeat: interval as number }));
    for (let turns = 0; turns < 20; turns++) await world.clock.advance(1000);
    expect(world.server.requests.length).toBeLessThan(20);
  });
});

describe("a page that wakes up", () => {
  it.each(["pageshow", "visibilitychange", "online"] as const)(
    "comes back at once on %s, if it waited",
    async (signal) => {
      const world = createWorld();
      world.source.open();
      await (await world.server.next()).answer(503);
      world.page.signal(signal);
      await world.stream(connected("k3v9-4"));
      expect(world.source.status.state).toBe("open");
    },
  );

  it.each([
    ["a Retry-After", async (world: World) => (await world.server.next()).answer(503, { "retry-after": "600" })],
    ["a bye", (world: World) => world.stream(connected("k3v9-4"), bye("drain", { retry: 600_000 }))],
  ])("but not before the time that %s asks for", async (_, askToWait) => {
    const world = createWorld({ random: () => 0.9999 });
    world.source.open();
    await askToWait(world);
    const before = world.server.requests.length;
    await world.clock.advance(599_999);
    world.page.signal("online");
    await settle();
    expect(world.server.requests).toHaveLength(before);
    await world.clock.advance(1);
    world.page.signal("online");
    await settle();
    expect(world.server.requests).toHaveLength(before + 1);
  });

  it("forgets the failures so far", async () => {
    const world = createWorld({ random: () => 0.9999 });
    world.source.open();
    for (const _ of [1, 2, 3]) {
      await (await world.server.next()).fail();
      await world.clock.advance(world.source.status.delayMs as number);
    }
    await (await world.server.next()).fail();
    world.page.signal("online");
    await (await world.server.next()).fail();
    expect(world.source.status.delayMs).toBe(2999);
  });

  it("notices within a heartbeat and a quarter that its stream died in its sleep", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-4", { heartbeat: 15_000 }));
    world.clock.sleep(3_600_000);
    expect(world.source.status.state).toBe("open");
    world.page.signal("visibilitychange");
    await world.clock.advance(0);
    expect(world.states().at(-1)).toBe("waiting: silent");
    await world.clock.advance(2000);
    const [, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-4");
  });

  it("gives a stream that may be alive the time to say so", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4", { heartbeat: 15_000 }));
    await world.clock.advance(10_000);
    world.page.signal("online");
    await world.clock.advance(8_749);
    expect(world.source.status.state).toBe("open");
    await stream.send(heartbeat("k3v9-5"));
    await world.clock.advance(29_999);
    expect(world.source.status.state).toBe("open");
    world.page.signal("pageshow");
    await world.clock.advance(1);
    expect(world.states().at(-1)).toBe("waiting: silent");
  });

  it("does not ask again for a stream that is well", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-4", { heartbeat: 15_000 }));
    for (let times = 0; times < 10; times++) world.page.signal("visibilitychange");
    await world.clock.advance(10_000);
    expect(world.server.requests).toHaveLength(1);
  });

  it("does not ask twice at its beginning, when a page says that it is shown", async () => {
    const world = createWorld();
    world.source.open();
    await settle();
    world.page.signal("pageshow");
    await settle();
    expect(world.server.requests).toHaveLength(1);
  });
});

describe("a page that is put away", () => {
  it("hangs up in silence, and comes back from where it was", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4"), event(5));
    world.page.signal("pagehide");
    expect(stream.closed).toBe(true);
    expect(world.source.status).toMatchObject({ state: "paused", error: undefined });
    await world.clock.advance(1e7);
    expect(world.server.requests).toHaveLength(1);
    expect(world.errors).toEqual([]);
    world.page.signal("pageshow");
    const [, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-5");
  });

  it.each(["connecting", "waiting"])("does so while it is %s, too", async (state) => {
    const world = createWorld();
    world.source.open();
    const request = await world.server.next();
    if (state === "waiting") await request.fail();
    world.page.signal("pagehide");
    await world.clock.advance(1e7);
    expect(world.source.status.state).toBe("paused");
    expect(world.server.requests).toHaveLength(1);
  });

  it("may be left for good", async () => {
    const world = createWorld();
    const off = world.source.on("a", () => {});
    await world.stream();
    world.page.signal("pagehide");
    off();
    await world.clock.advance(1000);
    expect(world.source.status.state).toBe("idle");
    expect(world.page.listeners).toBe(0);
  });
});

it("keeps the parts of its surroundings apart", async () => {
  const [one, other] = [createServer(), createServer()];
  const { createSource } = await import("../src/index.js");
  const shared = { ...createClock(), ...createPage(), random: () => 0 };
  const sources = [one, other].map((server) => createSource({ url: "http://hub.test/", ...shared, ...server }));
  for (const source of sources) source.open();
  await settle();
  expect([one.requests.length, other.requests.length]).toEqual([1, 1]);
  for (const source of sources) source.close();
});
