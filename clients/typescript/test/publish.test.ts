/** Publishing over HTTP, against a scripted hub; `scripts/against-hub.mjs` does it against a real one. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { createPublisher, PublishError, type PublisherOptions } from "../src/publish.js";
import { createServer } from "../src/testing/index.js";

afterEach(() => vi.unstubAllGlobals());

const RECEIPT = { id: "k3v9-5", sent: 2, duplicate: false };

function createHub(options: Partial<PublisherOptions> = {}) {
  const { fetch, requests, next } = createServer();
  const waits: number[] = [];
  const publisher = createPublisher({
    ...{ url: "http://hub.test/realtime", token: "secret", fetch, random: () => 0, now: () => 1_793_709_045_000 },
    wait: async (ms) => void waits.push(ms),
    ...options,
  });
  const receive = async (answer: unknown = RECEIPT, status = 200, headers: Record<string, string> = {}) => {
    const request = await next();
    await request.answer(status, { "content-type": "application/json", ...headers }, JSON.stringify(answer));
    return { ...request, said: JSON.parse(request.body as string) };
  };
  return { publisher, receive, next, requests, waits };
}

describe("a publisher", () => {
  it("publishes to a topic", async () => {
    const { publisher, receive } = createHub();
    const receipt = publisher.publish(
      "orders/1",
      { n: 1 },
      { event: "order", key: "k", ttlSeconds: 60, ephemeral: true },
    );
    const { method, url, headers, said } = await receive();
    expect([method, url.href]).toEqual(["POST", "http://hub.test/realtime/publish"]);
    expect(headers.get("authorization")).toBe("Bearer secret");
    expect(headers.get("content-type")).toBe("application/json");
    expect(said).toEqual({ topic: "orders/1", data: { n: 1 }, event: "order", key: "k", ttl: 60, ephemeral: true });
    expect(await receipt).toEqual(RECEIPT);
  });

  it.each([
    ["ann", "notify/ann"],
    ["a/b", "notify/a%2Fb"],
    ["\u00e9 ?#", "notify/%C3%A9%20%3F%23"],
    ["...", "notify/..."],
  ])("sends to the user %s", async (user, path) => {
    const { publisher, receive } = createHub();
    const receipt = publisher.sendToUser(user, null);
    const { url, said } = await receive();
    expect(url.href).toBe(`http://hub.test/realtime/${path}`);
    expect(said).toEqual({ data: null, key: expect.any(String) });
    await receipt;
  });

  it.each(["", ".", ".."])("knows that no address says the user %j", async (user) => {
    const { publisher, requests } = createHub();
    await expect(publisher.sendToUser(user, 1)).rejects.toBeInstanceOf(PublishError);
    expect(requests).toEqual([]);
  });

  it("broadcasts, also raw text", async () => {
    const { publisher, receive } = createHub();
    const receipt = publisher.broadcast("a\nb", { isText: true });
    const { url, said } = await receive();
    expect(url.href).toBe("http://hub.test/realtime/broadcast");
    expect(said).toEqual({ text: "a\nb", key: expect.any(String) });
    await receipt;
  });

  it.each([
    ["http://hub.test", "http://hub.test/publish"],
    ["http://hub.test/", "http://hub.test/publish"],
    ["http://hub.test/a/?x=1#y", "http://hub.test/a/publish"],
  ])("finds its routes below %s", async (url, path) => {
    const { publisher, receive } = createHub({ url });
    const receipt = publisher.publish("t", 1);
    expect((await receive()).url.href).toBe(path);
    await receipt;
  });

  it("refuses what is no JSON, and what is no text", async () => {
    const { publisher, requests } = createHub();
    await expect(publisher.publish("t", undefined)).rejects.toThrow("undefined");
    await expect(publisher.broadcast(5, { isText: true })).rejects.toThrow("text");
    expect(requests).toEqual([]);
  });

  it("asks for the token before each request", async () => {
    let calls = 0;
    const { publisher, receive } = createHub({ token: async () => `t${++calls}`, headers: { "x-app": "shop" } });
    const receipt = publisher.publish("t", 1);
    const { headers } = await receive("", 503);
    expect([headers.get("authorization"), headers.get("x-app")]).toEqual(["Bearer t1", "shop"]);
    expect((await receive()).headers.get("authorization")).toBe("Bearer t2");
    await receipt;
  });
});

describe("what fails", () => {
  it("is tried again with the same key if it may pass", async () => {
    const { publisher, receive, next, waits } = createHub();
    const receipt = publisher.publish("t", 1);
    const first = await next();
    await first.fail();
    const second = await receive({}, 503, { "retry-after": "2" });
    const third = await receive();
    expect(await receipt).toEqual(RECEIPT);
    const { key } = third.said;
    expect(key).toMatch(/^[0-9a-f-]{36}$/);
    expect([JSON.parse(first.body as string).key, second.said.key]).toEqual([key, key]);
    expect(waits).toEqual([100, 2000]);
  });

  it("has another key with each call", async () => {
    const { publisher, receive } = createHub();
    const receipts = [publisher.publish("t", 1), publisher.publish("t", 1)];
    expect((await receive()).said.key).not.toBe((await receive()).said.key);
    await Promise.all(receipts);
  });

  it("is given up after so many attempts", async () => {
    const { publisher, receive, requests } = createHub({ attempts: 2 });
    const receipt = publisher.publish("t", 1);
    const rejection = expect(receipt).rejects.toMatchObject({
      name: "PublishError",
      status: 503,
      detail: "not available now",
    });
    await receive({ detail: "not available now" }, 503);
    await receive({ detail: "not available now" }, 503);
    await rejection;
    expect(requests).toHaveLength(2);
  });

  it.each([401, 403, 413, 422])("is not tried again if the hub answers %i", async (status) => {
    const { publisher, receive, requests } = createHub();
    const rejection = expect(publisher.publish("t", 1)).rejects.toMatchObject({
      status,
      detail: "no",
      message: `the hub answered ${status}`,
    });
    await receive({ detail: "no" }, status);
    await rejection;
    expect(requests).toHaveLength(1);
  });

  it("says that the hub cannot be reached", async () => {
    const { publisher, next } = createHub({ attempts: 1 });
    const rejection = expect(publisher.publish("t", 1)).rejects.toMatchObject({
      status: undefined,
      cause: expect.any(TypeError),
    });
    await (await next()).fail();
    await rejection;
  });

  it("says that there is no token, after it has asked for one as often as for a hub", async () => {
    let asked = 0;
    const cause = new Error("no vault");
    const token = () => {
      asked++;
      return Promise.reject(cause);
    };
    const { publisher, requests } = createHub({ token, attempts: 2, wait: async () => {} });
    await expect(publisher.publish("t", 1)).rejects.toMatchObject({ name: "PublishError", status: undefined, cause });
    expect([asked, requests.length]).toEqual([2, 0]);
  });

  it.each(["<html>", "null", "{}", '{"id":5}'])("takes a 200 with %s for no hub", async (body) => {
    const { publisher, next } = createHub();
    const rejection = expect(publisher.publish("t", 1)).rejects.toMatchObject({ status: 200 });
    await (await next()).answer(200, {}, body);
    await rejection;
  });

  it("has a time limit for each attempt, and uses what is around it", async () => {
    const server = createServer();
    vi.stubGlobal("fetch", server.fetch);
    const receipt = createPublisher({ url: "http://hub.test", timeoutMs: 60_000 }).publish("t", 1);
    const request = await server.next();
    expect(request.init.signal).toBeInstanceOf(AbortSignal);
    expect(request.headers.has("authorization")).toBe(false);
    await request.answer(200, {}, JSON.stringify(RECEIPT));
    await receipt;
  });
});
