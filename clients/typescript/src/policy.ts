/** When to come back, and what an answer means: pure functions. `spec/vectors/policy` holds cases for them. */

/** The longest delay that timers hold: almost 25 days. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * How long to wait before the next attempt; all times in milliseconds.
 *
 * retry: the stream's last `retry:`; null if it said none. least: the smallest floor, whatever that is. cap: where
 * doubling ends; a longer `retry:` counts. failures: attempts that failed in a row before this one. asked: what the
 * server asked for by `Retry-After` or in a `bye`, else 0. random: from 0 up to 1.
 */
export function delayMs(
  retry: number | null,
  least: number,
  cap: number,
  failures: number,
  asked: number,
  random: number,
): number {
  const floor = Math.max(retry ?? 3000, least);
  const low = Math.max(floor / 2, asked);
  const high = Math.max(Math.min(cap, floor * 2 ** failures), low + floor / 2);
  return Math.min(low + random * (high - low), MAX_DELAY_MS) | 0;
}

/**
 * What an answer leads to; `connecting`: at once, with fresh headers.
 *
 * fresh: whether new headers can be asked for, and were not after the last answer.
 */
export const stateAfter = (status: number, contentType: string | null, fresh: boolean) =>
  status === 200 && /^\s*text\/event-stream\s*(;|$)/i.test(contentType as string)
    ? "open"
    : fresh && /^40[13]$/.test(status as never)
      ? "connecting"
      : /^(408|425|429|5..)$/.test(status as never)
        ? "waiting"
        : "closed";

/** `Retry-After` as milliseconds from now: seconds or a date (RFC 9110, section 10.2.3); 0 for anything else. */
export const retryAfterMs = (text: string | null, now: number): number =>
  Math.min(
    Math.max((+(text as string) >= 0 ? +(text as string) * 1000 : Date.parse(text as string) - now) || 0, 0),
    MAX_DELAY_MS,
  );
