/**
 * Reads an event stream: bytes in, messages out.
 *
 * The standard is WHATWG HTML 9.2.6, "Interpreting an event stream"; its sentences stand, quoted, where they are carried
 * out. Beyond it there are a bound on the size of an event, the fields `topic` and `change` (which the standard has
 * every client ignore), and a cap on absurd `retry` values.
 */

/** Bytes: room for 16 million ASCII characters, and a bound on what a hostile server can cost its reader. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;
/** Almost 25 days: the longest delay that timers hold. */
const MAX_RETRY_MS = 2 ** 31 - 1;

/** One dispatched event of a stream. */
export interface Message {
  readonly type: string;
  readonly data: string;
  /** The id in force when the event was dispatched; not always this event's own. */
  readonly lastEventId: string;
  /** Clarion's own field; empty if the event has none. */
  readonly topic: string;
  /** What it does to its topic's value: `set`, `append`, `merge` or `delete`, or whatever else is said; empty if nothing. */
  readonly change: string;
}

export interface ParserOptions {
  /** Bounds a block: the UTF-8 bytes of its lines, without line ends and comments. 16 MiB by default. */
  maxEventBytes?: number | undefined;
  /** Where the connection resumes from: a first block without an id must not make the next one lose its place. */
  lastEventId?: string | undefined;
  /**
   * Called once for each block that is larger than the bound. It is skipped up to its blank line, its id too.
   * id: what the block had set before it grew too large.
   */
  onTooLarge?: ((id: string | undefined) => void) | undefined;
}

/** Turns the bytes of one connection into messages, however they are cut into chunks. */
export interface Parser {
  /** What a reconnect has to send as `Last-Event-ID`; empty if there is none. */
  readonly lastEventId: string;
  /** The reconnection time that the stream asked for last, in milliseconds; null if it never did. */
  readonly retryMs: number | null;
  /**
   * Reads a chunk, and calls `onMessage` with each message that it completes. No bytes whatever make it throw.
   *
   * Nothing has to be said at the end of the stream: "Once the end of the file is reached, any pending data must be
   * discarded."
   */
  feed(chunk: Uint8Array): void;
}

/** A parser for one connection. */
export function createParser(
  onMessage: (message: Message) => void,
  { maxEventBytes = MAX_EVENT_BYTES, lastEventId = "", onTooLarge }: ParserOptions = {},
): Parser {
  // Decoding without `stream` is many times faster in Node before 22, and most chunks end with a whole character.
  const whole = new TextDecoder(undefined, { ignoreBOM: true });
  const parts = new TextDecoder(undefined, { ignoreBOM: true });
  // "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any." After a CR, a LF is the same
  // line end.
  let drop = "\uFEFF"; // if it comes next
  let cut = false; // perhaps in the middle of a character
  let line = ""; // the beginning of an unfinished line; a colon, if nothing of it is wanted
  let bytes = 0; // of the block; over the bound, it is skipped
  let data: string | undefined;
  let id: string | undefined;
  let type = "";
  let topic = "";
  let change = "";

  const field = (name: string, value: string) => {
    if (name === "data") {
      // "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF) character to the data
      // buffer." The last one is removed again at the blank line, so it stands between two.
      data = data === undefined ? value : `${data}\n${value}`;
    } else if (name === "id") {
      // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field value.
      // Otherwise, ignore the field."
      if (!value.includes("\0")) id = value;
    } else if (name === "event") {
      type = value;
    } else if (name === "topic") {
      topic = value;
    } else if (name === "change") {
      change = value;
    } else if (name === "retry" && /^\d+$/.test(value)) {
      // "If the field value consists of only ASCII digits, then interpret the field value as an integer in base ten,
      // and set the event stream's reconnection time to that integer."
      parser.retryMs = Math.min(+value, MAX_RETRY_MS);
    }
  };

  const lineEnd = () => {
    if (line) {
      const colon = line.indexOf(":");
      // "If value starts with a U+0020 SPACE character, remove it from value."
      const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
      const name = colon < 0 ? line : line.slice(0, colon);
      line = "";
      field(name, value);
    } else {
      // "Set the last event ID string of the event source to the value of the last event ID buffer." This comes before
      // the data is looked at: a block of nothing but an id counts.
      parser.lastEventId = id ??= parser.lastEventId;
      const message = data !== undefined && { type: type || "message", data, lastEventId: id, topic, change };
      type = topic = change = "";
      data = id = undefined;
      bytes = 0;
      // "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string and
      // return."
      if (message) onMessage(message);
    }
  };

  const take = (part: string, plain: boolean) => {
    // "If the line starts with a U+003A COLON character (:), ignore the line."
    if (bytes > maxEventBytes || line === ":" || (!line && part[0] === ":")) line = ":";
    else {
      line += part;
      bytes += plain ? part.length : new TextEncoder().encode(part).length;
      if (bytes > maxEventBytes) {
        onTooLarge?.(id);
        line = ":";
        data = id = undefined;
      }
    }
  };

  const parser = {
    lastEventId,
    retryMs: null as number | null,
    feed(chunk: Uint8Array) {
      const begun = cut;
      cut = !((chunk[chunk.length - 1] as number) < 128);
      let text = begun || cut ? parts.decode(chunk, { stream: true }) : whole.decode(chunk);
      if (!text) return;
      // As many characters as bytes: each is one byte, unless the first one began in the chunk before.
      const plain = !begun && text.length === chunk.length;
      if (text[0] === drop) text = text.slice(1);
      drop = text.endsWith("\r") ? "\n" : "";
      if (text.includes("\r")) text = text.replace(/\r\n?/g, "\n");
      let start = 0;
      for (;;) {
        const end = text.indexOf("\n", start);
        const part = text.slice(start, end < 0 ? text.length : end);
        if (part) take(part, plain);
        if (end < 0) return;
        lineEnd();
        start = end + 1;
      }
    },
  };
  return parser;
}
