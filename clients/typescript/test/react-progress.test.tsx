// @vitest-environment happy-dom
/** `<Progress>`: what it says of itself to who cannot see it. */
import { renderToString } from "react-dom/server";
import { describe, expect, it } from "vitest";
import { createHooks, createProgress } from "../src/react/index.js";
import { connected } from "../src/testing/index.js";
import { acting, MODES, render, withReact } from "./react-pieces.js";
import { change, createWorld } from "./world.js";

withReact();

const start = connected("k3v9-4");
const task = { taskId: "task/42", title: "Import", status: "running", progress: 40.7, message: "file 3", error: null };

function bar() {
  const world = createWorld();
  const hooks = createHooks(world.source);
  return { ...world, ...hooks, Progress: createProgress(hooks) };
}

const attributesOf = (element: Element | null) =>
  Object.fromEntries([...(element?.attributes ?? [])].map(({ name, value }) => [name, value]));

describe.each(MODES)("<Progress>, in %s", (_mode, isStrict) => {
  it("is a progress bar that does not know yet, then one that does", async () => {
    const world = bar();
    const page = await render(<world.Progress task="task/42" />, isStrict);
    const shown = () => attributesOf(page.container.firstElementChild);
    const bounds = { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" };
    expect(shown()).toEqual({ ...bounds, "aria-busy": "true" });
    const [stream] = await acting(() => world.stream(start, change("k3v9-5", "set", { ...task, progress: null })));
    expect(shown()).toEqual({
      ...bounds,
      ...{ "aria-busy": "true", "aria-label": "Import", "aria-valuetext": "file 3", "data-status": "running" },
    });
    await acting(() => stream.send(change("k3v9-6", "set", task)));
    expect(shown()).toMatchObject({ "aria-valuenow": "40.7", "aria-valuetext": "40%, file 3" });
    const failed = { ...task, status: "failed", error: { code: "internal", message: "It went wrong." } };
    await acting(() => stream.send(change("k3v9-7", "set", failed)));
    expect(shown()).toMatchObject({
      ...{ "aria-busy": "false", "aria-valuenow": "40.7", "aria-valuetext": "40%, It went wrong." },
      "data-status": "failed",
    });
  });

  it("gives the value to a function in it, and its other props to its element, where they win", async () => {
    const world = bar();
    const page = await render(
      <world.Progress task="task/42" className="bar" aria-label="Mine" data-status="own">
        {(value) => <b>{value?.progress ?? "?"}</b>}
      </world.Progress>,
      isStrict,
    );
    expect(page.text).toBe("?");
    await acting(() => world.stream(start, change("k3v9-5", "set", task)));
    expect(page.text).toBe("40.7");
    expect(attributesOf(page.container.firstElementChild)).toMatchObject({
      ...{ class: "bar", "aria-label": "Mine", "data-status": "own" },
    });
  });

  it("can be any other element", async () => {
    const world = bar();
    const page = await render(
      <world.Progress
        task="task/42"
        id="x"
        render={(attributes, value) => <span {...attributes}>{value?.status}</span>}
      />,
      isStrict,
    );
    await acting(() => world.stream(start, change("k3v9-5", "set", task)));
    expect(page.container.firstElementChild?.tagName).toBe("SPAN");
    expect(attributesOf(page.container.firstElementChild)).toMatchObject({
      ...{ role: "progressbar", id: "x", "aria-valuenow": "40.7" },
    });
    expect(page.text).toBe("running");
  });

  it("is the same bar while the task changes", async () => {
    const world = bar();
    const page = await render(<world.Progress task="task/42">text</world.Progress>, isStrict);
    const element = page.container.firstElementChild;
    await acting(() => world.stream(start, change("k3v9-5", "set", task)));
    await page.render(<world.Progress task="task/43">text</world.Progress>);
    expect(page.container.firstElementChild).toBe(element);
    expect(attributesOf(element)["aria-valuenow"]).toBeUndefined();
    expect(page.text).toBe("text");
  });
});

it("a server renders it as one that does not know yet", () => {
  const world = bar();
  expect(renderToString(<world.Progress task="task/42" />)).toMatch(
    /^<div role="progressbar"[^>]* aria-busy="true"><\/div>$/,
  );
  expect(world.server.requests.length).toBe(0);
});
