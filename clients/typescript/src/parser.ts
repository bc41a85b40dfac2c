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

/** The fields, each at the place that the code of its first letter leads to (`charCodeAt % 100 % 6`). */
const FIELDS = ["data", "event", "retry", "change", "topic", "id"];
const COLON = 58;
const SPACE = 32;
const LF = "\n";
/** Ends a line, and makes a comment of its rest. */
const CUT = "\n:";

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

/** What is known of an event that is not read. */
export interface TooLarge extends Omit<Message, "data"> {
  readonly data: null;
}

export interface ParserOptions {
  /** Bounds a block: the UTF-8 bytes of its lines, without line ends and comments. 16 MiB by default. */
  maxEventBytes?: number | undefined;
  /** Where the connection resumes from: a first block without an id must not make the next one lose its place. */
  lastEventId?: string | undefined;
  /**
   * Called once for each block that is larger than the bound, as soon as it is. It is skipped up to its blank line, its
   * id too. message: what the block said before it grew too large.
   */
  onTooLarge?: ((message: TooLarge) => void) | undefined;
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
  { maxEventBytes = MAX_EVENT_BYTES, lastEventId: id = "", onTooLarge }: ParserOptions = {},
): Parser {
  const decoder = new TextDecoder("utf8", { ignoreBOM: true });
  let last = ""; // character of the stream
  let line = ""; // the beginning of an unfinished one
  let plain: boolean; // as many characters as bytes, in the line and in the chunk
  let bytes = 0; // of the block; over the bound, it is skipped
  let data: string | null = null;
  let type = "";
  let topic = "";
  let change = "";

  const parser = {
    retryMs: null as number | null,
    lastEventId: id,
    feed(chunk: Uint8Array) {
      // Most chunks end with a whole character. Without `stream`, Node before 22 decodes many times faster.
      let text = decoder.decode(chunk, { stream: !((chunk.at(-1) as number) < 128) });
      const first = last + text[0];
      last = text.at(-1) ?? last;
      plain = (!line || plain) && text.length === chunk.length;
      // "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any." A LF after a CR is of the
      // same line end.
      if (/^(\uFEFF|\r\n)$/.test(first)) text = text.slice(1);
      if (text.includes("\r")) text = text.replace(/\r\n?/g, LF);
      // `join` makes one flat text, which is read faster than what `+` makes.
      if (text.includes(LF)) text = [line, text].join("");
      // A line that is too large is read as far as it is there. (It may be a comment.)
      else if (text && (line += text).length + bytes > maxEventBytes) text = line + CUT;
      else return;
      let start = 0;
      for (let end: number; (end = text.indexOf(LF, start)) >= 0; start = end + 1) {
        if (start === end) {
          // "Set the last event ID string of the event source to the value of the last event ID buffer." This comes
          // before the data is looked at: a block of nothing but an id counts.
          parser.lastEventId = id;
          // "If the data buffer is an empty string, set the data buffer and the event type buffer to the empty string
          // and return."
          if (data != null) onMessage({ type: type || "message", data, lastEventId: id, topic, change });
          bytes = 0;
          data = null;
          type = topic = change = "";
          // "If the line starts with a U+003A COLON character (:), ignore the line."
        } else if (text.charCodeAt(start) !== COLON && bytes <= maxEventBytes) {
          bytes += plain ? end - start : new TextEncoder().encode(text.slice(start, end)).length;
          const which = (text.charCodeAt(start) % 100) % 6;
          const name = FIELDS[which] as string;
          const colon = start + name.length;
          if (bytes > maxEventBytes) {
            data = null;
            onTooLarge?.({ type: type || "message", data, lastEventId: id, topic, change });
            id = parser.lastEventId;
          } else if (text.startsWith(name, start) && (text.charCodeAt(colon) === COLON || colon === end)) {
            // "If value starts with a U+0020 SPACE character, remove it from value."
            const value = text.slice(colon + (text.charCodeAt(colon + 1) === SPACE ? 2 : 1), end);
            if (!which) {
              // "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF) character to the
              // data buffer." The last one is removed again at the blank line, so it stands between two.
              data = data != null ? data + LF + value : value;
            } else if (which < 2) type = value;
            else if (which > 4) {
              // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to the field value.
              // Otherwise, ignore the field."
              if (!value.includes("\0")) id = value;
            } else if (which > 3) topic = value;
            else if (which > 2) change = value;
            // "If the field value consists of only ASCII digits, then interpret the field value as an integer in base
            // ten, and set the event stream's reconnection time to that integer."
            else if (/^\d+$/.test(value)) parser.retryMs = Math.min(+value, MAX_RETRY_MS);
          }
        }
      }
      line = text.slice(start);
    },
  };
  return parser;
}
