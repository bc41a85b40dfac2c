// The built package against a real hub: `node scripts/against-hub.mjs http://127.0.0.1:8000`. What it needs there:
// the ready-made router, which lets `Bearer good` read and publish everything as the user `ann` and answers `Bearer bad`
// with 401, and `POST /values/{set,append,merge,delete}` with `{"topic", "data"}` for the hub's call of that name.
import assert from "node:assert/strict";
import { createSource } from "../dist/index.js";
import { createPublisher } from "../dist/publish.js";

const base = process.argv[2];
const PATIENCE_MS = 10_000;

/** Resolves once a condition holds, which is looked at whenever the source says something. */
function until(source, condition) {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (!condition()) return;
      for (const off of offs) off();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(() => reject(new Error(`never: ${condition}`)), PATIENCE_MS);
    const offs = [source.onBatch(() => queueMicrotask(look)), source.onStatus(look)];
    look();
  });
}

async function change(what, topic, data = null) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(`${base}/values/${what}`, {
    method: "POST",
    headers,
    body: JSON.stringify({ topic, data }),
  });
  assert.equal(response.status, 200, what);
}

const publisher = createPublisher({ url: base, token: "good" });
const asked = [];
const errors = [];
const got = [];
const source = createSource({
  url: `${base}/events`,
  topics: ["task/*", "news"],
  headers(refused) {
    asked.push(refused);
    return { authorization: asked.length === 1 ? "Bearer bad" : "Bearer good" };
  },
});
source.onError((error) => errors.push(error.code));
for (const type of ["news", "note", "all"]) source.on(type, ({ data, topic }) => got.push([type, data, topic]));
const task = source.value("task/42");

await change("set", "task/42", { n: 1, text: "Hel" });
source.open();
await until(source, () => task.get()?.text === "Hel");
assert.deepEqual(asked, [undefined, 401]);

const receipt = await publisher.publish("news", { a: 1 }, { event: "news", key: "one" });
assert.equal(receipt.duplicate, false);
assert.deepEqual(await publisher.publish("news", { a: 1 }, { event: "news", key: "one" }), {
  ...receipt,
  sent: 0,
  duplicate: true,
});
await publisher.sendToUser("ann", { b: 2 }, { event: "note" });
await publisher.broadcast({ c: 3 }, { event: "all" });
await change("append", "task/42", { text: "lo" });
await change("merge", "task/42", { n: null, m: 2 });
await until(source, () => task.get()?.m === 2);
assert.deepEqual(task.get(), { text: "Hello", m: 2 });
assert.deepEqual(
  got.map(([type, data]) => [type, data]),
  [
    ["news", { a: 1 }],
    ["note", { b: 2 }],
    ["all", { c: 3 }],
  ],
);

await change("set", "other", 5);
source.subscribeTopics(["other"], ["task/*"]);
await until(source, () => source.value("other").get() === 5 && task.get() === undefined);
source.reconnect();
await publisher.publish("news", { d: 4 }, { event: "news" });
await until(source, () => got.length === 4);
await assert.rejects(publisher.publish("@all", 1), { name: "PublishError", status: 422 });
assert.deepEqual(errors, []);
source.close();
console.log("all as it should be");
