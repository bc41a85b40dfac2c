// What has happened on the connection, for the panel that shows it. A page that only wants its events needs none of this.

/** "k3v9-1042~7" as {epoch, offset, told}; offsets stay below 2**53 in any demo. */
function position(id) {
  const [, epoch, offset, told = offset] = /^(\w+)-(\d+)(?:~(\d+))?$/.exec(id) ?? ["", "", NaN];
  return { epoch, offset: Number(offset), told: Number(told) };
}

const FINAL = /refused|kicked|no-stream/;
const WHY = {
  network: "Connection lost",
  silent: "Nothing was heard for too long",
  drain: "Server said goodbye: it goes away",
  limit: "Server said goodbye: this stream is old enough",
  value: "A value did not fit; all are asked for anew",
};

/** Emits "change" when something about the connection changed, and "log" with {text, at} for its log. */
export class Record extends EventTarget {
  state = "connecting"; // or live, reconnecting, closed
  lastId = "";
  clientId = "";
  mode = "";
  heardAt = Date.now(); // when the last event or heartbeat came
  counts = { events: 0, replayed: 0, gaps: 0, disorder: 0 };

  #head = 0; // where the journal ended when this connection began
  #seen = position("");
  #connections = 0;

  constructor(source) {
    super();
    source.on("connected", ({ data }) => this.#connected(data));
    source.on("bye", ({ data }) => data.detail && this.#log(`Server said goodbye: ${data.detail}`));
    source.onGap(({ reason, missed }) => {
      this.counts.gaps += 1;
      this.#seen = position("");
      this.#log(`Gap told: ${reason}${missed === null ? "" : `, ${missed} missed`}`);
    });
    source.onBatch((events) => {
      this.heardAt = Date.now();
      for (const event of events) if (event.topic) this.#count(event);
      this.lastId = events.at(-1).lastEventId;
      this.#emit("change");
    });
    source.onStatus((status) => this.#moved(status));
    source.onError(({ code, cause }) => {
      // That these end the stream, its status says.
      if (!FINAL.test(code)) this.#log(`Error: ${code}${cause === undefined ? "" : ` (${cause})`}`);
    });
    setInterval(() => this.#emit("change"), 1000);
  }

  /** Whether an event was behind this reader when it connected. */
  isReplayed({ topic, lastEventId }) {
    return !!topic && position(lastEventId).offset <= this.#head;
  }

  /** Whether it is from before this page was there. */
  isHistory(event) {
    return this.#connections === 1 && this.isReplayed(event);
  }

  #connected({ clientId, mode, from, to }) {
    this.#connections += 1;
    this.#head = position(to).offset;
    this.clientId = clientId;
    this.mode = mode;
    const isBehind = this.#head > position(from).offset && mode !== "live";
    this.#log(`Connected, ${mode}${isBehind ? `: reading on from ${from}` : ""}`);
  }

  #count(event) {
    const place = position(event.lastEventId);
    const { epoch, offset, told } = this.#seen;
    const rises = place.offset > offset || (place.offset === offset && place.told > told);
    if (place.epoch === epoch && !rises) this.counts.disorder += 1;
    this.#seen = place;
    this.counts.events += 1;
    if (this.isReplayed(event)) this.counts.replayed += 1;
  }

  #moved({ state, reason, delayMs, error, connected }) {
    const isOver = state === "closed" && reason !== "kicked"; // the page comes back by itself after that
    this.state = connected && state === "open" ? "live" : isOver ? "closed" : this.#connections ? "reconnecting" : "connecting";
    if (state === "waiting") {
      const why = reason === "status" ? `The server answered with ${error}` : (WHY[reason] ?? reason);
      this.#log(`${why}. The next try is in ${(delayMs / 1000).toFixed(1)} s`);
    }
    if (isOver) this.#log(`Closed: ${reason}${error?.cause ? ` (${error.cause})` : ""}. Reload the page to try again`);
    this.#emit("change");
  }

  #log(text) {
    this.#emit("log", { text, at: Date.now() });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
