/**
 * For tests of code that uses a source: a scripted server, and a clock and a page in the test's hands.
 *
 *     const clock = createClock();
 *     const server = createServer();
 *     const source = createSource({ url: "http://hub.test/events", ...clock, ...server, random: () => 0.5 });
 *     source.open();
 *     const stream = await (await server.next()).open();
 *     await stream.send(connected("k3v9-4"));
 */
export { type Clock, createClock, createPage, type Page, settle } from "./clock.js";
export { bye, connected, type FrameParts, frame, gap, heartbeat } from "./frames.js";
export { createServer, type ScriptedRequest, type ScriptedServer, type ScriptedStream } from "./server.js";
