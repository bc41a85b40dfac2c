/** What a topic's value is after a change (spec/stream.md, section 10). */

/** What an event does to its topic's value. */
export type Change = "set" | "append" | "merge" | "delete";

/** `[object Array]`, for example. */
const kindOf = (value: unknown): string => ({}).toString.call(value);
const isObject = (value: unknown): value is object => kindOf(value) === kindOf({});

/**
 * The value after one change; undefined stands for no value. A merge takes a patch, or a list of them. A change of a kind
 * that is not known leaves the value alone.
 *
 * It changes nothing that it is given. Throws a `TypeError` for a change that does not fit the value.
 */
export function applyChange(value: unknown, change: string, data: unknown): unknown {
  if (change === "set") return data;
  if (change === "append") return appended(value, data);
  if (change === "merge") return [data].flat().reduce(merged, value);
  return change === "delete" ? undefined : value;
}

function appended(value: unknown, delta: unknown): unknown {
  if (value === undefined) return delta;
  if (kindOf(value) === kindOf(delta)) {
    if (isObject(value)) return joined(value, delta as object, appended);
    if (/String|Array/.test(kindOf(value))) return (value as string).concat(delta as string);
  }
  throw TypeError(`${kindOf(delta)} after ${kindOf(value)}`);
}

/** `value` with an RFC 7396 merge patch applied (its section 2); null takes a member away. */
const merged = (value: unknown, patch: unknown): unknown =>
  isObject(patch)
    ? joined(isObject(value) ? value : {}, patch, (member, part) => (part === null ? undefined : merged(member, part)))
    : patch;

/** An object with members changed one by one. A member may have any name, `__proto__` too. */
function joined(value: object, parts: object, change: (member: unknown, part: unknown) => unknown): unknown {
  const members = new Map(Object.entries(value));
  for (const [name, part] of Object.entries(parts)) {
    members.set(name, change(members.get(name), part));
    if (members.get(name) === undefined) members.delete(name);
  }
  return Object.fromEntries(members);
}

/** What each topic is, as far as a stream has told it; bounded, topic by topic. */
export type HeldValues = readonly [
  /** The value; undefined if there is none. */
  valueOf: (topic: string) => unknown,
  /** A stream begins that tells all values: what it does not tell until it has caught up is no more. */
  begin: () => void,
  /**
   * Carries out a change; text: its data.
   *
   * Throws once where that cannot be: a `RangeError` if the value is too large, else a `TypeError` or `SyntaxError`. The
   * value is then dropped, and its changes are left out until it is set anew.
   */
  change: (topic: string, change: string, text: string) => void,
  /** The stream has told all. Returns the topics that were held before it began. */
  caughtUp: () => Iterable<string>,
];

/** maxSize: of one value as JSON, in characters, roughly. */
export function createValues(maxSize = 2 ** 24): HeldValues {
  /** The value, and how large it is at most; nothing for one that was lost, until it is set anew. */
  let held = new Map<string, [value?: unknown, size?: number]>();
  let stale = new Map<string, [value?: unknown, size?: number]>();
  let toldAll: unknown;

  return [
    (topic) => (held.get(topic) ?? stale.get(topic))?.[0],
    () => {
      toldAll = true;
      stale = new Map([...stale, ...held]); // some may be left of another that began
      held = new Map();
    },
    (topic, change, text) => {
      const isWhole = /^(set|delete)$/.test(change);
      const entry = isWhole ? undefined : held.get(topic);
      const [before, size] = entry ?? [undefined, 0];
      if (size === undefined) return;
      held.set(topic, []);
      if (!(entry || isWhole || toldAll)) throw TypeError("not told");
      const value = applyChange(before, change, JSON.parse(text));
      let total = size + text.length;
      if (total > maxSize) total = JSON.stringify(value).length;
      if (total > maxSize) throw RangeError("too large");
      if (value === undefined) {
        held.delete(topic);
        stale.delete(topic);
      } else held.set(topic, [value, total]);
    },
    () => {
      const gone = stale.keys();
      stale = new Map();
      return gone;
    },
  ];
}
