import { describe, expect, it } from "vitest";
import { createSource } from "../src/index.js";
import { connected, createClock, createPage, createServer, frame } from "../src/testing/index.js";
import { applyChange } from "../src/values.js";
import { vectors } from "./pieces.js";

interface Changes {
  name: string;
  changes: { change: string; data: unknown }[];
  value?: unknown;
}

interface Refused {
  name: string;
  value: unknown;
  change: string;
  data: unknown;
}

interface Stream {
  name: string;
  stream: string;
  held?: Record<string, unknown>;
  values: Record<string, unknown>;
}

/** As JSON with sorted members, so that also a member `__proto__` is compared. */
function canonical(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, part]) => `${JSON.stringify(name)}:${canonical(part)}`).join()}}`;
}

describe.each(["set.json", "append.json", "merge.json"])("%s", (file) => {
  it.each(vectors<Changes>("values", file))("$name", ({ changes, ...rest }) => {
    const given = canonical(changes);
    const value = changes.reduce<unknown>((before, { change, data }) => applyChange(before, change, data), undefined);
    expect(canonical(value)).toBe(canonical(rest.value));
    expect(canonical(changes)).toBe(given);
    expect(({} as { x?: unknown }).x).toBeUndefined();
  });
});

describe("refused.json", () => {
  it.each(vectors<Refused>("values", "refused.json"))("$name", ({ value, change, data }) => {
    const given = canonical(value);
    expect(() => applyChange(value, change, data)).toThrow(TypeError);
    expect(canonical(value)).toBe(given);
  });
});

it("leaves a value alone if it does not know the change", () => {
  expect(applyChange({ a: 1 }, "somersault", { b: 2 })).toEqual({ a: 1 });
});

describe("streams.json", () => {
  it.each(vectors<Stream>("values", "streams.json"))("$name", async ({ stream, held = {}, values }) => {
    const server = createServer();
    const source = createSource({ url: "http://hub.test/", ...createClock(), ...createPage(), ...server });
    source.onError((error) => expect.unreachable(String(error.cause)));
    source.open();
    const before = await (await server.next()).open();
    const sets = Object.entries(held).map(([topic, data], index) =>
      frame({ id: `k3v9-8~${index + 1}`, event: "value", topic, change: "set", data }),
    );
    await before.send(connected("k3v9-8~0") + sets.join("") + frame({ id: "k3v9-8", topic: "plain", data: 0 }));
    source.reconnect();
    await (await (await server.next()).open()).send(stream);
    for (const topic of new Set([...Object.keys(held), ...Object.keys(values)])) {
      expect(source.value(topic).get(), topic).toEqual(values[topic]);
    }
    source.close();
  });
});
