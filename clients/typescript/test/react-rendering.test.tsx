// @vitest-environment happy-dom
// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** How often components render, and what they show together. */
import { startTransition, useEffect, useLayoutEffect, useState } from "react";
import { describe, expect, it } from "vitest";
import type { AnyEvents } from "../src/index.js";
import { createHooks } from "../src/react/index.js";
import { connected } from "../src/testing/index.js";
import { acting, advance, LINGER_MS, render, renderAsPage, turns, withReact } from "./react-pieces.js";
import { change, createWorld, event } from "./world.js";

withReact();

const start = connected("k3v9-4");

describe("rendering", () => {
  /** Checks of events that take a turn each, so that there is time to render between two. */
  const decode = async (text: string) => JSON.parse(text);

  it("happens once for a network read, whatever the number of events and hooks", async () => {
    const world = createWorld<AnyEvents>({ decode });
    const { useReducedEvents, useLatest, useValue } = createHooks(world.source);
    const seen: string[] = [];
    function Counting() {
      const count = useReducedEvents(["message", "other"], (sum: number) => sum + 1, 0);
      const newest = useLatest("message")?.text;
      const value = useValue<number>("task/42");
      const other = useValue<number>("task/43");
      useEffect(() => void seen.push(`${count} ${newest} ${value} ${other}`));
      return null;
    }
    await renderAsPage(<Counting />);
    const [stream] = await world.stream(start);
    await turns();
    seen.length = 0;
    const events = Array.from({ length: 100 }, (_, n) => event(n < 50 ? 10 + n : 20 + n, n));
    events.splice(
      50,
      0,
      change("k3v9-60", "set", 1),
      change("k3v9-61", "set", 2),
      change("k3v9-62", "set", 3, "task/43"),
    );
    await stream.send(events.join(""));
    await turns();
    expect(seen).toEqual(["100 99 2 3"]);
    await stream.send(event(900, 900, "other"));
    await turns();
    expect(seen).toEqual(["100 99 2 3", "101 99 2 3"]);
  });

  it("does not happen for what nobody asked for, or what is the same", async () => {
    const world = createWorld();
    const { useReducedEvents, useValue } = createHooks(world.source);
    let renders = 0;
    function Counting() {
      useReducedEvents("order", (highest, { data }) => Math.max(highest, data), 0);
      useValue("task/42");
      renders++;
      return null;
    }
    await render(<Counting />);
    const [stream] = await acting(() => world.stream(start, event(5, 7, "order")));
    renders = 0;
    await acting(() => stream.send(event(6, 1, "order")));
    await acting(() => stream.send(event(7)));
    await acting(() => stream.send(change("k3v9-8", "set", 1, "task/43")));
    expect(renders).toBe(0);
    await acting(() => stream.send(event(9, 8, "order")));
    expect(renders).toBe(1);
  });

  it("never shows two components that read the same two different things", async () => {
    const world = createWorld();
    const { useValue, useSourceStatus } = createHooks(world.source);
    const commits: string[] = [];
    let rendered = 0;
    let page: HTMLElement | undefined;
    let show = () => {};
    function Slow() {
      const value = useValue<number>("task/42");
      rendered++;
      const until = performance.now() + 6; // longer than React works at one go
      while (performance.now() < until);
      return <i>{value}</i>;
    }
    function Page() {
      const [isShown, setShown] = useState(false);
      show = () => startTransition(() => setShown(true));
      useSourceStatus();
      const value = useValue<number>("task/42");
      useLayoutEffect(() => {
        const texts = [...(page?.querySelectorAll("i") ?? [])].map(({ textContent }) => textContent);
        commits.push([...new Set([String(value), ...texts])].join());
      });
      return isShown ? [..."abcdefghij"].map((key) => <Slow key={key} />) : null;
    }
    page = await renderAsPage(<Page />);
    const [stream] = await world.stream(start, change("k3v9-5", "set", 1));
    await turns();
    show();
    for (let turn = 0; rendered < 3; turn++) {
      expect(turn).toBeLessThan(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(rendered).toBeLessThan(10);
    await stream.send(change("k3v9-6", "set", 2));
    await turns(40);
    expect(page.querySelectorAll("i").length).toBe(10);
    expect(commits.at(-1)).toBe("2");
    for (const commit of commits) expect(commit).toMatch(/^(undefined|1|2)$/);
  });
});

it("several components share one connection, which is let go a second after the last one left", async () => {
  const world = createWorld();
  const { useEvent, useLatest } = createHooks(world.source);
  function One() {
    useEvent("message", () => {});
    return null;
  }
  const Other = () => useLatest("order")?.text ?? null;
  const page = await render([<One key="1" />, <Other key="2" />, <Other key="3" />]);
  const [stream] = await acting(() => world.stream(start));
  await page.render([<One key="1" />]);
  await advance(world.clock, LINGER_MS);
  expect(stream.closed).toBe(false);
  await page.render([]);
  await advance(world.clock, LINGER_MS - 1);
  expect(stream.closed).toBe(false);
  await advance(world.clock, 1);
  expect(stream.closed).toBe(true);
  expect(world.states()).toEqual(["connecting", "open", "open", "idle"]);
  expect(world.server.requests.length).toBe(1);
});
