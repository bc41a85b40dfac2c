/** The shared vectors, read; what they mean stands in spec/README.md and spec/vectors/http/README.md. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const VECTORS = new URL("../../../spec/vectors/", import.meta.url);

export type Piece = string | { hex: string } | { repeat: [Piece, number] } | Piece[];

const encoder = new TextEncoder();

/** A piece of input as bytes. */
export function bytesOf(piece: Piece): Uint8Array<ArrayBuffer> {
  if (typeof piece === "string") return encoder.encode(piece);
  if (Array.isArray(piece)) return joined(piece.map(bytesOf));
  if ("hex" in piece) return Uint8Array.from(piece.hex.split(" ").filter(Boolean), (byte) => Number.parseInt(byte, 16));
  const [repeated, times] = piece.repeat;
  const part = bytesOf(repeated);
  const all = new Uint8Array(part.length * times);
  for (let index = 0; index < times; index++) all.set(part, index * part.length);
  return all;
}

export const textOf = (piece: Piece): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(piece));

export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The files of a folder of vectors, without those of one name. */
export function vectorFiles(folder: string): string[] {
  return readdirSync(new URL(`${folder}/`, VECTORS)).filter((name) => name.endsWith(".json"));
}

/** The cases of a file. */
export function vectors<Case extends { name: string }>(folder: string, file: string): Case[] {
  const path = fileURLToPath(new URL(`${folder}/${file}`, VECTORS));
  return (JSON.parse(readFileSync(path, "utf8")) as { cases: Case[] }).cases;
}

/** Numbers from 0 up to 1 that are the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes cut at random places; some parts are empty. */
export function cutAtRandom(bytes: Uint8Array, random: () => number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  const mean = 1 + random() * Math.max(40, bytes.length / 1000);
  for (let at = 0; at < bytes.length; ) {
    const length = random() < 0.1 ? 0 : 1 + Math.floor(random() * mean * 2);
    parts.push(bytes.subarray(at, at + length));
    at += length;
  }
  return parts;
}
