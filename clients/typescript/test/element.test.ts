// @vitest-environment happy-dom
/** `<clarion-progress>`. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { defineProgress, type ProgressElement } from "../src/element.js";
import { connected, createServer, type ScriptedServer, settle } from "../src/testing/index.js";
import { change, createWorld } from "./world.js";

const LINGER_MS = 1000;
const start = connected("k3v9-4");
const task = { taskId: "task/42", title: "Import", status: "running", progress: 40.7, message: "file 3", error: null };

let names = 0;
const freshName = () => `test-progress-${names++}`;

function attach(name: string, attributes: Record<string, string> = { task: "task/42" }): ProgressElement {
  const element = document.createElement(name) as ProgressElement;
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  document.body.append(element);
  return element;
}

const part = (element: Element, name: string) => element.shadowRoot?.querySelector<HTMLElement>(`[part=${name}]`);
const texts = (element: Element) => ["title", "percent", "message"].map((name) => part(element, name)?.textContent);
const attributesOf = (element: Element) =>
  Object.fromEntries([...element.attributes].map(({ name, value }) => [name, value]));

afterEach(() => {
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

describe("with a source", () => {
  function given() {
    const world = createWorld();
    const name = freshName();
    defineProgress(name, world.source);
    return { ...world, name };
  }

  it("shows how far the task is, and says it by attributes where there is no other way", async () => {
    const world = given();
    const element = attach(world.name);
    const bounds = { task: "task/42", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" };
    expect(attributesOf(element)).toEqual({ ...bounds, "aria-busy": "true" });
    expect(part(element, "bar")?.className).toBe("unknown");
    const [stream] = await world.stream(start, change("k3v9-5", "set", task));
    expect(texts(element)).toEqual(["Import", "40\u00a0%", "file 3"]);
    expect(part(element, "bar")?.className).toBe("");
    expect(part(element, "bar")?.style.width).toBe("40.7%");
    expect(attributesOf(element)).toEqual({
      ...bounds,
      ...{ "aria-busy": "true", "aria-label": "Import", "aria-valuenow": "40.7", "aria-valuetext": "40%, file 3" },
      "data-status": "running",
    });
    const failed = {
      ...task,
      progress: null,
      status: "failed",
      error: { code: "internal", message: "It went wrong." },
    };
    await stream.send(change("k3v9-6", "set", failed));
    expect(texts(element)).toEqual(["Import", "", "It went wrong."]);
    expect(part(element, "bar")?.className).toBe("");
    expect(attributesOf(element)).toMatchObject({ "aria-busy": "false", "data-status": "failed" });
    expect(attributesOf(element)["aria-valuenow"]).toBeUndefined();
    await stream.send(change("k3v9-7", "delete", null));
    expect(attributesOf(element)).toEqual({ ...bounds, "aria-busy": "true" });
  });

  it("leaves alone what the page says of it", async () => {
    const world = given();
    const element = attach(world.name, { task: "task/42", "aria-label": "Mine", role: "meter" });
    const [stream] = await world.stream(start, change("k3v9-5", "set", task));
    await stream.send(change("k3v9-6", "set", { ...task, title: "" }));
    expect(attributesOf(element)).toMatchObject({ "aria-label": "Mine", role: "meter", "aria-valuenow": "40.7" });
  });

  it("says it through ElementInternals, where there are any, and leaves attributes to the page", async () => {
    const internals = { role: null, ariaLabel: null, ariaValueNow: null, ariaValueText: null, ariaBusy: null };
    const world = given();
    const all = { ...internals, ariaValueMin: null, ariaValueMax: null };
    Object.assign(customElements.get(world.name)?.prototype, { attachInternals: () => all });
    const element = attach(world.name);
    const [stream] = await world.stream(start, change("k3v9-5", "set", task));
    expect(all).toEqual({
      ...{ role: "progressbar", ariaLabel: "Import", ariaBusy: "true", ariaValueMin: "0", ariaValueMax: "100" },
      ...{ ariaValueNow: "40.7", ariaValueText: "40%, file 3" },
    });
    expect(attributesOf(element)).toEqual({ task: "task/42", "data-status": "running" });
    await stream.send(change("k3v9-6", "set", { ...task, progress: null }));
    expect(all.ariaValueNow).toBeNull();
  });

  it("is connected while it is in the document", async () => {
    const world = given();
    const element = document.createElement(world.name);
    element.setAttribute("task", "task/42");
    expect(world.source.status.state).toBe("idle");
    document.body.append(element);
    const [stream] = await world.stream(start);
    element.remove();
    document.body.append(element); // moved
    await world.clock.advance(LINGER_MS);
    expect(stream.closed).toBe(false);
    element.remove();
    await world.clock.advance(LINGER_MS);
    expect(stream.closed).toBe(true);
    expect(world.server.requests.length).toBe(1);
  });

  it("follows its attributes", async () => {
    const world = given();
    const element = attach(world.name, {});
    expect(world.source.status.state).toBe("idle");
    element.setAttribute("task", "task/42");
    const other = { ...task, title: "Other" };
    await world.stream(start, change("k3v9-5", "set", task), change("k3v9-6", "set", other, "task/43"));
    expect(element.value?.title).toBe("Import");
    element.setAttribute("task", "task/43");
    expect(texts(element)[0]).toBe("Other");
    element.setAttribute("task", "task/44");
    expect(texts(element)).toEqual(["", "", ""]);
    element.removeAttribute("task");
    await world.clock.advance(LINGER_MS);
    expect(world.source.status.state).toBe("idle");
  });

  it("tells scripts of each change", async () => {
    const world = given();
    const told: unknown[] = [];
    const tell = ({ target }: Event) => told.push((target as ProgressElement).value?.progress);
    document.body.addEventListener("change", tell);
    const element = attach(world.name);
    const [stream] = await world.stream(start, change("k3v9-5", "set", task));
    await stream.send(change("k3v9-6", "merge", { progress: 50 }));
    await stream.send(change("k3v9-7", "set", 1, "task/43"));
    document.body.removeEventListener("change", tell);
    expect(told).toEqual([40.7, 50]);
    expect(element.value).toEqual({ ...task, progress: 50 });
  });

  it("shows what is no progress as text, and goes on", async () => {
    const world = given();
    const element = attach(world.name);
    const [stream] = await world.stream(start, change("k3v9-5", "set", { title: "<img src=x>", progress: "9;x" }));
    expect(texts(element)).toEqual(["<img src=x>", "", ""]);
    expect(element.shadowRoot?.querySelector("img")).toBeNull();
    for (const odd of [null, 7, "text", []]) await stream.send(change("k3v9-6", "set", odd));
    expect(world.errors).toEqual([]);
  });
});

describe("with a URL", () => {
  let server: ScriptedServer;

  beforeEach(() => {
    server = createServer();
    vi.stubGlobal("fetch", server.fetch);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    document.body.replaceChildren();
    vi.advanceTimersByTime(LINGER_MS);
    vi.useRealTimers();
  });

  it("shares a connection with all that have the same one, also before a source that was given", async () => {
    const world = createWorld();
    const [name, other] = [freshName(), freshName()];
    defineProgress(name);
    defineProgress(other, world.source);
    const src = "http://hub.test/7/events";
    const elements = [
      attach(name, { task: "task/42", src }),
      attach(name, { task: "task/43", src }),
      attach(other, { task: "task/42", src }),
    ];
    await settle();
    expect(server.requests.map(({ url }) => url.href)).toEqual([src]);
    expect(world.server.requests.length).toBe(0);
    const stream = await (await server.next()).open();
    await stream.send(start + change("k3v9-5", "set", task));
    expect(elements.map(({ value }) => value?.progress)).toEqual([40.7, undefined, 40.7]);
    elements[0]?.remove();
    elements[1]?.remove();
    await vi.advanceTimersByTimeAsync(LINGER_MS);
    expect(stream.closed).toBe(false);
    elements[2]?.remove();
    await vi.advanceTimersByTimeAsync(LINGER_MS);
    expect(stream.closed).toBe(true);
  });

  it("reads `/events` by default, and another one when `src` changes", async () => {
    vi.stubGlobal("location", { toString: () => "http://hub.test/shop/" });
    const name = freshName();
    defineProgress(name);
    const element = attach(name);
    element.setAttribute("src", "other");
    await settle();
    expect(server.requests.map(({ url }) => url.href)).toEqual([
      "http://hub.test/events",
      "http://hub.test/shop/other",
    ]);
  });
});

it("is defined once for a name, and refuses what is none", () => {
  const name = freshName();
  defineProgress(name);
  const defined = customElements.get(name);
  defineProgress(name);
  expect(customElements.get(name)).toBe(defined);
  defineProgress();
  expect(customElements.get("clarion-progress")).toBeDefined();
  expect(() => defineProgress("progress")).toThrow();
});
