/** The facade: what a page sees of an `EventSource` (WHATWG HTML 9.2). */
import { afterEach, describe, expect, it, vi } from "vitest";
import { EventSource, type EventSourceInit } from "../src/eventsource.js";
import { bye, connected, createClock, createPage, createServer } from "../src/testing/index.js";

afterEach(() => vi.unstubAllGlobals());

function open(init: EventSourceInit = {}, url: string | URL = "http://hub.test/events") {
  const server = createServer();
  const clock = createClock();
  const source = new EventSource(url, { ...server, ...clock, ...createPage(), random: () => 0, ...init });
  return { source, server, clock };
}

describe("EventSource", () => {
  it("has the shape of the native one", async () => {
    const { source, server } = open({ withCredentials: true });
    expect([EventSource.CONNECTING, EventSource.OPEN, EventSource.CLOSED]).toEqual([0, 1, 2]);
    expect([source.CONNECTING, source.OPEN, source.CLOSED]).toEqual([0, 1, 2]);
    expect(source).toBeInstanceOf(EventTarget);
    expect(source.url).toBe("http://hub.test/events");
    expect(source.withCredentials).toBe(true);
    expect(source.readyState).toBe(0);
    expect([source.onopen, source.onmessage, source.onerror]).toEqual([null, null, null]);
    expect((await server.next()).init.credentials).toBe("include");
    source.close();
    expect(source.readyState).toBe(2);
  });

  it("sends no cookies to other origins if it is not told to", async () => {
    const { source, server } = open();
    expect((await server.next()).init.credentials).toBe("same-origin");
    source.close();
  });

  it("resolves its address against the page's", () => {
    vi.stubGlobal("location", new URL("https://app.test/a/b"));
    const { source } = open({}, "events?x#y");
    expect(source.url).toBe("https://app.test/a/events?x#y");
    source.close();
  });

  it("refuses what is no address", () => {
    expect(() => open({}, "http://")).toThrow(expect.objectContaining({ name: "SyntaxError" }));
  });

  it("fires messages as they came, text and all", async () => {
    const { source, server } = open();
    const seen: unknown[] = [];
    const note = ({ type, data, lastEventId, origin }: MessageEvent) => seen.push([type, data, lastEventId, origin]);
    source.onmessage = note;
    source.addEventListener("order", note);
    const stream = await (await server.next()).open();
    await stream.send("id: 1\ndata: {not json\ndata: at all\n\nevent: order\ndata: 5\n\nevent: other\ndata: 6\n\n");
    expect(seen).toEqual([
      ["message", "{not json\nat all", "1", "http://hub.test"],
      ["order", "5", "1", "http://hub.test"],
    ]);
    source.close();
  });

  it("fires what a hub says of itself, too, and the last events before the end", async () => {
    const { source, server } = open();
    const seen: string[] = [];
    for (const type of ["open", "connected", "message", "bye", "error"]) {
      source.addEventListener(type, () => seen.push(`${type} ${source.readyState}`));
    }
    const stream = await (await server.next()).open();
    await stream.send(`${connected("k3v9-4")}id: k3v9-5\ntopic: t\ndata: 1\n\n${bye("done", { id: "k3v9-5.done" })}`);
    expect(seen).toEqual(["open 1", "connected 1", "message 1", "bye 1", "error 2"]);
  });

  it("says that it comes back, and that it does not", async () => {
    const { source, server, clock } = open();
    const seen: string[] = [];
    source.onopen = () => seen.push(`open ${source.readyState}`);
    source.onerror = () => seen.push(`error ${source.readyState}`);
    await (await (await server.next()).open()).end();
    await clock.advance(2000);
    await (await server.next()).answer(503);
    await clock.advance(2000);
    await (await server.next()).open();
    source.dispatchEvent(new Event("error"));
    expect(seen).toEqual(["open 1", "error 0", "error 0", "open 1", "error 1"]);
    source.close();
    expect(seen).toHaveLength(5);
  });

  it("closes on a status that is final", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const { source, server } = open();
    const states: number[] = [];
    source.onerror = () => states.push(source.readyState);
    await (await server.next()).answer(404);
    expect(states).toEqual([2]);
    expect(error).toHaveBeenCalledOnce();
    error.mockRestore();
  });

  it("fires nothing after close, also not of the same read", async () => {
    const { source, server } = open();
    const seen: string[] = [];
    source.onmessage = ({ data }) => {
      seen.push(data);
      source.close();
    };
    source.onerror = () => seen.push("error");
    const request = await server.next();
    await (await request.open()).send("data: 1\n\ndata: 2\n\n");
    expect(seen).toEqual(["1"]);
    expect(request.aborted).toBe(true);
  });

  it("has one listener for an event handler, in the place where it was first set", async () => {
    const { source, server } = open();
    const seen: string[] = [];
    source.onmessage = () => seen.push("first");
    source.addEventListener("message", () => seen.push("listener"));
    source.onmessage = function (this: EventSource) {
      seen.push(`second ${this === source}`);
    };
    const stream = await (await server.next()).open();
    await stream.send("data: 1\n\n");
    source.onmessage = null;
    await stream.send("data: 2\n\n");
    expect(seen).toEqual(["second true", "listener", "listener"]);
    expect(source.onmessage).toBeNull();
    source.close();
  });

  it("takes what a source takes", async () => {
    const { source, server } = open({ headers: { authorization: "Bearer x" }, topics: ["news"], lastEventId: "7" });
    const { headers, url } = await server.next();
    expect([headers.get("authorization"), headers.get("last-event-id"), url.search]).toEqual([
      "Bearer x",
      "7",
      "?topic=news",
    ]);
    source.close();
  });
});
