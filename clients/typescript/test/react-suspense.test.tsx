// @vitest-environment happy-dom
// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** Values that a component waits for. */
import { Suspense, useState } from "react";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createHooks } from "../src/react/index.js";
import { bye, connected } from "../src/testing/index.js";
import {
  acting,
  advance,
  Caught,
  complained,
  counted,
  LINGER_MS,
  MODES,
  render,
  renderAsPage,
  turns,
  until,
  withReact,
} from "./react-pieces.js";
import { change, createWorld, event, resumed } from "./world.js";

withReact();
afterEach(() => vi.useRealTimers());

const start = connected("k3v9-4");
const GIVE_UP_MS = 30_000;

describe.each(MODES)("useValueSuspense, in %s", (_mode, isStrict) => {
  const fallback = <i>wait</i>;

  function waiting(topics = ["task/42"]) {
    const world = createWorld();
    const hooks = createHooks(world.source);
    const Shown = ({ topic }: { topic: string }) => JSON.stringify(hooks.useValueSuspense(topic));
    const tree = (
      <Caught>
        <Suspense fallback={fallback}>
          {topics.map((topic) => (
            <Shown key={topic} topic={topic} />
          ))}
        </Suspense>
      </Caught>
    );
    return { ...world, ...hooks, tree };
  }

  it("waits for a first value over one connection, and then follows", async () => {
    const world = waiting(["task/42", "task/43"]);
    const page = await render(world.tree, isStrict);
    expect(page.text).toBe("wait");
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", 1)));
    await acting(() => stream.send(event(6)));
    expect(page.text).toBe("wait");
    await acting(() => stream.send(change("k3v9-7", "set", 2, "task/43")));
    expect(page.text).toBe("12");
    await advance(world.clock, LINGER_MS);
    await acting(() => stream.send(change("k3v9-8", "set", 3)));
    expect(page.text).toBe("32");
    expect(world.server.requests.length).toBe(1);
    expect(stream.closed).toBe(false);
    await page.unmount();
    await advance(world.clock, LINGER_MS);
    expect(stream.closed).toBe(true);
  });

  it("does not wait for a value that is there, nor for null", async () => {
    const world = waiting();
    world.source.open();
    await world.stream(start, change("k3v9-5", "set", null));
    const page = await render(world.tree, isStrict);
    expect(page.text).toBe("null");
  });

  it("waits again when the value is gone", async () => {
    const world = waiting();
    const page = await render(world.tree, isStrict);
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", 1)));
    await acting(() => stream.send(change("k3v9-6", "delete", null)));
    expect(page.container.querySelector("i")?.textContent).toBe("wait");
    await acting(() => stream.send(change("k3v9-7", "set", 2)));
    expect(page.container.lastChild?.textContent).toBe("2");
    expect(world.server.requests.length).toBe(1);
  });

  it("opens nothing while React renders", async () => {
    const world = waiting();
    const states: string[] = [];
    const Asking = () => {
      states.push(world.source.status.state);
      const told = world.useValueSuspense("task/42");
      return String(told);
    };
    function After() {
      states.push(world.source.status.state);
      return null;
    }
    await render(
      [
        <Suspense key="1" fallback={<After />}>
          {<Asking />}
        </Suspense>,
        <After key="2" />,
      ],
      isStrict,
    );
    expect(new Set(states)).toEqual(new Set(["idle"]));
    expect(world.source.status.state).toBe("connecting");
  });

  it("is let go by who leaves while it waits", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const world = waiting();
    const page = await render(world.tree, isStrict);
    const [stream] = await acting(() => world.stream(start));
    await page.render(null);
    vi.advanceTimersByTime(GIVE_UP_MS - 1);
    await advance(world.clock, LINGER_MS);
    expect(stream.closed).toBe(false);
    vi.advanceTimersByTime(1);
    await advance(world.clock, LINGER_MS);
    expect(stream.closed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("stays connected for who waits for long", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const world = waiting();
    const page = await render(world.tree, isStrict);
    const [stream] = await acting(() => world.stream(connected("k3v9-4", { heartbeat: 0 })));
    for (let time = 0; time < 3; time++) {
      await acting(async () => void vi.advanceTimersByTime(GIVE_UP_MS));
      await advance(world.clock, LINGER_MS);
    }
    expect(page.text).toBe("wait");
    await acting(() => stream.send(change("k3v9-5", "set", 1)));
    expect(page.text).toBe("1");
    expect(world.server.requests.length).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("throws what closed the source", async () => {
    const world = waiting();
    const page = await render(world.tree, isStrict);
    const request = await world.server.next();
    await acting(() => request.answer(403));
    expect(page.text).toBe("Error: clarion: refused");
    expect(complained().length).toBeGreaterThan(0); // React says what was caught
  });

  it("throws also where the source closed without an error", async () => {
    const world = waiting();
    const page = await render(world.tree, isStrict);
    await acting(() => world.stream(start, bye("done", { id: "k3v9-4.done" })));
    expect(page.text).toBe("Error: clarion: closed");
    expect(complained().length).toBeGreaterThan(0);
  });

  it("reads the source that a provider gives", async () => {
    const [world, other] = [waiting(), createWorld()];
    const page = await render(<world.SourceProvider value={other.source}>{world.tree}</world.SourceProvider>, isStrict);
    await acting(() => other.stream(start, change("k3v9-5", "set", 1)));
    expect(page.text).toBe("1");
    expect(world.server.requests.length).toBe(0);
  });

  it("subscribes once, however often React tries", async () => {
    const { source, subscribed } = counted(createWorld().source);
    const { useValueSuspense } = createHooks(source);
    const Shown = () => String(useValueSuspense("task/42"));
    const tree = (n: number) => <Suspense fallback={n}>{<Shown />}</Suspense>;
    const page = await render(tree(1), isStrict);
    for (let n = 2; n < 10; n++) await page.render(tree(n));
    expect(page.text).toBe("9");
    expect(subscribed.length).toBe(1);
  });
});

describe("a whole page", () => {
  it("waits and goes on where nobody calls `act`", async () => {
    const world = createWorld();
    const { useValueSuspense } = createHooks(world.source);
    const Shown = () => {
      const [times] = useState(2);
      return (useValueSuspense<number>("task/42") ?? 0) * times;
    };
    const page = await renderAsPage(<Suspense fallback="wait">{<Shown />}</Suspense>);
    expect(page.textContent).toBe("wait");
    const [stream] = await world.stream(start);
    await turns();
    await stream.fail();
    await turns();
    await world.clock.advance(2000);
    await world.stream(resumed("k3v9-4"), change("k3v9-5", "set", 4));
    await until(() => page.textContent !== "wait"); // React shows nothing new in the first 300 ms
    expect(page.textContent).toBe("8");
  });
});
