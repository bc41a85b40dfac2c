import { expect, it } from "vitest";
import {
  bye,
  connected,
  createServer,
  frame,
  gap,
  heartbeat,
  type ScriptedRequest,
  type ScriptedStream,
} from "../src/testing/index.js";
import { Attempt, type AttemptOptions, goingOn } from "./share-attempt.js";
import { FakeBrowser, type Tab } from "./share-browser.js";
import { change, event, URL_OF_HUB } from "./world.js";

/** Some tabs, and one server for them. */
function createTabs() {
  const browser = new FakeBrowser();
  const server = createServer();
  const attempt = async (options?: AttemptOptions, tab: Tab = browser.open(server.fetch), isRead = true) => {
    const one = new Attempt(tab, options, isRead);
    await browser.settle();
    return one;
  };
  return {
    browser,
    server,
    attempt,
    /** The next request, answered with a stream that says this. */
    async stream(...said: string[]): Promise<ScriptedStream> {
      const stream = await (await server.next()).open();
      await browser.settle();
      for (const text of said) {
        await stream.send(text);
        await browser.settle();
      }
      return stream;
    },
    async say(stream: ScriptedStream, ...said: string[]): Promise<void> {
      for (const text of said) {
        await stream.send(text);
        await browser.settle();
      }
    },
    asked: () => server.requests.map(({ headers }) => headers.get("last-event-id")),
    open: () => server.requests.filter(({ aborted }) => !aborted).length,
  };
}

/** A leader and a follower at a position. */
async function createPair(id = "k3v9-4") {
  const tabs = createTabs();
  const leader = await tabs.attempt({ id });
  const follower = await tabs.attempt({ id });
  const said = await tabs.stream(goingOn(id));
  return { ...tabs, leader, follower, said };
}

it("takes no text of an event for a frame of the stream", async () => {
  const { attempt, say, said, follower, open } = await createPair();
  for (const type of ["connected", "gap"]) {
    const forged = `hi\u2028event: ${type}\n{"clientId":"evil","mode":"gap","heartbeat":1,"values":"all"}\u2029id: k3v9-99`;
    await say(said, frame({ id: type === "gap" ? "k3v9-6" : "k3v9-5", topic: "news", text: forged }));
  }
  expect(follower.told).toContain("k3v9-6");
  const third = await attempt({ id: "k3v9-6" });
  expect(third.connected).toMatchObject({ clientId: "c-1", mode: "resumed", from: "k3v9-6" });
  expect(open()).toBe(1);
});

it("holds one connection for several tabs", async () => {
  const { leader, follower, said, say, server, attempt } = await createPair();
  await say(said, event(5), event(6) + event(7));
  const late = await attempt({ id: "k3v9-7" });
  await say(said, event(8));
  expect(server.requests).toHaveLength(1);
  expect(leader.told).toEqual(["connected k3v9-4", "k3v9-5", "k3v9-6", "k3v9-7", "k3v9-8"]);
  expect(follower.told).toEqual(leader.told);
  expect(late.told).toEqual(["connected k3v9-7", "k3v9-8"]);
  expect(follower.response?.headers.get("content-type")).toBe("text/event-stream");
});

it("holds one for several sources of a page", async () => {
  const { browser, server, attempt } = createTabs();
  const tab = browser.open(server.fetch);
  await attempt({ id: "k3v9-4" }, tab);
  await attempt({ id: "k3v9-4" }, tab);
  expect(server.requests).toHaveLength(1);
});

it("tells a chunk of the leader's as one chunk", async () => {
  const { browser, server, attempt, stream, say } = createTabs();
  await attempt({ id: "k3v9-4" });
  const follower = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const said = await stream(goingOn("k3v9-4"));
  const reader = follower.response?.body?.getReader();
  await reader?.read();
  await say(said, event(5) + event(6));
  expect(new TextDecoder().decode((await reader?.read())?.value)).toBe(event(5) + event(6));
});

it("tells a follower how its said began", async () => {
  const { follower, leader } = await createPair();
  expect(follower.connected).toEqual({ ...leader.connected, mode: "resumed", from: "k3v9-4", to: "k3v9-4" });
});

it("tells a follower how its stream begins for it", async () => {
  const { attempt, stream, say } = createTabs();
  await attempt();
  const said = await stream(connected("k3v9-9", { clientId: '","mode":"x' }));
  await say(said, heartbeat("k3v9-12"));
  const late = await attempt({ id: "k3v9-10" });
  expect(late.connected).toEqual({
    clientId: '","mode":"x',
    mode: "resumed",
    from: "k3v9-10",
    to: "k3v9-10",
    heartbeat: 15_000,
    values: "changed",
  });
});

it.each<[string, AttemptOptions, string]>([
  ["user", {}, "bob"],
  ["url", { url: `${URL_OF_HUB}?topic=other` }, "ann"],
  ["method", { method: "PUT" }, "ann"],
  ["body", { body: "other" }, "ann"],
])("does not share with another %s", async (_, other, user) => {
  const { browser, server, attempt } = createTabs();
  const one = { method: "POST", body: "one" };
  await attempt(one);
  await attempt(one);
  await attempt({ ...one, ...other }, browser.open(server.fetch, user));
  expect(server.requests).toHaveLength(2);
});

it("takes other headers to ask for the same, and sends its own", async () => {
  const { server, attempt } = createTabs();
  await attempt({ headers: { authorization: "one" } });
  await attempt({ headers: { authorization: "two" } });
  expect(server.requests.map(({ headers }) => headers.get("authorization"))).toEqual(["one"]);
});

it.each([
  ["navigator", undefined],
  ["navigator", {}],
  ["BroadcastChannel", undefined],
] as const)("fetches plainly where %s is %o", async (name, value) => {
  const { browser, server, attempt, stream } = createTabs();
  for (let count = 0; count < 2; count++) {
    const tab = browser.open(server.fetch);
    tab.globals[name] = value;
    const one = await attempt({ credentials: "include" }, tab);
    await stream("anything");
    expect(one.text).toBe("anything");
  }
  expect(server.requests[1]?.init.credentials).toBe("include");
  expect(browser.channels).toEqual([]);
});

it("fetches plainly with a body of which it cannot tell what it says", async () => {
  const { browser, server, attempt } = createTabs();
  await attempt({ method: "POST", body: new FormData() });
  await attempt({ method: "POST", body: new FormData() });
  expect(server.requests).toHaveLength(2);
  expect(browser.channels).toEqual([]);
});

it("does nothing with a signal that is aborted already", async () => {
  const browser = new FakeBrowser();
  const tab = browser.open(createServer().fetch);
  await expect(tab.fetch(URL_OF_HUB, { signal: AbortSignal.abort(new Error("mine")) })).rejects.toThrow("mine");
  expect(browser.channels).toEqual([]);
});

it("connects by itself where locks are denied", async () => {
  const { browser, server, attempt, stream } = createTabs();
  for (let count = 0; count < 2; count++) {
    const tab = browser.open(server.fetch);
    tab.globals["navigator"] = {
      locks: { request: () => Promise.reject(new DOMException("denied", "SecurityError")) },
    };
    const one = await attempt({}, tab);
    await stream("anything\n\n");
    expect(one.text).toBe("anything\n\n");
  }
});

it("waits for the leader to be connected, however long that takes", async () => {
  const { browser, server, attempt, stream } = createTabs();
  await attempt();
  const late = await attempt();
  await browser.advance(10_000);
  expect(server.requests).toHaveLength(1);
  expect(late.response).toBe(undefined);
  await stream(connected("k3v9-4"));
  expect(server.requests).toHaveLength(2);
});

it("asks the server for a tab that has no position, and lets go once it stands where the leader does", async () => {
  const { server, attempt, stream, say } = createTabs();
  await attempt();
  const said = await stream(connected("k3v9-4"));
  const late = await attempt();
  expect(server.requests).toHaveLength(2);
  await say(said, event(5));
  const own = await stream(connected("k3v9-4"));
  expect(own.closed).toBe(false);
  await say(own, event(5));
  expect(own.closed).toBe(true);
  await say(said, event(6));
  expect(late.told).toEqual(["connected k3v9-4", "k3v9-5", "connected k3v9-5", "k3v9-6"]);
});

it("lets go at once when it is further than the leader", async () => {
  const { attempt, stream, say, asked } = createTabs();
  await attempt();
  const said = await stream(connected("k3v9-4"));
  const late = await attempt();
  const own = await stream(connected("k3v9-9"));
  expect(own.closed).toBe(true);
  // What it has had already is dropped by the source; what is not for it alone comes all the same.
  await say(said, event(10), event(11), bye("drain"));
  expect(late.told).toEqual(["connected k3v9-9", "connected k3v9-9", "k3v9-10", "k3v9-11", "bye"]);
  expect(asked()).toEqual([null, null]);
});

it("follows from anywhere between the leader's heartbeats", async () => {
  const { attempt, stream, say, asked } = createTabs();
  await attempt({ id: "k3v9-4" });
  const said = await stream(goingOn("k3v9-4"), event(5), heartbeat("k3v9-8"), heartbeat("k3v9-12"));
  const early = await attempt({ id: "k3v9-4" });
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
  const [one, two] = [await attempt({ id: "k3v9-5" }), await attempt({ id: "k3v9-7" })];
  await say(said, change("k3v9-13", "append", "x"));
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
  expect(one.told).toEqual(["connected k3v9-5", "k3v9-13"]);
  expect(two.told).toEqual(["connected k3v9-7", "k3v9-13"]);
  expect(early.response).toBe(undefined);
  await attempt({ id: "k3v9-13" });
  expect((await stream(goingOn("k3v9-4"), event(5))).closed).toBe(false);
});

it("asks the server where a position is of another epoch, or is none", async () => {
  const { attempt, stream, asked } = createTabs();
  await attempt();
  await stream(connected("k3v9-4"));
  await attempt({ id: "aaaa-4" });
  await attempt({ id: "whatever" });
  expect(asked()).toEqual([null, "aaaa-4", "whatever"]);
});

it("lets go when it has all of the leader's events, whatever heartbeats that has had", async () => {
  const { attempt, stream } = createTabs();
  await attempt({ id: "k3v9-4" });
  await stream(goingOn("k3v9-4"), event(5), heartbeat("k3v9-12"));
  await attempt({ id: "k3v9-4" });
  expect((await stream(goingOn("k3v9-4"), event(5))).closed).toBe(true);
});

it("knows the place after the last frame of a chunk", async () => {
  const { said, say, attempt, asked } = await createPair();
  await say(said, event(5) + event(6));
  await attempt({ id: "k3v9-5" });
  expect(asked()).toEqual(["k3v9-4", "k3v9-5"]);
});

it("does not take the leader's answer to somebody for a word of the stream", async () => {
  const { browser, server, attempt, stream } = createTabs();
  await attempt({ id: "k3v9-4" });
  const follower = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  await stream(goingOn("k3v9-4"));
  const reader = follower.response?.body?.getReader();
  await reader?.read();
  let isHeard = false;
  void reader?.read().then(() => (isHeard = true));
  await attempt({ id: "k3v9-4" });
  expect(isHeard).toBe(false);
});

it("lets each tab be told its own gap", async () => {
  const { leader, follower, said, say, stream, asked } = await createPair();
  await say(said, gap("k3v9-20", { missed: 15 }) + event(21));
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
  expect(leader.told).toEqual(["connected k3v9-4", "gap k3v9-20", "k3v9-21"]);
  await say(said, event(22));
  expect(follower.told).toEqual(["connected k3v9-4"]);
  const own = await stream(goingOn("k3v9-4"), gap("k3v9-18", { missed: 13 }), event(21));
  expect(own.closed).toBe(false);
  await say(own, event(22));
  expect(own.closed).toBe(true);
  await say(said, event(23));
  const its = ["connected k3v9-4", "gap k3v9-18", "k3v9-21", "k3v9-22", "connected k3v9-22", "k3v9-23"];
  expect(follower.told.slice(1)).toEqual(its);
});

it("takes the place after a gap only when the gap is told", async () => {
  const { attempt, stream, say, server, asked } = createTabs();
  await attempt({ id: "k3v9-20" });
  const said = await stream(goingOn("k3v9-20"));
  const late = await attempt({ id: "k3v9-4" });
  const own = await stream(connected("k3v9-30", { mode: "gap", values: "changed" }));
  expect(own.closed).toBe(false);
  await say(own, gap("k3v9-30"));
  expect(own.closed).toBe(true);
  await say(said, event(31));
  expect(late.told).toEqual(["connected k3v9-30", "gap k3v9-30", "connected k3v9-30", "k3v9-31"]);
  expect(asked()).toEqual(["k3v9-20", "k3v9-4"]);
  expect(server.requests).toHaveLength(2);
});

it("asks again for a gap that the leader was not told before it went", async () => {
  const { leader, follower, said, say, stream, asked } = await createPair();
  await leader.abort();
  expect(said.closed).toBe(true);
  const own = await stream(connected("k3v9-30", { mode: "gap", values: "changed" }));
  expect(own.closed).toBe(false);
  await follower.abort();
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
  await say(own, gap("k3v9-30"));
});

it("hands over to the next tab, which goes on from where it is", async () => {
  const { leader, follower, said, say, attempt, asked, open, stream } = await createPair();
  const third = await attempt({ id: "k3v9-4" });
  await say(said, event(5));
  await leader.abort();
  expect(asked()).toEqual(["k3v9-4", "k3v9-5"]);
  const second = await stream(goingOn("k3v9-5", "c-2"));
  await say(second, event(6));
  for (const one of [follower, third]) expect(one.isEnded).toBe(false);
  expect(follower.told).toEqual(["connected k3v9-4", "k3v9-5", "connected k3v9-5", "k3v9-6"]);
  expect(third.told).toEqual(follower.told);
  // It is the new leader's said that the hub can reach it by.
  expect(third.connected).toMatchObject({ clientId: "c-2", from: "k3v9-5" });
  expect(open()).toBe(1);
});

it("hands over when a tab's process ends", async () => {
  const { browser, leader, follower, said, say, asked } = await createPair();
  await say(said, event(5));
  leader.tab.kill();
  await browser.settle();
  expect(browser.holder()).toBe(follower.tab);
  expect(asked()).toEqual(["k3v9-4", "k3v9-5"]);
});

it("keeps its own connection when it becomes the leader", async () => {
  const { leader, follower, said, say, attempt, asked, stream } = await createPair();
  await say(said, gap("k3v9-20"));
  const own = await stream(goingOn("k3v9-4"), event(5));
  await leader.abort();
  expect(own.closed).toBe(false);
  const late = await attempt({ id: "k3v9-5" });
  await say(own, event(6));
  expect(follower.told.slice(-2)).toEqual(["k3v9-5", "k3v9-6"]);
  expect(late.told).toEqual(["connected k3v9-5", "k3v9-6"]);
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
});

it("asks again from where it is when an earlier leader's words come late", async () => {
  const { browser, leader, follower, said, stream, asked, open } = await createPair();
  const lines: (() => void)[] = [];
  const send = browser.send.bind(browser);
  browser.send = (to, line, act) => (line.includes(" to ") ? lines.push(act) : send(to, line, act));
  await said.send(event(5));
  await leader.abort();
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
  browser.send = send;
  for (const act of lines) act();
  await browser.settle();
  expect(asked()).toEqual(["k3v9-4", "k3v9-4", "k3v9-5"]);
  expect(open()).toBe(1);
  await (await stream()).send(goingOn("k3v9-5"));
  expect(follower.told.slice(0, 2)).toEqual(["connected k3v9-4", "k3v9-5"]);
});

it("asks where the leader is when it lets go of its own connection", async () => {
  const { browser, attempt, stream, say } = createTabs();
  await attempt();
  const said = await stream(connected("k3v9-4"));
  const late = await attempt();
  const own = await stream();
  // Words of an earlier leader come last.
  const [channel] = browser.channels.filter(({ tab }) => tab === late.tab);
  await say(said, event(5));
  channel?.onmessage?.({ data: ["", "k3v9-4", "k3v9-4", "k3v9-4", "{}"] } as MessageEvent);
  await say(own, connected("k3v9-4"));
  expect(own.closed).toBe(true);
  expect((await stream(goingOn("k3v9-4"), event(5))).closed).toBe(true);
  expect(late.told.filter((told) => told === "k3v9-5")).toHaveLength(1);
});

it("tells all that the leader's connection broke, so that they do not try one after the other", async () => {
  const { browser, leader, follower, said, attempt, server } = await createPair();
  const third = await attempt({ id: "k3v9-4" });
  await said.fail();
  await browser.settle();
  for (const one of [leader, follower, third]) expect(one).toMatchObject({ isEnded: true, error: undefined });
  expect(server.requests).toHaveLength(1);
  expect(browser.channels).toEqual([]);
  expect(browser.holder()).toBe(undefined);
});

it("tells who waits for it that the leader found no network", async () => {
  const { browser, server, attempt } = createTabs();
  const [leader, follower] = [await attempt(), await attempt()];
  await server.requests[0]?.fail();
  await browser.settle();
  expect(leader.error).toEqual(new TypeError("fetch failed"));
  expect(follower.error).toEqual(new TypeError("connection lost"));
  expect(server.requests).toHaveLength(1);
});

it.each([503, 429, 422])(
  "gives who waits the leader's answer where it is %i, with what it says of when to come",
  async (status) => {
    const { browser, server, attempt } = createTabs();
    const [leader, follower] = [await attempt(), await attempt()];
    await server.requests[0]?.answer(status, { "retry-after": "7" }, "busy");
    await browser.settle();
    expect(follower.response?.status).toBe(status);
    expect(follower.response?.headers.get("retry-after")).toBe("7");
    expect(leader.response?.status).toBe(status);
    expect(leader.text).toBe("busy");
    expect(server.requests).toHaveLength(1);
  },
);

it.each([204, 401, 403, 404])("leaves an answer of %i to who was refused: the others ask", async (status) => {
  const { browser, server, attempt, stream, say } = createTabs();
  const [leader, follower] = [await attempt(), await attempt()];
  await server.requests[0]?.answer(status, {}, status === 204 ? undefined : "why");
  await browser.settle();
  expect(leader.response?.status).toBe(status);
  expect(leader.text).toBe(status === 204 ? "" : "why");
  expect(server.requests).toHaveLength(2);
  await server.next();
  await say(await stream(), connected("k3v9-4"));
  expect(follower.told).toEqual(["connected k3v9-4"]);
});

it("leaves an answer that is no stream to who got it", async () => {
  const { browser, server, attempt } = createTabs();
  const leader = await attempt();
  await server.requests[0]?.answer(200, { "content-type": "text/html" }, "<p>");
  await browser.settle();
  expect(leader.response?.headers.get("content-type")).toBe("text/html");
  expect(leader.text).toBe("<p>");
  expect(browser.holder()).toBe(undefined);
});

it("passes on no status that an answer cannot be made with", async () => {
  const { browser, server, attempt, stream } = createTabs();
  let give = (_: Response) => {};
  const tab = browser.open(() => new Promise((resolve) => (give = resolve)));
  const [leader, follower] = [await attempt({}, tab), await attempt()];
  const answer = new Response(null, { status: 500 });
  Object.defineProperty(answer, "status", { value: 799 });
  give(answer);
  await browser.settle();
  expect(leader.response?.status).toBe(799);
  await stream(connected("k3v9-4"));
  expect(follower.told).toEqual(["connected k3v9-4"]);
  expect(server.requests).toHaveLength(1);
});

it.each([
  [401, {}],
  [503, { "content-type": "text/event-stream" }],
  [200, { "content-type": "text/html" }],
] as const)("ends the body where a later request is answered %i", async (status, headers) => {
  const { browser, leader, follower, server } = await createPair();
  await leader.abort();
  await server.requests[1]?.answer(status, headers, "data: no\n\n");
  await browser.settle();
  expect(follower).toMatchObject({ isEnded: true, error: undefined });
  expect(follower.text).not.toContain("no");
});

it("fails no tab that has a connection of its own", async () => {
  const { browser, leader, follower, said, say, stream } = await createPair();
  await say(said, gap("k3v9-20"));
  const own = await stream(goingOn("k3v9-4"));
  await said.fail();
  await browser.settle();
  expect(leader.isEnded).toBe(true);
  expect(follower.isEnded).toBe(false);
  expect(browser.holder()).toBe(follower.tab);
  await say(own, event(5));
  expect(follower.told.at(-1)).toBe("k3v9-5");
});

it.each([
  ["breaks", (request: ScriptedRequest) => request.fail()],
  ["is refused", (request: ScriptedRequest) => request.answer(503)],
])("fails no other tab when a follower's own connection %s", async (_, fail) => {
  const { browser, leader, follower, said, say, server, attempt } = await createPair();
  await say(said, gap("k3v9-20"));
  const third = await attempt({ id: "k3v9-20" });
  await fail(await server.next());
  await browser.settle();
  expect([leader.isEnded, follower.isEnded, third.isEnded]).toEqual([false, true, false]);
});

it("lets what came last be read, though the stream has ended", async () => {
  const { browser, server, attempt, stream, say } = createTabs();
  const leader = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const follower = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const said = await stream(goingOn("k3v9-4"));
  await say(said, bye("done", { id: "k3v9-4.done" }));
  await said.end();
  await browser.settle();
  for (const one of [leader, follower]) {
    await one.read();
    expect(one.told).toEqual(["connected k3v9-4", "bye k3v9-4.done"]);
  }
});

it("takes the lock from a leader that does not answer", async () => {
  const { browser, leader, said, attempt, asked, say, stream } = await createPair();
  await say(said, event(5));
  leader.tab.isSuspended = true;
  const late = await attempt({ id: "k3v9-5" });
  await browser.advance(1999);
  expect(asked()).toEqual(["k3v9-4"]);
  await browser.advance(1);
  expect(asked()).toEqual(["k3v9-4", "k3v9-5"]);
  expect(browser.holder()).toBe(late.tab);
  const second = await stream(goingOn("k3v9-5"));
  leader.tab.isSuspended = false;
  await browser.settle();
  expect(said.closed).toBe(true);
  expect(leader).toMatchObject({ isEnded: true, error: undefined });
  await say(second, event(6));
  expect(late.told.at(-1)).toBe("k3v9-6");
  await browser.advance(10_000);
  expect(browser.holder()).toBe(late.tab);
});

it("takes the lock from nobody that answers, and not when it is over", async () => {
  const { browser, leader, attempt } = await createPair();
  await browser.advance(10_000);
  const gone = await attempt({ id: "k3v9-4" });
  await gone.abort();
  await browser.advance(10_000);
  const silent = browser.open(createServer().fetch);
  leader.tab.isSuspended = true;
  const late = await attempt({}, silent);
  await late.abort();
  await browser.advance(10_000);
  expect(browser.holder()).toBe(leader.tab);
});

it("gives everything up when its signal is aborted", async () => {
  const { browser, leader, follower, said, server } = await createPair();
  const third = new Attempt(browser.open(server.fetch), { url: `${URL_OF_HUB}/other` });
  await browser.settle();
  await third.abort();
  expect(third.error).toMatchObject({ name: "AbortError" });
  expect(server.requests[1]?.aborted).toBe(true);
  await follower.abort();
  expect(browser.channels.map(({ tab }) => tab)).toEqual([leader.tab]);
  await leader.abort();
  expect(said.closed).toBe(true);
  expect(browser.channels).toEqual([]);
  expect(browser.holder()).toBe(undefined);
  expect(server.requests).toHaveLength(2);
});

it("ends a refused answer's body with its signal", async () => {
  const { browser, server, attempt } = createTabs();
  const leader = await attempt({}, browser.open(server.fetch), false);
  await server.requests[0]?.answer(403, {}, "why");
  await browser.settle();
  expect(server.requests[0]?.aborted).toBe(false);
  await leader.abort();
  expect(server.requests[0]?.aborted).toBe(true);
});

it("ends when its body is cancelled, with the next that is to be told", async () => {
  const { browser, server, attempt, stream, say } = createTabs();
  const leader = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const said = await stream(goingOn("k3v9-4"));
  await leader.response?.body?.cancel();
  await say(said, event(5));
  expect(said.closed).toBe(true);
  expect(browser.channels).toEqual([]);
});

it("lets go only at the end of a frame", async () => {
  const { attempt, stream, say, server } = createTabs();
  await attempt();
  const said = await stream(connected("k3v9-4"));
  const late = await attempt();
  const own = await stream(`${connected("k3v9-4")}id: k3v9-5\nda`);
  expect(own.closed).toBe(false);
  await say(own, "ta: 5\n");
  await say(said, event(5));
  expect(own.closed).toBe(false);
  await say(own, "\n");
  expect(own.closed).toBe(true);
  expect(late.text).toContain("id: k3v9-5\ndata: 5\n\n");
  expect(server.requests).toHaveLength(2);
});

it("tells whole frames, wherever the leader's stream is cut", async () => {
  const { follower, said, say } = await createPair();
  const text = `${event(5, "\u20ac")}${event(6)}`;
  for (const byte of new TextEncoder().encode(text)) await say(said, new Uint8Array([byte]) as never);
  expect(follower.text).toBe(`${goingOn("k3v9-4").replace("retry: 2000\n", "")}${text}`);
});

it("takes no change that may stand for one that it has had", async () => {
  const { attempt, stream, say, asked } = createTabs();
  await attempt();
  const said = await stream(connected("k3v9-4"));
  const late = await attempt();
  await stream(connected("k3v9-9"));
  // What it has had is dropped by the source, and what is whole may stand for anything.
  await say(said, change("k3v9-8", "append", "x"), change("k3v9-12", "set", "y"));
  expect(asked()).toEqual([null, null]);
  expect(late.told.slice(-2)).toEqual(["k3v9-8", "k3v9-12"]);
  const later = await attempt();
  await stream(connected("k3v9-15"));
  await say(said, change("k3v9-16", "merge", { x: 1 }));
  expect(asked()).toEqual([null, null, null, "k3v9-15"]);
  expect(later.told.at(-1)).toBe("connected k3v9-15");
});

it("takes nothing while values are still to be told, but from a stream that it has had all of", async () => {
  const { follower, said, say, attempt, stream } = await createPair();
  await say(said, event(8).replace("k3v9-8", "k3v9-8~4"));
  const late = await attempt({ id: "k3v9-8~4" });
  expect(late.response).toBe(undefined);
  const own = await stream(goingOn("k3v9-8~4"));
  await say(said, change("k3v9-8~6", "append", "x"));
  expect(follower.told.slice(1)).toEqual(["k3v9-8~4", "k3v9-8~6"]);
  expect(late.told).toEqual(["connected k3v9-8~4"]);
  await say(own, change("k3v9-8~6", "append", "x"));
  expect(own.closed).toBe(false);
  await say(said, change("k3v9-8", "append", "x"));
  await say(own, change("k3v9-8", "append", "x"));
  expect(own.closed).toBe(true);
});

it("does not let go while the leader has values to be told, which it has had", async () => {
  const { said, say, attempt, stream } = await createPair();
  const late = await attempt();
  const own = await stream(connected("k3v9-9"));
  await say(said, event(12).replace("k3v9-12", "k3v9-12~4"));
  expect(own.closed).toBe(true);
  const again = await stream(goingOn("k3v9-9"), event(12));
  expect(again.closed).toBe(false);
  await say(said, change("k3v9-12", "append", "x"));
  expect(again.closed).toBe(true);
  expect(late.told.filter((told) => told === "k3v9-12")).toHaveLength(1);
});

const large = (offset: number, kib: number): string => event(offset, "x".repeat(kib * 1024));

/** In chunks that nobody is too slow for. */
const pieces = (text: string): string[] => text.match(/.{1,500000}/gs) ?? [];

it("lets a tab that does not read ask the server itself, once it does", async () => {
  const { browser, server, attempt, stream, asked } = createTabs();
  const leader = await attempt({ id: "k3v9-4" });
  const slow = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const said = await stream(goingOn("k3v9-4"));
  const say = async (text: string) => {
    await said.send(text);
    await browser.settle();
  };
  await say(large(5, 600));
  await say(large(6, 600));
  expect(asked()).toEqual(["k3v9-4"]);
  await say(large(7, 600));
  expect(asked()).toEqual(["k3v9-4", "k3v9-6"]);
  const own = await stream(goingOn("k3v9-6") + large(7, 600));
  await say(event(8));
  void slow.read();
  await browser.settle();
  expect(slow.told).toEqual(["connected k3v9-4", "k3v9-5", "k3v9-6", "connected k3v9-6", "k3v9-7"]);
  await own.send(event(8));
  await browser.settle();
  expect(own.closed).toBe(true);
  await say(event(9));
  expect(slow.told.slice(5)).toEqual(["k3v9-8", "connected k3v9-8", "k3v9-9"]);
  expect(leader.told).toHaveLength(6);
});

it("lets another tab lead when the leader does not read", async () => {
  const { browser, server, attempt, stream, say, asked } = createTabs();
  const slow = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const follower = await attempt({ id: "k3v9-4" });
  const said = await stream(goingOn("k3v9-4"), large(5, 600), large(6, 600));
  expect(browser.holder()).toBe(follower.tab);
  expect(asked()).toEqual(["k3v9-4", "k3v9-6"]);
  const second = await stream(goingOn("k3v9-6"), event(7));
  await said.send(event(7));
  expect(follower.told.at(-1)).toBe("k3v9-7");
  expect(said.closed).toBe(false);
  void slow.read();
  await browser.settle();
  expect(said.closed).toBe(true);
  await say(second, event(8));
  expect(slow.told.slice(-3)).toEqual(["k3v9-7", "connected k3v9-7", "k3v9-8"]);
  expect(slow.isEnded).toBe(false);
});

it("lets a leader that does not read, and is alone, go on when it does; and who comes leads", async () => {
  const { browser, server, attempt, stream, asked } = createTabs();
  const slow = await attempt({ id: "k3v9-4" }, browser.open(server.fetch), false);
  const said = await stream(goingOn("k3v9-4"), large(5, 600), large(6, 600));
  expect(browser.holder()).toBe(slow.tab);
  const late = await attempt({ id: "k3v9-6" });
  expect(browser.holder()).toBe(late.tab);
  expect(asked()).toEqual(["k3v9-4", "k3v9-6"]);
  await late.abort();
  expect(browser.holder()).toBe(slow.tab);
  await said.send(event(7));
  void slow.read();
  await browser.settle();
  expect(said.closed).toBe(false);
  expect(slow.told.at(-1)).toBe("k3v9-7");
});

it("lets everybody ask for what is too large to be told", { timeout: 60_000 }, async () => {
  const { leader, follower, said, say, stream, asked } = await createPair();
  const text = large(5, 17 * 1024);
  await say(said, ...pieces(text));
  expect(leader.told.at(-1)).toBe("k3v9-5");
  expect(follower.told).toHaveLength(1);
  expect(asked()).toEqual(["k3v9-4", "k3v9-4"]);
  const own = await stream(goingOn("k3v9-4"));
  await say(own, ...pieces(text));
  await say(said, event(6));
  expect(own.closed).toBe(false);
  await say(own, event(6));
  expect(own.closed).toBe(true);
  expect(follower.told.slice(1)).toEqual(["connected k3v9-4", "k3v9-5", "k3v9-6", "connected k3v9-6"]);
});

it.each([
  ["without ids", "data: 1\n\n"],
  ["with ids that are no positions", "id: 1\ndata: 1\n\n"],
  ["with ids that look like positions", "id: k3v9-1\ndata: 1\n\n"],
  ["with other line ends", "id: 1\r\ndata: 1\r\n\r\n"],
])("connects each tab by itself to a server that is no hub: %s", async (_, text) => {
  const { attempt, stream, say, server } = createTabs();
  const leader = await attempt();
  const follower = await attempt();
  const said = await stream(text);
  expect(server.requests).toHaveLength(2);
  const own = await stream(text);
  const late = await attempt({ id: "1" });
  const third = await stream();
  for (const one of [said, own, third]) await say(one, text, text);
  expect([leader.text, follower.text, late.text]).toEqual([text + text + text, text + text + text, text + text]);
  expect([said.closed, own.closed, third.closed]).toEqual([false, false, false]);
});

it("takes nothing of a chunk that ends what was too large", { timeout: 60_000 }, async () => {
  const { follower, said, say } = await createPair();
  await say(said, ...pieces(large(5, 17 * 1024) + event(6)));
  expect(follower.told).toEqual(["connected k3v9-4"]);
});

it("says where it is as soon as it leads with a connection of its own", async () => {
  const { browser, leader, follower, said, say, stream, attempt } = await createPair();
  await say(said, gap("k3v9-20"));
  await stream(goingOn("k3v9-4"));
  leader.tab.isSuspended = true;
  const late = await attempt({ id: "k3v9-4" });
  expect(late.response).toBe(undefined);
  leader.tab.kill();
  await browser.settle();
  expect(browser.holder()).toBe(follower.tab);
  expect(late.told).toEqual(["connected k3v9-4"]);
});

it("does not say that it is where it was before it followed", async () => {
  const { attempt, stream, say } = createTabs();
  const leader = await attempt();
  const said = await stream(connected("k3v9-4"));
  await attempt();
  await stream(connected("k3v9-4"));
  await say(said, event(5), event(6));
  await leader.abort();
  // It is connected, and its stream has not begun.
  await stream();
  const late = await attempt({ id: "k3v9-4" });
  expect(late.response).toBe(undefined);
});

it("lets nobody steal the lock from who got it, and is connecting", async () => {
  const { browser, leader, follower, attempt } = await createPair();
  leader.tab.isSuspended = true;
  const late = await attempt({ id: "k3v9-4" });
  leader.tab.kill();
  await browser.settle();
  await browser.advance(10_000);
  expect(browser.holder()).toBe(follower.tab);
  expect(late.response).toBe(undefined);
});

it("waits for no lock when it is over", async () => {
  const { browser, leader, follower } = await createPair();
  expect(browser.waiting()).toEqual([follower.tab]);
  await follower.abort();
  expect(browser.waiting()).toEqual([]);
  expect(browser.holder()).toBe(leader.tab);
});

it("needs no connection to end when it is told to", async () => {
  const { browser, server, said, say, leader, follower } = await createPair();
  const tab = browser.open((url, init) => server.fetch(url, { ...init, signal: null }));
  const late = new Attempt(tab);
  await browser.settle();
  const request = server.requests[1];
  await say(said, event(5));
  const own = await request?.open();
  await own?.send(connected("k3v9-5"));
  await browser.settle();
  await own?.send(event(6));
  await say(said, event(6));
  expect(late.told).toEqual(["connected k3v9-5", "connected k3v9-5", "k3v9-6"]);
  const third = new Attempt(tab, { id: "k3v9-5" });
  await browser.settle();
  const channel = browser.channels.find((one) => one.tab === tab && one.id > (browser.channels[2]?.id ?? 0));
  channel?.onmessage?.({ data: ["", "k3v9-5", "k3v9-5", "k3v9-5", "{}"] } as MessageEvent);
  await server.requests[2]?.answer(503);
  await browser.settle();
  expect(third.isEnded).toBe(false);
  const second = new Attempt(tab);
  await browser.settle();
  await second.abort();
  await server.requests[3]?.open();
  await browser.settle();
  expect([leader.isEnded, follower.isEnded, late.isEnded]).toEqual([false, false, false]);
  expect(second.error).toMatchObject({ name: "AbortError" });
});
