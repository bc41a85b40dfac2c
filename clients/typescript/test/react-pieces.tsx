/** A page in a test's hands, with a React root on it. */
import { act, Component, type ReactNode, StrictMode, version } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { afterEach, beforeEach, expect, inject, it, vi } from "vitest";
import type { Source } from "../src/index.js";
import { type Clock, settle } from "../src/testing/index.js";

/** A second after the last use, a source lets go of its connection. */
export const LINGER_MS = 1000;

/** With and without React's development mode that does everything twice. */
export const MODES = [
  ["StrictMode", true],
  ["no StrictMode", false],
] as const;

const roots: Root[] = [];
let complaints: unknown[][] = [];

/** What was said on the console since the last time; a test that does not look has nothing said. */
export const complained = (): unknown[][] => complaints.splice(0);

/** Whether updates wait for `act`; without, React works as in a page. */
export const setActing = (isActing: boolean): void => {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: isActing });
};

/** Lets React do what it has to do when nobody calls `act`: each of its tasks is a turn. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) {
    await settle();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Lets React work until something is so, if that depends on its timers; the test's time limit ends it else. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turns(1);
}

/** To be called by each file: cleans up after its tests, and fails those with a complaint. */
export function withReact(): void {
  beforeEach(() => {
    setActing(true);
    complaints = [];
    vi.spyOn(console, "error").mockImplementation((...said) => void complaints.push(said));
    vi.spyOn(console, "warn").mockImplementation((...said) => void complaints.push(said));
  });
  afterEach(async () => {
    setActing(true);
    for (const root of roots.splice(0)) await act(async () => root.unmount());
    setActing(false); // what still waited for a source hears that it is closed
    vi.restoreAllMocks();
    expect(complained()).toEqual([]);
  });
  it("runs with the React that it says", () => {
    expect(version.startsWith(inject("react" as never))).toBe(true);
  });
}

export interface Rendered {
  readonly container: HTMLElement;
  readonly text: string;
  render(node: ReactNode): Promise<void>;
  unmount(): Promise<void>;
}

function rendered(container: HTMLElement, root: Root, isStrict: boolean): Rendered {
  roots.push(root);
  return {
    container,
    get text() {
      return container.textContent ?? "";
    },
    render: (node) => act(async () => root.render(isStrict ? <StrictMode>{node}</StrictMode> : node)),
    unmount: () => act(async () => root.unmount()),
  };
}

export async function render(node: ReactNode, isStrict = false): Promise<Rendered> {
  const container = document.createElement("div");
  const page = rendered(container, createRoot(container), isStrict);
  await page.render(node);
  return page;
}

/** Renders as a page does, where nobody calls `act`. */
export async function renderAsPage(node: ReactNode): Promise<HTMLElement> {
  setActing(false);
  const container = document.createElement("div");
  const root = createRoot(container);
  roots.push(root);
  root.render(node);
  await turns();
  return container;
}

/** Renders on what a server said. errors: those that React got over. */
export async function hydrate(html: string, node: ReactNode, errors: unknown[] = [], isStrict = false) {
  const container = document.createElement("div");
  container.innerHTML = html;
  let root!: Root;
  await act(async () => {
    root = hydrateRoot(container, isStrict ? <StrictMode>{node}</StrictMode> : node, {
      onRecoverableError: (error) => void errors.push(error),
    });
  });
  return rendered(container, root, isStrict);
}

/** The same as outside of `act`, and what React does for it. */
export const acting = <T,>(what: () => Promise<T>): Promise<T> => act(what);
export const advance = (clock: Clock, ms: number): Promise<void> => act(() => clock.advance(ms));

/** Shows what is thrown in it. */
export class Caught extends Component<{ children: ReactNode }> {
  override state: { error?: unknown } = {};
  static getDerivedStateFromError = (error: unknown) => ({ error });
  override render() {
    return this.state.error === undefined ? this.props.children : <b>{String(this.state.error)}</b>;
  }
}

/** The same source, and the topics whose values were subscribed to. */
export function counted(source: Source): { source: Source; subscribed: string[] } {
  const subscribed: string[] = [];
  const value = <T,>(topic: string) => {
    const value = source.value<T>(topic);
    const subscribe: typeof value.subscribe = (listener) => {
      subscribed.push(topic);
      return value.subscribe(listener);
    };
    return { ...value, subscribe };
  };
  return { source: { ...source, value }, subscribed };
}
