/** The sources that components and elements share. */
import { expect, it } from "vitest";
import type { Source } from "../src/index.js";
import { statusOf, withSource } from "../src/sources.js";
import { connected, createClock, createPage, createServer } from "../src/testing/index.js";

const use = (source: Source) => source.on("message", () => {});

it("one that is refused after its last user has left is made anew for the next", async () => {
  const server = createServer();
  const options = () => ({ url: "http://hub.test/events", ...createClock(), ...createPage(), ...server });
  withSource("key", options, use)();
  await (await server.next()).answer(403);
  expect(statusOf("key")).toBeUndefined();
  const end = withSource("key", options, use);
  await (await (await server.next()).open()).send(connected("k3v9-4"));
  expect(statusOf("key")?.state).toBe("open");
  end();
});
