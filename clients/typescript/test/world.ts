import { afterEach } from "vitest";
import {
  type AnyEvents,
  createSource,
  type Environment,
  type Sharing,
  type Source,
  type SourceError,
  type Status,
  type StreamOptions,
} from "../src/index.js";
import {
  type Clock,
  connected,
  createClock,
  createPage,
  createServer,
  frame,
  type Page,
  type ScriptedRequest,
  type ScriptedServer,
  type ScriptedStream,
} from "../src/testing/index.js";

export const URL_OF_HUB = "http://hub.test/events";

/** A source in a test's hands, and what it said. */
export interface World<Events extends object = AnyEvents> {
  source: Source<Events>;
  server: ScriptedServer;
  clock: Clock;
  page: Page;
  errors: SourceError[];
  statuses: Status[];
  /** State and reason of each status so far. */
  states(): string[];
  /** The next request, answered with a stream that begins with these bytes. */
  stream(...said: string[]): Promise<[ScriptedStream, ScriptedRequest]>;
}

const opened: { close(): void }[] = [];

afterEach(() => {
  for (const source of opened.splice(0)) source.close();
});

export function createWorld<Events extends object = AnyEvents>(
  options: Partial<StreamOptions> & Sharing = {},
): World<Events> {
  const server = createServer();
  const clock = createClock();
  const page = createPage();
  const environment: Environment = { ...server, ...clock, ...page, random: () => 0 };
  const source = createSource<Events>({ url: URL_OF_HUB, ...environment, ...options });
  const errors: SourceError[] = [];
  const statuses: Status[] = [];
  source.onError((error) => errors.push(error));
  source.onStatus((status) => statuses.push(status));
  opened.push(source);
  return {
    ...{ source, server, clock, page, errors, statuses },
    states: () => statuses.map(({ state, reason }) => (reason ? `${state}: ${reason}` : state)),
    async stream(...said) {
      const request = await server.next();
      const stream = await request.open();
      if (said.length) await stream.send(said.join(""));
      return [stream, request];
    },
  };
}

/** An event of a hub; its data is its offset, unless there is other. */
export const event = (offset: number, data: unknown = offset, type?: string, topic = "news"): string =>
  frame({ id: `k3v9-${offset}`, ...(type !== undefined && { event: type }), topic, data });

/** A change of a value. */
export const change = (id: string, what: string, data: unknown, topic = "task/42"): string =>
  frame({ id, event: what === "set" ? "value" : `value.${what}`, topic, change: what, data });

/** A stream that begins at an offset, and goes on from what the client has. */
export const resumed = (id: string): string => connected(id, { mode: "resumed", values: "changed" });
