// @vitest-environment happy-dom
// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** Events in components: who hears them, when, and how often that renders. */
import { useLayoutEffect, useState } from "react";
import { flushSync } from "react-dom";
import { describe, expect, it } from "vitest";
import type { Source } from "../src/index.js";
import { createHooks } from "../src/react/index.js";
import { connected, gap } from "../src/testing/index.js";
import { acting, MODES, render, withReact } from "./react-pieces.js";
import { createWorld, event } from "./world.js";

withReact();

const start = connected("k3v9-4");

describe.each(MODES)("useEvent, in %s", (_mode, isStrict) => {
  it("calls the handler once with each event of its type", async () => {
    const world = createWorld();
    const { useEvent } = createHooks(world.source);
    const told: unknown[] = [];
    function Listening() {
      useEvent("order", ({ data }) => told.push(data));
      return null;
    }
    await render(<Listening />, isStrict);
    await acting(() => world.stream(start, event(5, "a", "order"), event(6, "b"), event(7, "c", "order")));
    expect(told).toEqual(["a", "c"]);
    expect(world.server.requests.length).toBe(1);
  });

  it("calls the handler that was rendered last, without subscribing anew", async () => {
    const world = createWorld();
    const on: string[] = [];
    const { useEvent } = createHooks({
      ...world.source,
      on: ((type, listener) => {
        on.push(type);
        return world.source.on(type, listener);
      }) as typeof world.source.on,
    });
    const told: string[] = [];
    function Listening({ name }: { name: string }) {
      useEvent("message", ({ text }) => told.push(name + text));
      return null;
    }
    const page = await render(<Listening name="a" />, isStrict);
    const [stream] = await acting(() => world.stream(start, event(5)));
    await page.render(<Listening name="b" />);
    await acting(() => stream.send(event(6)));
    expect(told).toEqual(["a5", "b6"]);
    expect(on.length).toBe(isStrict ? 2 : 1);
  });

  it("calls the newest handler also for an event that an effect of the same render causes", async () => {
    const heard = new Set<(event: unknown) => unknown>();
    const source = {
      on(_type: string, listener: (event: unknown) => unknown) {
        heard.add(listener);
        return () => void heard.delete(listener);
      },
    };
    const { useEvent } = createHooks(source as unknown as Source);
    const told: string[] = [];
    function Listening({ name }: { name: string }) {
      useEvent("message", () => told.push(name));
      useLayoutEffect(() => {
        if (name) for (const listener of heard) listener({ topic: "" });
      }, [name]);
      return null;
    }
    const page = await render(<Listening name="a" />, isStrict);
    told.length = 0;
    await page.render(<Listening name="b" />);
    expect(told).toEqual(["b"]);
  });

  it("follows a change of type and of topic", async () => {
    const world = createWorld();
    const { useEvent } = createHooks(world.source);
    const told: string[] = [];
    function Listening({ type, topic }: { type: string; topic: string }) {
      useEvent(type, ({ text }) => told.push(text), { topic });
      return null;
    }
    const page = await render(<Listening type="a" topic="news" />, isStrict);
    const [stream] = await acting(() => world.stream(start, event(5, 5, "a"), event(6, 6, "b")));
    await page.render(<Listening type="b" topic="news" />);
    await acting(() => stream.send(event(7, 7, "a") + event(8, 8, "b")));
    await page.render(<Listening type="b" topic="sport" />);
    await acting(() => stream.send(event(9, 9, "b") + event(10, 10, "b", "sport")));
    expect(told).toEqual(["5", "8", "10"]);
  });

  it("hears only what it is asked to: one topic, or nothing for a while", async () => {
    const world = createWorld();
    const { useEvent } = createHooks(world.source);
    const told: string[] = [];
    function Listening({ enabled, topic }: { enabled: boolean; topic?: string }) {
      useEvent("message", ({ text }) => told.push(text), { enabled, ...(topic !== undefined && { topic }) });
      useEvent("other", () => {});
      return null;
    }
    const page = await render(<Listening enabled topic="sport" />, isStrict);
    const [stream] = await acting(() => world.stream(start, event(5), event(6, 6, undefined, "sport")));
    await page.render(<Listening enabled={false} />);
    await acting(() => stream.send(event(7)));
    await page.render(<Listening enabled />);
    await acting(() => stream.send(event(8)));
    expect(told).toEqual(["6", "8"]);
  });

  it("reports what a handler throws, and the tree and the others go on", async () => {
    const world = createWorld();
    const { useEvent, useLatest } = createHooks(world.source);
    const told: string[] = [];
    function Listening() {
      useEvent("message", () => {
        throw new Error("a bug");
      });
      useEvent("message", ({ text }) => told.push(text));
      return <p>{useLatest("message")?.text}</p>;
    }
    const page = await render(<Listening />, isStrict);
    await acting(() => world.stream(start, event(5), event(6)));
    expect(told).toEqual(["5", "6"]);
    expect(page.text).toBe("6");
    expect(world.errors.map(({ code, cause }) => [code, String(cause)])).toEqual(
      Array(2).fill(["listener", "Error: a bug"]),
    );
  });

  it("holds back the stream while a handler's promise is not settled", async () => {
    const world = createWorld();
    const { useEvent } = createHooks(world.source);
    let release = () => {};
    function Listening() {
      useEvent("message", () => new Promise<void>((resolve) => (release = resolve)));
      return null;
    }
    await render(<Listening />, isStrict);
    await acting(() => world.stream(start, event(5)));
    expect(world.source.lastEventId).toBe("");
    await acting(async () => release());
    expect(world.source.lastEventId).toBe("k3v9-5");
  });

  it("does not call who is unmounted by a handler before it", async () => {
    const world = createWorld();
    const { useEvent } = createHooks(world.source);
    const told: string[] = [];
    let hide = () => {};
    function Second() {
      useEvent("message", ({ text }) => told.push(text));
      return null;
    }
    function First() {
      const [isShown, setShown] = useState(true);
      hide = () => flushSync(() => setShown(false));
      useEvent("message", () => {});
      return isShown ? <Second /> : null;
    }
    world.source.on("message", () => hide());
    await render(<First />, isStrict);
    await acting(() => world.stream(start, event(5), event(6)));
    expect(told).toEqual([]);
    expect(world.errors).toEqual([]);
  });
});

describe.each(MODES)("useReducedEvents, in %s", (_mode, isStrict) => {
  it("adds up each event once, of one type or of several, in their order", async () => {
    const world = createWorld<{ add: number; take: number }>();
    const { useReducedEvents } = createHooks(world.source);
    const reduced: string[] = [];
    function Counting() {
      const sum = useReducedEvents(
        ["add", "take", "add"],
        (sum, { type, data }) => {
          reduced.push(type);
          return sum + (type === "add" ? data : -data);
        },
        100,
      );
      const list = useReducedEvents("take", (all: number[], { data }) => [...all, data], []);
      return `${sum}: ${list}`;
    }
    const page = await render(<Counting />, isStrict);
    expect(page.text).toBe("100: ");
    const [stream] = await acting(() => world.stream(start, event(5, 10, "add"), event(6, 1, "take")));
    expect(page.text).toBe("109: 1");
    await acting(() => stream.send(event(7, 2, "take")));
    expect(page.text).toBe("107: 1,2");
    expect(reduced).toEqual(["add", "take", "take"]);
  });

  it("reduces by the function that was rendered last, and keeps what it has", async () => {
    const world = createWorld();
    const { useReducedEvents } = createHooks(world.source);
    const Counting = ({ by }: { by: number }) => useReducedEvents(["message"], (sum) => sum + by, 0);
    const page = await render(<Counting by={1} />, isStrict);
    const [stream] = await acting(() => world.stream(start, event(5), event(6)));
    await page.render(<Counting by={10} />);
    await acting(() => stream.send(event(7)));
    expect(page.text).toBe("12");
    expect(world.server.requests.length).toBe(1);
  });

  it("begins anew with other types", async () => {
    const world = createWorld();
    const { useLatest } = createHooks(world.source);
    const Latest = ({ type }: { type: string }) => useLatest(type)?.text ?? "none";
    const page = await render(<Latest type="a" />, isStrict);
    const [stream] = await acting(() => world.stream(start, event(5, 5, "a")));
    expect(page.text).toBe("5");
    await page.render(<Latest type="b" />);
    expect(page.text).toBe("none");
    await acting(() => stream.send(event(6, 6, "b") + event(7, 7, "a")));
    expect(page.text).toBe("6");
    expect(world.server.requests.length).toBe(1);
  });

  it("reports a reducer that throws, and goes on with the next event", async () => {
    const world = createWorld();
    const { useReducedEvents } = createHooks(world.source);
    const Counting = () =>
      useReducedEvents(
        "message",
        (sum, { data }) => {
          if (data === "bad") throw new Error("a bug");
          return sum + data;
        },
        0,
      );
    const page = await render(<Counting />, isStrict);
    await acting(() => world.stream(start, event(5, 1), event(6, "bad"), event(7, 2)));
    expect(page.text).toBe("3");
    expect(world.errors.map(({ code }) => code)).toEqual(["listener"]);
  });

  it("shows what was told last while a network read is being dealt with", async () => {
    const world = createWorld();
    const { useReducedEvents } = createHooks(world.source);
    const Counting = ({ name }: { name: string }) => name + useReducedEvents("message", (sum) => sum + 1, 0);
    const page = await render([<Counting key="1" name="a" />], isStrict);
    const [stream] = await acting(() => world.stream(start, event(5)));
    let release = () => {};
    world.source.onGap(() => new Promise<void>((resolve) => (release = resolve)));
    await acting(() => stream.send(event(6) + gap("k3v9-9")));
    await page.render([<Counting key="1" name="b" />]);
    expect(page.text).toBe("b1");
    await acting(async () => release());
    expect(page.text).toBe("b2");
  });

  it("does not take a state that has a `then` for something to wait for", async () => {
    const world = createWorld();
    const { useReducedEvents } = createHooks(world.source);
    // biome-ignore lint/suspicious/noThenProperty: that is what it is about
    const stuck = (n: number) => ({ n, then: () => {} });
    const Stuck = () => useReducedEvents("message", ({ n }) => stuck(n + 1), stuck(0)).n;
    const page = await render(<Stuck />, isStrict);
    const [stream] = await acting(() => world.stream(start, event(5)));
    await acting(() => stream.send(event(6)));
    expect(page.text).toBe("2");
  });
});
