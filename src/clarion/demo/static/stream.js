// The one connection: a plain EventSource, with its life written down, and the values that it tells of.

import { Values } from "./values.js";

const TYPES = [
  "connected", "heartbeat", "gap", "bye", "machine", "people", "chat", "notification",
  "progress", "generation", "generation.append", "generation.merge",
];
const VALUES = new Set(["progress", "generation"]);
const CONTROL = new Set(["connected", "heartbeat", "gap", "bye"]);
const SILENCE = 2.5; // heartbeat intervals without a byte, after which a line that looks open is taken for dead

/** "k3v9-1042~7" as {epoch, offset, told, whole}; offsets stay below 2**53 in any demo. */
function position(id) {
  const [, epoch, offset, told = offset] = /^(\w+)-(\d+)(?:~(\d+))?$/.exec(id) ?? ["", "", NaN];
  return { epoch, offset: Number(offset), told: Number(told), whole: !id.includes("~") };
}

/**
 * Emits "state" when something about the connection changed, "log" for its log, "event" for every event, and
 * each event's own type. The detail of an event: {type, id, topic, data, text, replayed, history}. `replayed` events
 * were behind the reader when it connected; `history` is the replay of the page's first connection.
 *
 * Emits "value" with {topic, value} when one changed; the value is undefined if there is none any more.
 */
export class Stream extends EventTarget {
  state = "connecting";
  lastId = "";
  clientId = "";
  mode = "";
  heartbeatMs = 15_000;
  signAt = 0;
  counts = { events: 0, replayed: 0, gaps: 0, disorder: 0 };

  #user;
  #tab;
  #source = null;
  #values = new Values();
  #changed = new Set(); // their topics, since they were shown
  #head = 0; // where the journal ended when this connection began
  #seen = position("");
  #connections = 0;
  #refused = false; // since the last connection
  #reopenTimer = 0;

  constructor(user, tab) {
    super();
    this.#user = user;
    this.#tab = tab;
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.state !== "live" && this.reopen("the network is back"));
    addEventListener("pageshow", (shown) => shown.persisted && this.reopen("the page is back"));
  }

  open() {
    clearTimeout(this.#reopenTimer);
    const query = new URLSearchParams({ user: this.#user, tab: this.#tab });
    // A new EventSource cannot send a Last-Event-ID header, so its cursor travels in the query.
    if (this.lastId) query.set("last_event_id", this.lastId);
    const source = new EventSource(`/events?${query}`);
    this.#source = source;
    this.signAt = Date.now();
    for (const type of TYPES) source.addEventListener(type, (event) => this.#receive(source, event));
    source.addEventListener("error", () => this.#broken(source));
    this.#become(this.lastId ? "reconnecting" : "connecting");
  }

  reopen(why) {
    this.#log(`Opened anew: ${why}`);
    this.#source?.close();
    this.open();
  }

  become(user) {
    this.#user = user;
    this.reopen(`you are ${user} now`);
  }

  #receive(source, event) {
    if (source !== this.#source) return; // a late word of a connection that was given up
    this.signAt = Date.now();
    const { type, data: text, lastEventId: id } = event;
    const data = JSON.parse(text);
    const detail = { type, id, topic: this.#topic(type, data), text, data };
    if (id) this.lastId = id;
    if (CONTROL.has(type)) this.#control(detail);
    else this.#count(detail);
    this.#fold(detail);
    this.#emit(type, detail);
    this.#emit("event", detail);
    this.#emit("state");
  }

  /** A plain EventSource is not told a frame's topic, but here the types say it. */
  #topic(type, data) {
    if (CONTROL.has(type)) return "";
    if (type === "notification") return `@user/${this.#user}`;
    if (type === "progress") return data.taskId;
    return type.startsWith("generation") ? "text" : type;
  }

  /** Keep the values up to date. They are shown when all are told: before that, some are newer than others. */
  #fold({ type, id, topic, data }) {
    const [name, change = "set"] = type.split(".");
    if (VALUES.has(name)) {
      this.#changed.add(topic);
      try {
        this.#values.apply(topic, change, data);
      } catch {
        this.lastId = id.replace(/(~\d+)?$/, "~0"); // no event again, but all values
        this.reopen(`a change of ${topic} did not fit`);
        return;
      }
    }
    const { offset, whole } = position(id);
    if (!whole) return;
    if (offset >= this.#head) for (const gone of this.#values.caughtUp()) this.#changed.add(gone);
    for (const changed of this.#changed) this.#emit("value", { topic: changed, value: this.#values.get(changed) });
    this.#changed.clear();
  }

  #control({ type, data }) {
    if (type === "connected") {
      this.#connections += 1;
      this.#refused = false;
      this.clientId = data.clientId;
      this.mode = data.mode;
      this.heartbeatMs = data.heartbeat;
      this.#head = position(data.to).offset;
      this.#seen = position(data.from);
      if (data.values === "all") this.#values.begin();
      const behind = this.#head - this.#seen.offset;
      this.#log(`Connected, ${data.mode}${behind > 0 && data.mode !== "live" ? `: reading on from ${data.from}` : ""}`);
      this.#become("live");
    } else if (type === "gap") {
      this.counts.gaps += 1;
      this.#log(`Gap told: ${data.reason}${data.missed === null ? "" : `, ${data.missed} missed`}`);
    } else if (type === "bye") {
      this.#log(`Server said goodbye: ${data.detail ?? data.reason}`);
    }
  }

  #count(detail) {
    const place = position(detail.id);
    const seen = this.#seen;
    detail.replayed = place.offset <= this.#head;
    detail.history = detail.replayed && this.#connections === 1;
    this.counts.events += 1;
    if (detail.replayed) this.counts.replayed += 1;
    const rises = place.offset > seen.offset || (place.offset === seen.offset && place.told > seen.told);
    if (place.epoch === seen.epoch && !rises) this.counts.disorder += 1;
    this.#seen = place;
  }

  #broken(source) {
    if (source !== this.#source) return;
    if (source.readyState !== EventSource.CLOSED) {
      if (this.state === "live") this.#log("Connection lost; the browser will try again");
      this.#become("reconnecting");
      return;
    }
    // Browsers give up for ever on an answer like 503; a page need not.
    const wait = 2000 + Math.random() * 3000;
    if (!this.#refused) this.#log("Refused: the answer was no stream. The page tries again every few seconds");
    this.#refused = true;
    this.#become("closed");
    clearTimeout(this.#reopenTimer);
    this.#reopenTimer = setTimeout(() => this.open(), wait);
  }

  #watch() {
    if (this.state === "live" && Date.now() - this.signAt > SILENCE * this.heartbeatMs) this.reopen("it had gone silent");
    this.#emit("state");
  }

  #become(state) {
    this.state = state;
    this.#emit("state");
  }

  #log(text) {
    this.#emit("log", { text, at: Date.now() });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
