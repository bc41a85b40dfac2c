import { describe, expect, it } from "vitest";
import { delayMs, retryAfterMs, stateAfter } from "../src/policy.js";
import { WAYS } from "../src/states.js";
import type { State } from "../src/types.js";
import { vectors } from "./pieces.js";
import { createWorld } from "./world.js";

interface Backoff {
  name: string;
  retry: number | null;
  min: number;
  cap: number;
  failures: number;
  at_least: number;
  random: number;
  delay: number;
}

interface Answer {
  name: string;
  status: number;
  content_type?: string;
  location?: string;
  fresh_credentials?: boolean;
  action: "open" | "done" | "redirect" | "ask_again" | "wait" | "close";
}

interface RetryAfter {
  name: string;
  value: string;
  now: number;
  delay: number;
}

interface Failures {
  name: string;
  stable: number;
  events: ["opened" | "lost" | "bye" | "forget", number][];
  failures: number[];
}

describe("backoff.json", () => {
  it.each(vectors<Backoff>("policy", "backoff.json"))("$name", (vector) => {
    const { retry, min, cap, failures, at_least, random, delay } = vector;
    expect(delayMs(retry, min, cap, failures, at_least, random)).toBe(delay);
  });
});

describe("status.json", () => {
  // Redirects are followed by `fetch`; see the vectors of `http`.
  const cases = vectors<Answer>("policy", "status.json").filter(({ action }) => action !== "redirect");
  const states = { open: "open", done: "closed", ask_again: "connecting", wait: "waiting", close: "closed" };

  it.each(cases)("$name", ({ status, content_type, fresh_credentials, action }) => {
    const state = stateAfter(status, content_type ?? null, fresh_credentials ?? false);
    expect(state).toBe(states[action as keyof typeof states]);
  });
});

describe("retry-after.json", () => {
  it.each(vectors<RetryAfter>("policy", "retry-after.json"))("$name", ({ value, now, delay }) => {
    expect(retryAfterMs(value, now)).toBe(delay);
  });

  it("takes an absent header for none", () => {
    expect(retryAfterMs(null, 1_793_709_045_000)).toBe(0);
  });
});

describe("failures.json", () => {
  // The wait tells how many failures it is counted with; the floor is above what a stream says, or does not.
  const FLOOR_MS = 4000;
  const least = (failures: number) => Math.floor(FLOOR_MS / 2 + 0.5 * (FLOOR_MS * 2 ** failures - FLOOR_MS / 2));

  it.each(vectors<Failures>("policy", "failures.json"))("$name", async ({ events, failures }) => {
    const world = createWorld({ random: () => 0.5, minDelayMs: FLOOR_MS, maxDelayMs: 1e9 });
    const { source, clock, server } = world;
    const startMs = clock.now();
    const waits: number[] = [];
    source.onStatus(({ state, delayMs, reason }) => {
      if (state === "waiting" && reason !== "drain") waits.push(delayMs as number);
    });
    source.open();
    let stream: Awaited<ReturnType<typeof world.stream>>[0] | undefined;
    for (const [what, atMs] of events) {
      clock.sleep(startMs + atMs - clock.now());
      if (what === "forget") {
        source.reconnect();
      } else if (source.status.state === "waiting") {
        // However long it waits: the vectors look at what happens, not when it may.
        source.close();
        source.open();
      }
      if (what === "opened") [stream] = await world.stream("retry: 0\n\n");
      else if (what === "lost") await (stream ? stream.fail() : (await server.next()).fail());
      else if (what === "bye") {
        const said = { clientId: "c", mode: "live", from: "", to: "", heartbeat: 0 };
        await stream?.send(`event: connected\ndata: ${JSON.stringify(said)}\n\n`);
        await stream?.send('event: bye\ndata: {"reason":"drain","retry":0}\n\n');
      }
      if (what !== "opened") stream = undefined;
    }
    expect(waits).toEqual(failures.map(least));
  });
});

it("has no way out of the table", () => {
  const states = Object.keys(WAYS) as State[];
  expect(states.sort()).toEqual(["closed", "connecting", "idle", "open", "paused", "waiting"]);
  for (const [to, from] of Object.entries(WAYS)) {
    for (const state of from.split(" ")) expect(states, `to ${to}`).toContain(state);
  }
  // What is over does not come back by itself, and a stream is opened by an answer only.
  expect(states.filter((to) => WAYS[to].includes("closed"))).toEqual(["connecting"]);
  expect(WAYS.open).toBe("connecting");
});
