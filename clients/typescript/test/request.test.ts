/** What a source asks for; more of it is in the vectors of `http`. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { createSource, type Environment, type SourceOptions } from "../src/index.js";
import { connected, createServer, settle } from "../src/testing/index.js";
import { createWorld, event } from "./world.js";

afterEach(() => vi.unstubAllGlobals());

describe("a request", () => {
  it("asks for an event stream, past every cache", async () => {
    const world = createWorld();
    world.source.open();
    const { method, headers, init, url } = await world.server.next();
    expect(method).toBe("GET");
    expect(headers.get("accept")).toBe("text/event-stream");
    expect(headers.has("last-event-id")).toBe(false);
    expect(init.cache).toBe("no-store");
    expect(init.body).toBeUndefined();
    expect(url.href).toBe("http://hub.test/events");
  });

  it("adds topics to the query that is there", async () => {
    const world = createWorld({ url: new URL("http://hub.test/events?since=5m#here"), topics: "orders/**" });
    world.source.open();
    const { url } = await world.server.next();
    expect([...url.searchParams]).toEqual([
      ["since", "5m"],
      ["topic", "orders/**"],
    ]);
  });

  it("is sent with what `fetch` takes, each time", async () => {
    const body = JSON.stringify({ prompt: "hi" });
    const world = createWorld({ init: { method: "POST", body, credentials: "include", keepalive: false } });
    world.source.open();
    const [stream, first] = await world.stream(connected("k3v9-4"), event(5));
    await stream.end();
    await world.clock.advance(1000);
    const again = await world.server.next();
    for (const { init } of [first, again]) expect(init).toMatchObject({ method: "POST", body, credentials: "include" });
    expect(again.headers.get("last-event-id")).toBe("k3v9-5");
  });

  it("says an id in UTF-8", async () => {
    const world = createWorld({ lastEventId: "\u00e9\u20ac" });
    world.source.open();
    expect((await world.server.next()).headers.get("last-event-id")).toBe("\u00c3\u00a9\u00e2\u0082\u00ac");
  });

  it("may have a relative address in a page", async () => {
    vi.stubGlobal("location", new URL("https://app.test/a/page?x=1"));
    const world = createWorld({ url: "events" });
    world.source.open();
    expect((await world.server.next()).url.href).toBe("https://app.test/a/events");
  });

  it("that there cannot be is reported, and tried again", async () => {
    const world = createWorld({ url: "nowhere" });
    world.source.open();
    await settle();
    expect(world.errors).toMatchObject([{ code: "request" }]);
    expect(world.errors[0]?.cause).toBeInstanceOf(TypeError);
    expect(world.states()).toEqual(["connecting", "waiting: request"]);
  });
});

describe("headers", () => {
  it("may be fixed", async () => {
    const world = createWorld({ headers: { authorization: "Bearer x", accept: "*/*" } });
    world.source.open();
    const { headers } = await world.server.next();
    expect([headers.get("authorization"), headers.get("accept")]).toEqual(["Bearer x", "text/event-stream"]);
  });

  it("are asked for before each attempt, and with the reason after a refusal", async () => {
    const asked: (number | undefined)[] = [];
    const world = createWorld({
      headers: async (refused) => {
        asked.push(refused);
        return { authorization: `Bearer ${asked.length}` };
      },
    });
    world.source.open();
    await (await world.server.next()).answer(503);
    await world.clock.advance(2000);
    await (await world.server.next()).answer(401);
    const [stream, request] = await world.stream();
    expect(request.headers.get("authorization")).toBe("Bearer 3");
    await stream.end();
    await world.clock.advance(2000);
    await (await world.server.next()).answer(403);
    await (await world.server.next()).answer(403);
    expect(asked).toEqual([undefined, undefined, 401, undefined, 403]);
    expect(world.states().at(-1)).toBe("closed: refused");
  });

  it.each([
    ["rejects", () => Promise.reject(new Error("no token"))],
    [
      "throws",
      () => {
        throw new Error("no token");
      },
    ],
  ])("whose function %s are asked for again after a wait", async (_name, first) => {
    let calls = 0;
    const world = createWorld({ headers: () => (calls++ ? { a: "b" } : (first() as never)) });
    world.source.open();
    await settle();
    expect(world.source.status).toMatchObject({ state: "waiting", reason: "request" });
    expect(world.errors).toMatchObject([{ code: "request", cause: { message: "no token" } }]);
    await world.clock.advance(2000);
    expect((await world.server.next()).headers.get("a")).toBe("b");
  });

  it("that cannot be sent are reported", async () => {
    const world = createWorld({ headers: { "not a name": "x" } });
    world.source.open();
    await settle();
    expect(world.errors).toMatchObject([{ code: "request" }]);
  });

  it("may be none", async () => {
    const world = createWorld({ headers: () => undefined });
    world.source.open();
    expect((await world.server.next()).headers.get("accept")).toBe("text/event-stream");
  });
});

describe("sharing", () => {
  afterEach(() => vi.doUnmock("../src/share.js"));

  it("goes through what shares, with the user and its own way to the server", async () => {
    const sharedFetch = vi.fn(
      (user: string, own: Environment["fetch"]): Environment["fetch"] =>
        (url, init) =>
          own(`${url}#${user}`, init),
    );
    vi.doMock("../src/share.js", () => ({ sharedFetch }));
    const world = createWorld({ share: "browser", user: "ann", lastEventId: "k3v9-4", headers: { a: "b" } });
    world.source.open();
    const [stream, request] = await world.stream(connected("k3v9-4", { mode: "resumed" }), event(5));
    expect(request.url.hash).toBe("#ann");
    expect([request.headers.get("a"), request.headers.get("last-event-id")]).toEqual(["b", "k3v9-4"]);
    await stream.end();
    await world.clock.advance(1000);
    expect((await world.server.next()).url.hash).toBe("#ann");
    expect(sharedFetch.mock.calls).toEqual([
      ["ann", world.server.fetch],
      ["ann", world.server.fetch],
    ]);
    expect(world.source.lastEventId).toBe("k3v9-5");
  });

  it("is not loaded by who does not share", async () => {
    vi.doMock("../src/share.js", () => expect.unreachable("it was loaded"));
    const world = createWorld({ user: "ann" });
    world.source.open();
    await world.stream(connected("k3v9-4"));
    expect(world.source.status.state).toBe("open");
  });

  it("that cannot be loaded is waited for, and reported", async () => {
    vi.doMock("../src/share.js", () => Promise.reject(new Error("offline")));
    const world = createWorld({ share: "browser", user: "" });
    world.source.open();
    await vi.waitFor(() => expect(world.states()).toEqual(["connecting", "waiting: request"]));
    expect(world.server.requests).toEqual([]);
  });

  it.each([undefined, null, 7, { id: 7 }])("is refused for the user %j", async (user) => {
    const world = createWorld({ share: "browser", user } as unknown as SourceOptions);
    world.source.open();
    await vi.waitFor(() => expect(world.states()).toEqual(["connecting", "waiting: request"]));
    expect(world.errors[0]?.cause).toEqual(
      expect.objectContaining({ message: expect.stringContaining("give a user") }),
    );
    expect(world.server.requests).toEqual([]);
  });
});

it("uses what is around it at the time", async () => {
  const server = createServer();
  const source = createSource({ url: "http://hub.test/" });
  vi.stubGlobal("fetch", server.fetch);
  source.open();
  const stream = await (await server.next()).open();
  expect(source.status.state).toBe("open");
  source.close();
  expect(stream.closed).toBe(true);
});

it("listens to the page's events as long as it is needed", async () => {
  const target = new EventTarget();
  const page = { hidden: true };
  vi.stubGlobal("addEventListener", target.addEventListener.bind(target));
  vi.stubGlobal("document", page);
  const server = createServer();
  const source = createSource({ url: "http://hub.test/", ...server });
  source.open();
  await (await server.next()).fail();
  expect(source.status.state).toBe("waiting");
  target.dispatchEvent(new Event("visibilitychange"));
  await settle();
  expect(source.status.state).toBe("waiting");
  page.hidden = false;
  target.dispatchEvent(new Event("visibilitychange"));
  const stream = await (await server.next()).open();
  target.dispatchEvent(new Event("pagehide"));
  expect(stream.closed).toBe(true);
  expect(source.status.state).toBe("paused");
  target.dispatchEvent(new Event("pageshow"));
  await server.next();
  source.close();
  target.dispatchEvent(new Event("online"));
  await settle();
  expect(server.requests).toHaveLength(3);
});
