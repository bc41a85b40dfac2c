/** The types, for the compiler (`npm run lint`); vitest only sees that nothing is thrown. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { expectTypeOf, it } from "vitest";
import {
  createSource,
  type EventOf,
  type Gap,
  type Source,
  type SourceError,
  type SourceEvent,
  type StandardSchema,
  type Status,
  withSchemas,
} from "../src/index.js";
import { createServer } from "../src/testing/index.js";

interface Notification {
  message: string;
}

interface Events {
  notification: Notification;
  order: { n: number };
}

const url = "http://hub.test/";
const { fetch } = createServer();

it("an event map types events, loops and batches", () => {
  const source = createSource<Events>({ url, fetch });
  source.on("notification", (event) => {
    expectTypeOf(event.data).toEqualTypeOf<Notification>();
    expectTypeOf(event.type).toEqualTypeOf<"notification">();
  });
  // @ts-expect-error: there is no such type
  source.on("ordre", () => {});
  source.on("gap", ({ data }) => expectTypeOf(data).toEqualTypeOf<Gap>());
  source.on("heartbeat", ({ data }) => expectTypeOf(data.timestamp).toEqualTypeOf<number>());
  source.onBatch((events) => {
    for (const event of events) {
      if (event.type === "order") expectTypeOf(event.data.n).toEqualTypeOf<number>();
    }
  });
  expectTypeOf(source.events("order")).toEqualTypeOf<AsyncIterableIterator<EventOf<Events, "order">>>();
  expectTypeOf(source.onGap).parameter(0).parameter(0).toEqualTypeOf<Gap>();
  expectTypeOf(source.onError).parameter(0).parameter(0).toEqualTypeOf<SourceError>();
  expectTypeOf(source.status).toEqualTypeOf<Status>();
  source.close();
});

it("without a map data is anything", () => {
  const source = createSource({ url, fetch });
  expectTypeOf(source).toEqualTypeOf<Source>();
  source.on("whatever", (event) => {
    expectTypeOf(event.data).toBeAny();
    expectTypeOf(event).toExtend<SourceEvent>();
  });
  source.close();
});

it("a value has the type that is asked for, or is not there", () => {
  const source = createSource({ url, fetch });
  expectTypeOf(source.value<Notification>("t").get()).toEqualTypeOf<Notification | undefined>();
  expectTypeOf(source.value("t").get()).toEqualTypeOf<unknown>();
  source.close();
});

it("a schema must give what the map says", () => {
  expectTypeOf<StandardSchemaV1<unknown, { n: number }>>().toExtend<StandardSchema<{ n: number }>>();
  const schema = {} as StandardSchemaV1<unknown, { n: number }>;
  createSource<Events>({ url, fetch, decode: withSchemas<Events>({ order: schema }) }).close();
  // @ts-expect-error: a notification is something else
  createSource<Events>({ url, fetch, decode: withSchemas<Events>({ notification: schema }) }).close();
});

it("who shares says whose stream it is", () => {
  createSource({ url, fetch, share: "browser", user: "" }).close();
  createSource({ url, fetch, user: "ann" }).close();
  // @ts-expect-error: no user
  createSource({ url, fetch, share: "browser" }).close();
});
