// @vitest-environment happy-dom
// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** The source itself in components: its status, providers, and what servers render of all that. */
import { Writable } from "node:stream";
import { type ReactNode, Suspense } from "react";
import { renderToPipeableStream, renderToString } from "react-dom/server";
import { describe, expect, it } from "vitest";
import type { Source, Status } from "../src/index.js";
import { createHooks, createProgress, useSSE } from "../src/react/index.js";
import { connected } from "../src/testing/index.js";
import { acting, advance, Caught, complained, hydrate, LINGER_MS, MODES, render, withReact } from "./react-pieces.js";
import { change, createWorld, event, URL_OF_HUB } from "./world.js";

withReact();

const start = connected("k3v9-4");

describe.each(MODES)("useSourceStatus, in %s", (_mode, isStrict) => {
  it("follows the source, and does not connect it", async () => {
    const world = createWorld();
    const { useSourceStatus } = createHooks(world.source);
    const Shown = () => {
      const { state, reason, connected } = useSourceStatus();
      return [state, reason, connected?.mode].filter(Boolean).join(" ");
    };
    const page = await render(<Shown />, isStrict);
    expect(page.text).toBe("idle");
    expect(world.server.requests.length).toBe(0);
    await acting(async () => world.source.open());
    expect(page.text).toBe("connecting");
    const [stream] = await acting(() => world.stream(start));
    expect(page.text).toBe("open live");
    await acting(() => stream.end());
    expect(page.text).toBe("waiting network");
    await acting(async () => world.source.close());
    expect(page.text).toBe("closed closed");
  });

  it("renders for the selected part alone", async () => {
    const world = createWorld();
    const { useSourceStatus } = createHooks(world.source);
    let renders = 0;
    const Shown = () => {
      renders++;
      const isOpen = useSourceStatus(({ state }) => state === "open");
      const { state } = useSourceStatus(
        ({ state }) => ({ state }),
        (one, other) => one.state === other.state,
      );
      return `${isOpen} ${state}`;
    };
    const page = await render(<Shown />, isStrict);
    await acting(async () => world.source.open());
    const [stream] = await acting(() => world.stream());
    expect(page.text).toBe("true open");
    renders = 0;
    await acting(() => stream.send(start));
    expect(world.states()).toEqual(["connecting", "open", "open"]);
    expect(renders).toBe(0);
    await acting(async () => world.source.reconnect());
    expect(page.text).toBe("false connecting");
  });
});

describe.each(MODES)("SourceProvider, in %s", (_mode, isStrict) => {
  it("gives a source to the hooks in it, and another one later", async () => {
    const worlds = [createWorld(), createWorld()] as const;
    const { SourceProvider, useLatest, useSource } = createHooks();
    const sources = new Set<Source>();
    const Shown = () => {
      sources.add(useSource());
      return useLatest("message")?.text ?? "none";
    };
    const tree = (source: Source) => <SourceProvider value={source}>{<Shown />}</SourceProvider>;
    const page = await render(tree(worlds[0].source), isStrict);
    const [stream] = await acting(() => worlds[0].stream(start, event(5)));
    expect(page.text).toBe("5");
    await page.render(tree(worlds[1].source));
    expect(page.text).toBe("none");
    await acting(() => worlds[1].stream(start, event(6)));
    expect(page.text).toBe("6");
    await advance(worlds[0].clock, LINGER_MS);
    expect(stream.closed).toBe(true);
    expect([...sources]).toEqual([worlds[0].source, worlds[1].source]);
  });

  it("is missed kindly", async () => {
    const { useLatest } = createHooks();
    const Shown = () => useLatest("message")?.text ?? "none";
    const page = await render(<Caught>{<Shown />}</Caught>, isStrict);
    expect(page.text).toBe("Error: clarion: no SourceProvider");
    expect(complained().length).toBeGreaterThan(0);
  });
});

describe("on a server", () => {
  let pages = 0;

  function everything() {
    const url = `${URL_OF_HUB}/${pages++}`;
    const world = createWorld();
    const hooks = createHooks(world.source);
    const Progress = createProgress(hooks);
    const seen: Status[] = [];
    const Shown = () => {
      const { status } = useSSE(url, { ...world.server, ...world.clock });
      hooks.useEvent("message", () => {});
      const count = hooks.useReducedEvents("message", (sum) => sum + 1, 7);
      const value = hooks.useValue("task/42", { initial: "first" });
      const length = hooks.useValue("task/42", { initial: "first", select: (text) => [text.length] });
      const { text } = hooks.useGeneration("chat/7");
      seen.push(hooks.useSourceStatus());
      return (
        <p>
          {`${count} ${hooks.useLatest("message")?.text} ${value} ${length} ${text} ${hooks.useSourceStatus().state} ${status.state}`}
        </p>
      );
    };
    const Told = () => <b>{String(hooks.useValueSuspense("task/42"))}</b>;
    const tree = (
      <div>
        <Shown />
        <Progress task="task/43" />
      </div>
    );
    return { ...world, tree, Told, seen };
  }
  const html = /<p>7 undefined first 5 {2}idle idle<\/p>/;

  it("all is idle or initial, and nothing is opened", async () => {
    const world = everything();
    expect(renderToString(world.tree)).toMatch(html);
    world.source.open();
    await world.stream(start, change("k3v9-5", "set", "told"), event(6));
    expect(renderToString(world.tree)).toMatch(html);
    expect(world.server.requests.length).toBe(1);
    expect(world.seen).toEqual(Array(2).fill({ state: "idle", reason: "" }));
  });

  it("who waits for a value is left to the browser, and holds up nothing", async () => {
    const world = everything();
    const tree = (
      <Suspense fallback={<i>wait</i>}>
        <world.Told />
      </Suspense>
    );
    expect(renderToString(tree)).toContain("<i>wait</i>");
    const [streamed, errors] = await streamedHtml(tree);
    expect(streamed).toContain("<i>wait</i>");
    expect(errors.join()).toMatch(/getServerSnapshot/);
    expect(world.server.requests.length).toBe(0);

    const recovered: unknown[] = [];
    const page = await hydrate(streamed, tree, recovered);
    expect(recovered.length).toBe(1);
    expect(page.text).toBe("wait");
    await acting(() => world.stream(start, change("k3v9-5", "set", "told")));
    expect(page.text).toBe("told");
  });

  it.each(MODES)("what it rendered is taken over without a mismatch, in %s", async (_mode, isStrict) => {
    const world = everything();
    const rendered = renderToString(world.tree);
    world.source.open();
    await world.stream(start, change("k3v9-5", "set", "told"));
    const errors: unknown[] = [];
    const page = await hydrate(rendered, world.tree, errors, isStrict);
    expect(errors).toEqual([]);
    expect(page.text).toBe("7 undefined told 4  open connecting");
    expect(world.server.requests.length).toBe(2); // the one for useSSE
  });
});

/** All that a server would send, once it is complete. */
function streamedHtml(tree: ReactNode): Promise<[string, unknown[]]> {
  let html = "";
  const errors: unknown[] = [];
  return new Promise((resolve, reject) => {
    const out = new Writable({
      write(chunk, _encoding, done) {
        html += chunk;
        done();
      },
      final(done) {
        done();
        resolve([html, errors]);
      },
    });
    const stream = renderToPipeableStream(tree, {
      onAllReady: () => void stream.pipe(out),
      onShellError: reject,
      onError: (error) => void errors.push(error),
    });
  });
}
