// @vitest-environment happy-dom
// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** Values in components: whole, in parts; and what is built on them. */
import { describe, expect, it } from "vitest";
import type { Source } from "../src/index.js";
import { createHooks } from "../src/react/index.js";
import { connected } from "../src/testing/index.js";
import { acting, counted, MODES, render, withReact } from "./react-pieces.js";
import { change, createWorld } from "./world.js";

withReact();

const start = connected("k3v9-4");

describe.each(MODES)("useValue, in %s", (_mode, isStrict) => {
  it("subscribes once, however often it is rendered, and whatever is selected", async () => {
    const { source, subscribed } = counted(createWorld().source);
    const { useValue } = createHooks(source);
    const Shown = ({ n }: { n: number }) => `${n} ${useValue("task/42", { select: (value) => [value, n] })}`;
    const page = await render(<Shown n={1} />, isStrict);
    for (const n of [2, 3, 4]) await page.render(<Shown n={n} />);
    expect(page.text).toBe("4 ,4");
    expect(subscribed.length).toBe(isStrict ? 2 : 1);
  });

  it("is what the topic is, as it changes", async () => {
    const world = createWorld();
    const { useValue } = createHooks(world.source);
    const Shown = () => JSON.stringify(useValue("task/42")) ?? "none";
    const page = await render(<Shown />, isStrict);
    expect(page.text).toBe("none");
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", { a: 1 })));
    expect(page.text).toBe('{"a":1}');
    await acting(() => stream.send(change("k3v9-6", "merge", { b: 2 })));
    expect(page.text).toBe('{"a":1,"b":2}');
    await acting(() => stream.send(change("k3v9-7", "delete", null)));
    expect(page.text).toBe("none");
    await acting(() => stream.send(change("k3v9-8", "set", null)));
    expect(page.text).toBe("null");
    expect(world.server.requests.length).toBe(1);
  });

  it("is there at once for who comes late, and follows a change of topic and of source", async () => {
    const [world, other] = [createWorld(), createWorld()];
    const { useValue, SourceProvider } = createHooks(world.source);
    const renders: unknown[] = [];
    const Shown = ({ topic }: { topic: string }) => {
      const value = useValue<string>(topic);
      renders.push(value);
      return value;
    };
    world.source.open();
    other.source.open();
    await world.stream(start, change("k3v9-5", "set", "a", "t/1"), change("k3v9-6", "set", "b", "t/2"));
    await other.stream(start, change("k3v9-5", "set", "c", "t/2"));
    const shown = (source: Source, topic: string) => (
      <SourceProvider value={source}>
        <Shown topic={topic} />
      </SourceProvider>
    );
    const page = await render(shown(world.source, "t/1"), isStrict);
    await page.render(shown(world.source, "t/2"));
    expect([...new Set(renders)]).toEqual(["a", "b"]);
    await page.render(shown(other.source, "t/2"));
    expect(page.text).toBe("c");
  });

  it("is `initial` while there is none, and null is a value", async () => {
    const world = createWorld();
    const { useValue } = createHooks(world.source);
    const Shown = () =>
      `${useValue("task/42", { initial: "none" })} ${useValue("task/42", { initial: [1, 2], select: (list) => list?.length })}`;
    const page = await render(<Shown />, isStrict);
    expect(page.text).toBe("none 2");
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", [7])));
    expect(page.text).toBe("7 1");
    await acting(() => stream.send(change("k3v9-6", "set", null)));
    expect(page.text).toBe("null undefined");
  });

  it("renders for the selected part alone, by the function that was rendered last", async () => {
    const world = createWorld();
    const { useValue } = createHooks(world.source);
    let renders = 0;
    function Shown({ name }: { name: string }) {
      renders++;
      return useValue("task/42", { select: (value?: Record<string, number>) => value?.[name] }) ?? "none";
    }
    const page = await render(<Shown name="a" />, isStrict);
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", { a: 1, b: 2 })));
    expect(page.text).toBe("1");
    renders = 0;
    await acting(() => stream.send(change("k3v9-6", "merge", { b: 3 })));
    expect(renders).toBe(0);
    await page.render(<Shown name="b" />);
    expect(page.text).toBe("3");
    await acting(() => stream.send(change("k3v9-7", "merge", { b: 4 })));
    expect(page.text).toBe("4");
  });

  it("keeps a part that is equal: the same object, and no render", async () => {
    const world = createWorld();
    const { useValue } = createHooks(world.source);
    let renders = 0;
    const parts = new Set<unknown>();
    const asked: unknown[] = [];
    function Shown({ salt = "" }) {
      renders++;
      const part = useValue("task/42", {
        select: (value?: { list: number[] }) => value?.list.map((n) => n * 2), // a new one each time
        isEqual(one, other) {
          asked.push(one);
          return String(one) === String(other);
        },
      });
      parts.add(part);
      return `${salt}${part ?? "none"}`;
    }
    const page = await render(<Shown />, isStrict);
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", { list: [1, 2] })));
    expect(page.text).toBe("2,4");
    renders = 0;
    parts.clear();
    await acting(() => stream.send(change("k3v9-6", "merge", { more: true })));
    expect(renders).toBe(0);
    await page.render(<Shown salt="again " />);
    expect(page.text).toBe("again 2,4");
    await acting(() => stream.send(change("k3v9-7", "merge", { more: false })));
    expect(parts.size).toBe(1);
    expect(asked).not.toContain(undefined);
    await acting(() => stream.send(change("k3v9-8", "append", { list: [3] })));
    expect(page.text).toBe("again 2,4,6");
  });

  it("takes a selection that is new each time without rendering for ever", async () => {
    const world = createWorld();
    const { useValue } = createHooks(world.source);
    let renders = 0;
    const Shown = () => {
      renders++;
      return useValue("task/42", { select: (value: unknown) => [value] }).length;
    };
    const page = await render(<Shown />, isStrict);
    await acting(() => world.stream(start, change("k3v9-5", "set", 1)));
    expect(page.text).toBe("1");
    expect(renders).toBeLessThan(isStrict ? 9 : 5);
  });
});

describe.each(MODES)("what is built on values, in %s", (_mode, isStrict) => {
  const task = { taskId: "task/42", title: "Import", status: "running", progress: 40, error: null };

  it("useProgress is the value of the task's topic", async () => {
    const world = createWorld();
    const { useProgress } = createHooks(world.source);
    const Shown = () => {
      const value = useProgress("task/42");
      return value ? `${value.title}: ${value.progress} ${value.status}` : "none";
    };
    const page = await render(<Shown />, isStrict);
    expect(page.text).toBe("none");
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", task)));
    expect(page.text).toBe("Import: 40 running");
    await acting(() => stream.send(change("k3v9-6", "set", { ...task, progress: 100, status: "completed" })));
    expect(page.text).toBe("Import: 100 completed");
  });

  it("useGeneration is the text as it grows, and how it ended", async () => {
    const world = createWorld();
    const { useGeneration } = createHooks(world.source);
    const stops = new Set<unknown>();
    const Shown = () => {
      const { text, status, reasoning, error, stop } = useGeneration("chat/7");
      stops.add(stop);
      return [text, status, reasoning, error?.message].map((part) => part ?? "-").join("|");
    };
    const page = await render(<Shown />, isStrict);
    expect(page.text).toBe("|-|-|-");
    const begun = { messageId: "msg_1", status: "running", text: "", startedAt: 1, segments: [] };
    const told = (id: string, what: string, data: unknown) => change(id, what, data, "chat/7");
    const [stream] = await acting(() => world.stream(start, told("k3v9-5", "set", begun)));
    await acting(() => stream.send(told("k3v9-6", "append", { reasoning: "Hm.", text: "Hello" })));
    await acting(() => stream.send(told("k3v9-7", "append", { text: " world" })));
    expect(page.text).toBe("Hello world|running|Hm.|-");
    const failed = { status: "failed", error: { code: "internal", message: "Something went wrong.", ref: "4f" } };
    await acting(() => stream.send(told("k3v9-8", "merge", failed)));
    expect(page.text).toBe("Hello world|failed|Hm.|Something went wrong.");
  });

  it("useGeneration gives the same object while nothing changes", async () => {
    const world = createWorld();
    const { useGeneration } = createHooks(world.source);
    const seen = new Set<unknown>();
    const Shown = ({ n }: { n: number }) => {
      seen.add(useGeneration("chat/7"));
      return n;
    };
    const page = await render(<Shown n={1} />);
    await page.render(<Shown n={2} />);
    expect(seen.size).toBe(1);
  });

  it("stop asks as the source does, of the generation that is shown", async () => {
    const world = createWorld();
    const headers = () => ({ authorization: "Bearer a" });
    const options = { url: "http://hub.test/api/events", headers, fetch: world.server.fetch };
    const { useGeneration } = createHooks(world.source, options);
    let stop = async () => {};
    const Shown = ({ id }: { id: string }) => {
      stop = useGeneration(id).stop;
      return null;
    };
    const page = await render(<Shown id="chat/6" />, isStrict);
    await page.render(<Shown id="chat/7" />);
    await world.server.next();
    const stopped = stop();
    const request = await world.server.next();
    expect([request.method, request.url.href]).toEqual(["POST", "http://hub.test/api/tasks/chat/7/cancel"]);
    expect(request.headers.get("authorization")).toBe("Bearer a");
    await request.answer(202);
    await stopped;
    const refused = expect(stop()).rejects.toMatchObject({ status: 403 });
    await (await world.server.next()).answer(403);
    await refused;
  });
});
