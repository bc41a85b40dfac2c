// What topics are now, from the changes that the stream tells of them (spec/stream.md, section 10).

const kind = (value) => (value === null ? "null" : Array.isArray(value) ? "list" : typeof value);

/** The value after one change; undefined stands for none. Changes nothing that it is given; throws a `TypeError`. */
export function applied(value, change, data) {
  switch (change) {
    case "set": return data;
    case "delete": return undefined;
    case "append": return value === undefined ? data : appended(value, data);
    case "merge": return [data].flat().reduce(patched, value === undefined ? {} : value);
    default: throw new TypeError(`there is no change "${change}"`);
  }
}

function appended(value, delta) {
  const both = kind(value);
  if (both === kind(delta)) {
    if (both === "string") return value + delta;
    if (both === "list") return [...value, ...delta];
    if (both === "object") return joined(value, delta, (old, part) => (old === undefined ? part : appended(old, part)));
  }
  throw new TypeError(`${kind(delta)} cannot be appended to ${both}`);
}

function patched(value, patch) {
  if (kind(patch) !== "object") throw new TypeError(`a patch is an object, not ${kind(patch)}`);
  return merged(value, patch);
}

/** RFC 7396, section 2. */
function merged(value, patch) {
  if (kind(patch) !== "object") return patch;
  return joined(kind(value) === "object" ? value : {}, patch, (old, part) => (part === null ? undefined : merged(old, part)));
}

/** An object with some members changed. They may have any name, `__proto__` too. */
function joined(value, parts, change) {
  const members = new Map(Object.entries(value));
  for (const [name, part] of Object.entries(parts)) {
    const member = change(members.get(name), part);
    if (member === undefined) members.delete(name);
    else members.set(name, member);
  }
  return Object.fromEntries(members);
}

/** The values of a stream's topics, as far as they were told. */
export class Values {
  #held = new Map();
  #untold = new Set();

  /** A stream begins that tells all values: what it does not tell until `caughtUp` is no more. */
  begin() {
    this.#untold = new Set(this.#held.keys());
  }

  /** All are told. Returns the topics whose values are no more. */
  caughtUp() {
    const gone = [...this.#untold];
    this.#untold.clear();
    for (const topic of gone) this.#held.delete(topic);
    return gone;
  }

  /** The value; undefined if there is none. */
  get(topic) {
    return this.#held.get(topic);
  }

  /** Carry out a change. If it does not fit, the value is dropped and a `TypeError` thrown. */
  apply(topic, change, data) {
    const before = this.#untold.delete(topic) ? undefined : this.#held.get(topic);
    this.#held.delete(topic);
    const value = applied(before, change, data);
    if (value !== undefined) this.#held.set(topic, value);
  }
}
