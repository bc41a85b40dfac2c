/** When a source is connected: who opens it, what ends it, and how it comes back. */
import { describe, expect, it, vi } from "vitest";
import { bye, connected, settle } from "../src/testing/index.js";
import { createWorld, event, resumed, type World } from "./world.js";

describe("opening", () => {
  it("does not ask before it is needed", async () => {
    const { source, server, page, clock } = createWorld();
    source.onStatus(() => {});
    source.onError(() => {});
    source.onGap(() => {});
    source.value("news").get();
    await settle();
    expect(server.requests).toEqual([]);
    expect(source.status).toEqual({ state: "idle", reason: "" });
    expect(page.listeners).toBe(0);
    expect(clock.timers).toEqual([]);
  });

  it.each([
    ["on", (world: World) => world.source.on("order", () => {})],
    ["onBatch", (world: World) => world.source.onBatch(() => {})],
    ["a value", (world: World) => world.source.value("news").subscribe(() => {})],
    ["a loop", (world: World) => void world.source.events().next()],
    ["open", (world: World) => world.source.open()],
  ])("%s opens it", async (_name, need) => {
    const world = createWorld();
    need(world);
    await world.server.next();
    expect(world.source.status.state).toBe("connecting");
  });

  it("asks once, however many subscribe", async () => {
    const { source, server } = createWorld();
    source.on("a", () => {});
    source.on("b", () => {});
    source.open();
    source.open();
    await settle();
    expect(server.requests).toHaveLength(1);
  });

  it("says what it does", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4"));
    expect(world.states()).toEqual(["connecting", "open", "open"]);
    expect(world.source.status.connected).toMatchObject({ clientId: "c-1", mode: "live", heartbeat: 15_000 });
    await stream.end();
    expect(world.states().at(-1)).toBe("waiting: network");
    expect(world.source.status.delayMs).toBe(1000);
    expect(world.source.status.connected).toBeUndefined();
  });
});

describe("letting go", () => {
  it("lingers for a second after the last subscription, then is idle", async () => {
    const world = createWorld();
    const offOne = world.source.on("a", () => {});
    const offOther = world.source.on("b", () => {});
    const [stream] = await world.stream();
    offOne();
    await world.clock.advance(5000);
    expect(stream.closed).toBe(false);
    offOther();
    offOther();
    await world.clock.advance(999);
    expect(stream.closed).toBe(false);
    await world.clock.advance(1);
    expect(stream.closed).toBe(true);
    expect(world.source.status).toMatchObject({ state: "idle", reason: "" });
    expect(world.page.listeners).toBe(0);
    expect(world.clock.timers).toEqual([]);
  });

  it("keeps the stream for who comes within that second", async () => {
    const world = createWorld();
    const off = world.source.on("a", () => {});
    const [stream] = await world.stream();
    off();
    await world.clock.advance(999);
    world.source.on("a", () => {});
    await world.clock.advance(5000);
    expect(stream.closed).toBe(false);
    expect(world.server.requests).toHaveLength(1);
  });

  it("opens again for the next, from where it was", async () => {
    const world = createWorld();
    const off = world.source.on("message", () => {});
    await world.stream(connected("k3v9-4"), event(5));
    off();
    await world.clock.advance(1000);
    world.source.on("message", () => {});
    const [, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-5");
  });

  it("stays for who opened it", async () => {
    const world = createWorld();
    world.source.open();
    world.source.on("a", () => {})();
    const [stream] = await world.stream();
    await world.clock.advance(5000);
    expect(stream.closed).toBe(false);
  });
});

describe("closing", () => {
  it("is for good, until it is opened", async () => {
    const world = createWorld();
    world.source.open();
    const [stream] = await world.stream(connected("k3v9-4"));
    world.source.close();
    world.source.close();
    expect(stream.closed).toBe(true);
    expect(world.source.status).toMatchObject({ state: "closed", reason: "closed", error: undefined });
    world.source.on("a", () => {});
    world.source.reconnect();
    world.source.subscribeTopics(["b"]);
    world.page.signal("online");
    await world.clock.advance(1e9);
    expect(world.server.requests).toHaveLength(1);
    world.source.open();
    const [, request] = await world.stream();
    expect(request.headers.get("last-event-id")).toBe("k3v9-4~0");
    expect(request.url.searchParams.getAll("topic")).toEqual(["b"]);
  });

  it("lets go of a stream that does not listen to its signal", async () => {
    const cancel = vi.fn();
    const body = new ReadableStream({ cancel });
    const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream" } });
    const world = createWorld({ fetch });
    world.source.open();
    await settle();
    expect([world.source.status.state, cancel.mock.calls.length]).toEqual(["open", 0]);
    world.source.close();
    expect(cancel).toHaveBeenCalledOnce();
  });

  it("is not undone by a wait that was under way", async () => {
    const world = createWorld();
    world.source.open();
    await (await world.server.next()).fail();
    expect(world.source.status.state).toBe("waiting");
    world.source.close();
    await world.clock.advance(1e6);
    expect(world.source.status.state).toBe("closed");
    expect(world.server.requests).toHaveLength(1);
  });

  it.each(["connecting", "open", "waiting"])("may come from who is told of %s", async (state) => {
    const world = createWorld();
    world.source.onStatus((status) => status.state === state && world.source.close());
    world.source.open();
    if (state !== "connecting") {
      const [stream] = await world.stream();
      if (state === "waiting") await stream.end();
    }
    await world.clock.advance(1e6);
    expect(world.source.status).toMatchObject({ state: "closed", reason: "closed" });
    expect(world.clock.timers).toEqual([]);
    expect(world.server.requests.every(({ aborted }) => aborted)).toBe(true);
  });

  it("may come from who is told of an error", async () => {
    const world = createWorld({ headers: () => Promise.reject(new Error("no token")) });
    world.source.onError(() => world.source.close());
    world.source.open();
    await world.clock.advance(1e6);
    expect(world.source.status).toMatchObject({ state: "closed", reason: "closed" });
    expect(world.errors).toHaveLength(1);
  });

  it("leaves out a late answer", async () => {
    const world = createWorld();
    world.source.open();
    const request = await world.server.next();
    world.source.close();
    await request.open();
    expect(world.states()).toEqual(["connecting", "closed: closed"]);
  });

  it.each([200, 204, 401, 404, 503])(
    "leaves out a late %i also where fetch does not hear of the end",
    async (status) => {
      let answer = (_response: Response) => {};
      const headers = () => ({});
      const world = createWorld({ headers, fetch: () => new Promise((resolve) => (answer = resolve)) });
      world.source.open();
      await settle();
      const late = answer;
      world.source.reconnect();
      await settle();
      const body = status === 204 ? null : "data: 1\n\n";
      late(new Response(body, { status, headers: { "content-type": "text/event-stream" } }));
      await settle();
      expect(world.states()).toEqual(["connecting", "connecting"]);
      expect(world.errors).toEqual([]);
    },
  );

  it("comes with a bye that says done, after its events", async () => {
    const world = createWorld();
    const said: string[] = [];
    world.source.on("message", ({ text }) => said.push(text));
    world.source.onStatus(({ state, reason }) => said.push(`${state}: ${reason}`));
    await world.stream(connected("k3v9-4"), event(5) + bye("done", { id: "k3v9-5.done" }) + event(6));
    expect(said.slice(2)).toEqual(["5", "closed: done"]);
    expect(world.source.lastEventId).toBe("k3v9-5.done");
    expect(world.errors).toEqual([]);
  });

  it("comes with a kick, as an error", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-4"), bye("kicked", { detail: "too loud" }));
    expect(world.states().at(-1)).toBe("closed: kicked");
    expect(world.errors).toMatchObject([{ code: "kicked" }]);
    expect(world.source.status.error).toBe(world.errors[0]);
  });

  it("comes with a status that is final, as an error with that status", async () => {
    const world = createWorld();
    world.source.open();
    await (await world.server.next()).answer(422);
    expect(world.states().at(-1)).toBe("closed: refused");
    expect(world.errors).toMatchObject([{ code: "refused", cause: 422 }]);
    expect(world.page.listeners).toBe(0);
  });
});

describe("coming back", () => {
  it("does not follow an old attempt", async () => {
    const world = createWorld();
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const old = await world.server.next();
    world.source.reconnect();
    const [stream] = await world.stream(connected("k3v9-4"));
    const late = await old.open();
    await late.send(event(9));
    await stream.send(event(5));
    expect(texts).toEqual(["5"]);
    expect(old.aborted).toBe(true);
  });

  it("backs off from a server that is away, and begins anew when it is asked to", async () => {
    const world = createWorld({ random: () => 0.9999, minDelayMs: 1000, maxDelayMs: 8000 });
    world.source.open();
    const delays: number[] = [];
    for (let attempt = 0; attempt < 6; attempt++) {
      await (await world.server.next()).answer(503);
      delays.push(world.source.status.delayMs as number);
      await world.clock.advance(delays.at(-1) as number);
    }
    expect(delays).toEqual([2999, 5999, 7999, 7999, 7999, 7999]);
    world.source.reconnect();
    await world.server.next();
    await (await world.server.next()).answer(503);
    expect(world.source.status.delayMs).toBe(2999);
  });

  it("waits its whole wait, and no longer", async () => {
    const world = createWorld();
    world.source.open();
    await (await world.server.next()).answer(503, { "retry-after": "7" });
    expect(world.source.status).toMatchObject({ reason: "status", error: 503, delayMs: 7000 });
    await world.clock.advance(6999);
    expect(world.server.requests).toHaveLength(1);
    await world.clock.advance(1);
    expect(world.server.requests).toHaveLength(2);
  });

  it("has one timer", async () => {
    const world = createWorld();
    world.source.open();
    await settle();
    expect(world.clock.timers).toHaveLength(1);
    const [stream] = await world.stream(connected("k3v9-4"));
    expect(world.clock.timers).toHaveLength(1);
    await stream.send(event(5));
    expect(world.clock.timers).toHaveLength(1);
    await stream.fail();
    expect(world.clock.timers).toHaveLength(1);
  });

  it("never gives up", async () => {
    const world = createWorld();
    world.source.open();
    for (let attempt = 0; attempt < 300; attempt++) {
      await (await world.server.next()).fail();
      await world.clock.advance(30_000);
    }
    const [stream] = await world.stream(connected("k3v9-4"));
    expect(world.source.status.state).toBe("open");
    expect(stream.closed).toBe(false);
  });

  it("asks for other topics from the same place, in one request", async () => {
    const world = createWorld({ topics: ["news"] });
    world.source.open();
    const [, first] = await world.stream(connected("k3v9-4"), event(5));
    expect(first.url.searchParams.getAll("topic")).toEqual(["news"]);
    world.source.subscribeTopics(["task/42", "news"]);
    world.source.subscribeTopics(["chat/7"], ["news"]);
    const [, request] = await world.stream(resumed("k3v9-5~0"));
    expect(request.url.searchParams.getAll("topic")).toEqual(["task/42", "chat/7"]);
    expect(request.headers.get("last-event-id")).toBe("k3v9-5~0");
    expect(first.aborted).toBe(true);
    expect(world.server.requests).toHaveLength(2);
  });
});

describe("who is told", () => {
  it("of an error, may open it again", async () => {
    const world = createWorld();
    const off = world.source.onError(() => world.source.open());
    world.source.open();
    await world.stream(connected("k3v9-4"), bye("kicked"));
    off();
    await world.stream(resumed("k3v9-4"));
    expect(world.states().filter((state, index, all) => state !== all[index - 1])).toEqual([
      ...["connecting", "open", "connecting", "open"],
    ]);
  });

  it("that there can be no request, may ask for another at once", async () => {
    let isReady = false;
    const world = createWorld({
      headers() {
        if (!isReady) throw Error("not yet");
        return {};
      },
    });
    world.source.onError(() => {
      isReady = true;
      world.source.reconnect();
    });
    world.source.open();
    await settle();
    expect(world.server.requests.map(({ aborted }) => aborted)).toEqual([false]);
    expect(world.source.status.state).toBe("connecting");
  });

  it("of its state, is told the newest last", async () => {
    const world = createWorld();
    const told: string[] = [];
    world.source.onStatus(({ state }) => state === "open" && world.source.close());
    world.source.onStatus(({ state }) => told.push(state));
    world.source.open();
    await world.stream();
    expect(told).toEqual(["connecting", "closed", "closed"]);
  });

  it("of an end, comes back for a reason that it does not know", async () => {
    const world = createWorld();
    world.source.open();
    await world.stream(connected("k3v9-4"), bye("abandoned"));
    await world.clock.advance(10_000);
    await world.stream(resumed("k3v9-4"), bye("requested"));
    expect([world.source.status.state, world.errors]).toEqual(["waiting", []]);
  });
});
