/** What few sources need: the position in the query, and cursor stores that return promises. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { createSource } from "../src/index.js";
import { cursorInQuery, loadedCursor } from "../src/options.js";
import { connected, createClock, createPage, createServer, settle } from "../src/testing/index.js";
import { createWorld, event, resumed } from "./world.js";

afterEach(() => vi.unstubAllGlobals());

describe("the position in the query", () => {
  it("is said there in place of the header, each time the newest one", async () => {
    const server = createServer();
    const world = createWorld({
      url: "http://hub.test/events?a=b",
      topics: "news",
      fetch: cursorInQuery(server.fetch),
    });
    world.source.open();
    const first = await server.next();
    expect(first.url.search).toBe("?a=b&topic=news");
    const stream = await first.open();
    await stream.send(connected("k3v9-4") + event(5));
    await stream.end();
    await world.clock.advance(1000);
    const second = await server.next();
    expect([...second.url.searchParams]).toEqual([
      ["a", "b"],
      ["topic", "news"],
      ["last_event_id", "k3v9-5"],
    ]);
    expect([...second.headers]).toEqual([["accept", "text/event-stream"]]);
    expect(second.init).toMatchObject({ cache: "no-store", signal: expect.any(AbortSignal) });
  });

  it("takes the place of one that stands in the address", async () => {
    const server = createServer();
    const url = "http://hub.test/events?last_event_id=k3v9-1";
    const world = createWorld({ url, lastEventId: "k3v9-4", fetch: cursorInQuery(server.fetch) });
    world.source.open();
    expect((await server.next()).url.searchParams.getAll("last_event_id")).toEqual(["k3v9-4"]);
  });

  it("is any text", async () => {
    const server = createServer();
    const world = createWorld({ lastEventId: "\u00e9&\u20ac=+ \ud83d\ude00", fetch: cursorInQuery(server.fetch) });
    world.source.open();
    expect((await server.next()).url.searchParams.get("last_event_id")).toBe("\u00e9&\u20ac=+ \ud83d\ude00");
  });

  it("goes through the global `fetch` of the time, if no other is given", async () => {
    const server = createServer();
    const source = createSource({
      ...{ url: "http://hub.test/", lastEventId: "k3v9-4", fetch: cursorInQuery() },
      ...createClock(),
      ...createPage(),
    });
    vi.stubGlobal("fetch", server.fetch);
    source.open();
    expect((await server.next()).url.href).toBe("http://hub.test/?last_event_id=k3v9-4");
    source.close();
  });
});

describe("a cursor store that returns promises", () => {
  it("is loaded before the source is made", async () => {
    const world = createWorld({ cursor: await loadedCursor({ load: async () => "k3v9-4", save: async () => {} }) });
    expect(world.source.lastEventId).toBe("k3v9-4");
    world.source.open();
    expect((await world.server.next()).headers.get("last-event-id")).toBe("k3v9-4");
  });

  it("may hold nothing, and is the newest for the next source", async () => {
    const cursor = await loadedCursor({ load: async () => null, save: async () => {} });
    const world = createWorld({ cursor });
    world.source.open();
    const [, request] = await world.stream(connected("k3v9-4", { values: "changed" }), event(5));
    expect(request.headers.has("last-event-id")).toBe(false);
    expect(createWorld({ cursor }).source.lastEventId).toBe("k3v9-5~0");
  });

  it("that cannot be read is not passed over", async () => {
    const forbidden = { load: () => Promise.reject(new Error("no")), save: () => {} };
    await expect(loadedCursor(forbidden)).rejects.toThrow("no");
  });

  it("holds back the stream until a text is kept, so that none is overtaken", async () => {
    const saves: [text: string, kept: () => void][] = [];
    const save = (text: string) => new Promise<void>((kept) => saves.push([text, kept]));
    const world = createWorld({ cursor: await loadedCursor({ load: () => "", save }) });
    const texts: string[] = [];
    world.source.on("message", ({ text }) => texts.push(text));
    const [stream] = await world.stream(connected("k3v9-4"));
    await stream.send(event(5));
    expect([texts, saves.map(([text]) => text)]).toEqual([[], ["k3v9-4~0"]]);
    world.source.reconnect();
    await world.stream(resumed("k3v9-4"), event(5), event(6));
    expect([texts, saves.length]).toEqual([[], 1]);
    saves[0]?.[1]();
    await settle();
    expect(saves.map(([text]) => text)).toEqual(["k3v9-4~0", "k3v9-6~0"]);
    expect(texts).toEqual(["5", "6"]);
  });
});
