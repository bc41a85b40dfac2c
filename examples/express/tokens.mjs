/** Signed words about who somebody is, and until when: `name.expires.signature`. hub.py reads those for "events". */
import { createHmac, timingSafeEqual } from "node:crypto";

const signatureOf = (secret, purpose, claim) =>
  createHmac("sha256", secret).update(`${purpose}.${claim}`).digest("hex");

/** A token for one purpose, good for so many seconds. The name must have no dot. */
export function sign(secret, purpose, name, seconds) {
  const claim = `${name}.${Math.floor(Date.now() / 1000) + seconds}`;
  return `${claim}.${signatureOf(secret, purpose, claim)}`;
}

/** The name in a token; undefined if it is not one of ours, is for something else, or its time is over. */
export function nameIn(secret, purpose, token) {
  const [name, expires, signature = ""] = token.split(".");
  const given = Buffer.from(signature);
  const expected = Buffer.from(signatureOf(secret, purpose, `${name}.${expires}`));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  return Number(expires) * 1000 > Date.now() ? name : undefined;
}
