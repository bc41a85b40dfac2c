/**
 * Positions as a client may understand them: compared, and asked for without values (spec/stream.md, sections 4, 9.5
 * and 10). Everything else about an id is opaque.
 */

/** A position: its epoch; the offset up to which events were had, and then that up to which values were told. */
export type Place = readonly [epoch: string, offsets: string];

/** Reads an id; null if it is no position to go on from. */
export function placeOf(id: string): Place | null {
  const [, epoch, offset, told = offset] = /^([a-z\d]{4,16})-(\d{1,19})(?:~(\d{1,19}))?$/.exec(id) ?? [];
  // Offsets have up to 19 digits, more than a number holds exactly; as text of one length they can be compared.
  return epoch ? [epoch, (offset as string).padStart(19) + (told as string).padStart(19)] : null;
}

/** Whether one that stands at `other` has had what is at `place`. Not if they are of different epochs. */
export const isUpTo = (place: Place | null, other: Place | null): boolean =>
  place?.[0] === other?.[0] && (place?.[1] as string) <= (other?.[1] as string); // neither: nothing is up to nothing

/** Whether an id can be sent back in a header: servers take some kilobytes of headers, and no control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it looks for
export const isSendable = (id: string): boolean => /^[^\0-\x1f\x7f]{0,1024}$/.test(id);
