/** What tasks are to a page: how one is asked to stop, and what a progress bar says. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { type CancelOptions, cancelTask, type ProgressValue, progressAria, type WorkStatus } from "../src/tasks.js";
import { createServer } from "../src/testing/index.js";

afterEach(() => vi.unstubAllGlobals());

describe("cancelTask", () => {
  /** The request that asks for it, answered with a status. */
  async function asked(id: string, options: CancelOptions = {}, status = 202) {
    const server = createServer();
    const cancelled = cancelTask(id, { url: "http://hub.test/events", fetch: server.fetch, ...options });
    const outcome = cancelled.then(
      () => "asked",
      (error) => error,
    );
    const request = await Promise.race([server.next(), outcome]);
    if (typeof request === "object" && "answer" in request) await request.answer(status);
    return { request: server.requests[0], outcome: await outcome };
  }

  it.each([
    ["http://hub.test/events", "42", "http://hub.test/tasks/42/cancel"],
    ["http://hub.test/api/v1/events?topic=a#b", "import:42", "http://hub.test/api/v1/tasks/import%3A42/cancel"],
    ["http://hub.test/api/", "chat/7", "http://hub.test/api/tasks/chat/7/cancel"],
    ["http://hub.test/events", "a b/?x=#y%2F\u00e9", "http://hub.test/tasks/a%20b/%3Fx%3D%23y%252F%C3%A9/cancel"],
    ["http://hub.test/events", "//evil.test/x", "http://hub.test/tasks///evil.test/x/cancel"],
    [new URL("http://hub.test/events"), "...", "http://hub.test/tasks/.../cancel"],
  ])("beside %s asks for %s by POST %s", async (url, id, target) => {
    const { request, outcome } = await asked(id, { url });
    expect([request?.method, request?.url.href]).toEqual(["POST", target]);
    expect(outcome).toBe("asked");
  });

  it.each(["..", ".", "a/../b", "../../users/7", "a/./b", "%2e%2e/.."])("asks nobody for %s", async (id) => {
    const { request, outcome } = await asked(id);
    expect(request).toBeUndefined();
    expect(outcome).toBeInstanceOf(RangeError);
  });

  it("takes a relative URL where there is a page, and `/events` by default", async () => {
    vi.stubGlobal("location", { href: "http://app.test/shop/", toString: () => "http://app.test/shop/" });
    const server = createServer();
    vi.stubGlobal("fetch", server.fetch);
    const first = cancelTask("42");
    await (await server.next()).answer(202);
    const second = cancelTask("42", { url: "api/events" });
    await (await server.next()).answer(202);
    await Promise.all([first, second]);
    expect(server.requests.map(({ url }) => url.href)).toEqual([
      "http://app.test/tasks/42/cancel",
      "http://app.test/shop/api/tasks/42/cancel",
    ]);
  });

  it("sends the headers and the rest that the source sends, but not its body", async () => {
    const init = { method: "PUT", body: "topics", credentials: "include" } as const;
    const { request } = await asked("42", { headers: async () => ({ authorization: "Bearer a" }), init });
    expect(request?.init).toMatchObject({ method: "POST", body: null, credentials: "include" });
    expect(request?.headers.get("authorization")).toBe("Bearer a");
    expect((await asked("42", { headers: { "x-a": "b" } })).request?.headers.get("x-a")).toBe("b");
  });

  it.each([403, 404, 409, 503])("rejects with the status of a refusal, %i", async (status) => {
    const { outcome } = await asked("42", {}, status);
    expect(outcome).toMatchObject({ message: "clarion: not cancelled", status });
  });

  it("rejects with what fetch throws", async () => {
    const fetch = () => Promise.reject(new TypeError("no network"));
    await expect(cancelTask("42", { url: "http://hub.test/events", fetch })).rejects.toThrow("no network");
  });
});

describe("progressAria", () => {
  const task = { title: "Import", status: "running", progress: 40, message: "file 3", error: null };
  const said = (more: object) => progressAria({ ...task, ...more } as ProgressValue);

  it("is indeterminate and busy while nothing is known", () => {
    expect(progressAria(undefined)).toMatchObject({ role: "progressbar", "aria-busy": true });
    expect(progressAria(undefined)["aria-valuenow"]).toBeUndefined();
    expect(said({ progress: null })["aria-valuenow"]).toBeUndefined();
  });

  it.each<[WorkStatus, boolean]>([
    ["pending", true],
    ["running", true],
    ["completed", false],
    ["failed", false],
    ["cancelled", false],
    ["lost", false],
  ])("%s is busy: %s", (status, isBusy) => {
    expect(said({ status })["aria-busy"]).toBe(isBusy);
  });

  it("says percent and message; of a failure what people are told", () => {
    expect(said({})["aria-valuetext"]).toBe("40%, file 3");
    expect(said({ progress: 99.9, message: "" })["aria-valuetext"]).toBe("99%");
    expect(said({ progress: 0, message: "" })).toMatchObject({ "aria-valuenow": 0, "aria-valuetext": "0%" });
    expect(said({ progress: null, message: "" })["aria-valuetext"]).toBeUndefined();
    expect(said({ error: { code: "bad_row", message: "Row 7 has no date." } })["aria-valuetext"]).toBe(
      "40%, Row 7 has no date.",
    );
  });

  it("makes a number of what is none, or out of bounds", () => {
    expect(said({ progress: "7" })["aria-valuenow"]).toBeUndefined();
    expect(said({ progress: 140 })["aria-valuenow"]).toBe(100);
    expect(said({ progress: -1 })["aria-valuenow"]).toBe(0);
    for (const odd of [null, 7, "text", [], {}]) {
      expect(progressAria(odd as never)).toMatchObject({ role: "progressbar", "aria-busy": true });
    }
  });
});
