// biome-ignore-all lint/correctness/noComponentHookFactories: each test has components of its own
/** The types of the hooks, for the compiler (`npm run lint`); nothing of this is run. */
import { expect, expectTypeOf, it } from "vitest";
import type { AnyEvents, EventOf, Gap, Source, SourceEvent, Status, Unsubscribe } from "../src/index.js";
import {
  createHooks,
  createProgress,
  type Generation,
  type GenerationValue,
  type Hooks,
  type ProgressValue,
  useSSE,
} from "../src/react/index.js";

interface Events {
  notification: { message: string };
  order: { n: number };
}

it("an event map flows into handlers, reducers and what they give", () => {
  const { useEvent, useReducedEvents, useLatest, useSource } = createHooks({} as Source<Events>);
  const Component = () => {
    useEvent("order", (event) => {
      expectTypeOf(event.data).toEqualTypeOf<{ n: number }>();
      expectTypeOf(event.type).toEqualTypeOf<"order">();
    });
    useEvent("gap", ({ data }) => expectTypeOf(data).toEqualTypeOf<Gap>(), { topic: "a", enabled: true });
    // @ts-expect-error: there is no such type
    useEvent("ordre", () => {});
    const sum = useReducedEvents(
      ["order", "notification"],
      (sum, event) => {
        expectTypeOf(event).toEqualTypeOf<EventOf<Events, "order" | "notification">>();
        return event.type === "order" ? sum + event.data.n : sum + event.data.message.length;
      },
      0,
    );
    expectTypeOf(sum).toEqualTypeOf<number>();
    const list = useReducedEvents("order", (all: number[], { data }) => [...all, data.n], []);
    expectTypeOf(list).toEqualTypeOf<number[]>();
    // @ts-expect-error: one of them is not there
    useReducedEvents(["order", "ordre"], (sum) => sum, 0);
    expectTypeOf(useLatest("order")).toEqualTypeOf<SourceEvent<{ n: number }, "order"> | undefined>();
    expectTypeOf(useSource()).toEqualTypeOf<Source<Events>>();
  };
  expect(Component).toBeTypeOf("function");
  expectTypeOf(createHooks<Events>().SourceProvider).parameter(0).toExtend<{ value: Source<Events> | undefined }>();
});

it("without a map data is anything", () => {
  const hooks = createHooks();
  expectTypeOf(hooks).toEqualTypeOf<Hooks<AnyEvents>>();
  const Component = () => {
    hooks.useEvent("whatever", ({ data }) => expectTypeOf(data).toBeAny());
    expectTypeOf(hooks.useLatest("whatever")?.data).toBeAny();
  };
  expect(Component).toBeTypeOf("function");
});

it("a value has the type that is asked for, is selected, or is there from the beginning", () => {
  const { useValue, useValueSuspense, useProgress, useGeneration, useSourceStatus } = createHooks();
  const Component = () => {
    expectTypeOf(useValue("t")).toEqualTypeOf<unknown>();
    expectTypeOf(useValue<number>("t")).toEqualTypeOf<number | undefined>();
    expectTypeOf(useValue("t", { initial: [1] })).toEqualTypeOf<number[]>();
    expectTypeOf(useValue("t", { select: (value?: number[]) => value?.length })).toEqualTypeOf<number | undefined>();
    expectTypeOf(useValue("t", { initial: [1], select: (list) => list.length })).toEqualTypeOf<number>();
    const options = { select: (value?: ProgressValue) => value?.steps ?? [], isEqual: () => true };
    expectTypeOf(useValue("t", options)).toEqualTypeOf<ProgressValue["steps"]>();
    // @ts-expect-error: without `initial` there may be no value
    useValue("t", { select: (value: number[]) => value.length });
    expectTypeOf(useValueSuspense<number>("t")).toEqualTypeOf<number>();
    expectTypeOf(useProgress("t")).toEqualTypeOf<ProgressValue | undefined>();
    expectTypeOf(useGeneration("t")).toEqualTypeOf<Generation>();
    expectTypeOf(useGeneration("t").text).toEqualTypeOf<string>();
    expectTypeOf(useGeneration("t").status).toEqualTypeOf<GenerationValue["status"] | undefined>();
    expectTypeOf(useGeneration("t").stop).toEqualTypeOf<() => Promise<void>>();
    expectTypeOf(useSourceStatus()).toEqualTypeOf<Status>();
    expectTypeOf(useSourceStatus(({ state }) => state === "open")).toEqualTypeOf<boolean>();
  };
  expect(Component).toBeTypeOf("function");
});

it("a progress bar takes the hooks of any source, and what an element takes", () => {
  const Progress = createProgress({} as Hooks<Events>);
  const Component = () => [
    <Progress key="1" task="t" className="a" onClick={() => {}} />,
    <Progress key="2" task="t">
      {(value) => {
        expectTypeOf(value).toEqualTypeOf<ProgressValue | undefined>();
        return value?.title;
      }}
    </Progress>,
    <Progress key="3" task="t" render={(attributes) => <meter {...attributes} />} />,
    // @ts-expect-error: of which task?
    <Progress key="4" />,
  ];
  expect(Component).toBeTypeOf("function");
});

it("useSSE knows the events, too", () => {
  const Component = () => {
    const { subscribe, status } = useSSE<Events>("/events", { topics: "a", headers: { a: "b" } });
    expectTypeOf(status).toEqualTypeOf<Status>();
    const off = subscribe("order", ({ data }) => expectTypeOf(data).toEqualTypeOf<{ n: number }>());
    expectTypeOf(off).toEqualTypeOf<Unsubscribe>();
    // @ts-expect-error: there is no such type
    subscribe("ordre", () => {});
    useSSE("/events", { share: "browser", user: "ann" });
    // @ts-expect-error: whose?
    useSSE("/events", { share: "browser" });
  };
  expect(Component).toBeTypeOf("function");
});
