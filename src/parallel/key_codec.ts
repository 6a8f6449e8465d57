// Rows of hidden states, keys, values and results on their way between workers: as they are, as f16, or as int8 with a
// scale for every head's share of every token, in which the transformer gives and takes them (dit/int8_frames.ts). All
// workers must use one payload type, then all see the same rounded numbers.

import type { FrameRowsKind } from "../dit/context_exchange.ts";
import { int8Bytes } from "../dit/int8_frames.ts";
import { f16ArrayFromF32, f32ArrayFromF16 } from "../util/half.ts";

/** What travels: rows of frames, or the attention that a visitor's queries came to, with its log-sum-exp. */
export type RowsKind = FrameRowsKind | "results";

/** How they travel. */
export type PayloadType = "f32" | "f16" | "int8";

/** The size of a matrix whose rows travel. */
export interface RowsSize {
  readonly rows: number;
  readonly heads: number;
  readonly headDim: number;
}

/** Element type of keys and values in GPU memory. */
export type KeyType = "f32" | "f16";

/** Bytes that a matrix of rows takes on its way. */
export function matrixBytes({ rows, heads, headDim }: RowsSize, payload: PayloadType): number {
  const elements = rows * heads * headDim;
  switch (payload) {
    case "f32":
      return 4 * elements;
    case "f16":
      return 2 * elements;
    case "int8":
      return int8Bytes(elements, headDim);
  }
}

/** Bytes of the parts of a message: hidden states; keys and values; or results and their log-sum-exps, always f32. */
export function partBytes(kind: RowsKind, size: RowsSize, payload: PayloadType): readonly number[] {
  const matrix = matrixBytes(size, payload);
  switch (kind) {
    case "keys":
      return [matrix, matrix];
    case "hidden_states":
      return [matrix];
    case "results":
      return [matrix, 4 * size.rows * size.heads];
  }
}

/** Bytes of a whole message. */
export function rowsBytes(kind: RowsKind, size: RowsSize, payload: PayloadType): number {
  return partBytes(kind, size, payload).reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * Encodes floats of a transformer; wider than they are they never travel: f16 stays f16 under "f32". What is to travel as
 * int8 is given as such (`ContextExchange.int8Group`).
 *
 * @returns the bytes given where nothing changes
 */
export function encodeKeys(
  bytes: Uint8Array,
  { from, payload }: { readonly from: KeyType; readonly payload: PayloadType },
): Uint8Array {
  if (payload === "int8" || from === payload || from === "f16") return bytes;
  return bytesOf(f16ArrayFromF32(floatsOf(bytes, from)));
}

/** Whether bytes are what a receiver wants as they come: floats of its own type, or int8, which its transformer reads. */
export function isWanted(payload: PayloadType, to: KeyType): boolean {
  return payload === "int8" || payload === to;
}

/** Decodes floats into the element type of the receiver. `payload` is what the bytes are, see `travelType`. */
export function decodeKeys(
  bytes: Uint8Array,
  { payload, to }: { readonly payload: PayloadType; readonly to: KeyType },
): Uint8Array {
  if (payload === "int8" || payload === to) return bytes;
  const floats = floatsOf(bytes, payload);
  return to === "f32" ? bytesOf(floats) : bytesOf(f16ArrayFromF32(floats));
}

/** What numbers of a type travel as when `payload` is asked for. */
export function travelType(from: KeyType, payload: PayloadType): PayloadType {
  return from === "f16" && payload === "f32" ? "f16" : payload;
}

function floatsOf(bytes: Uint8Array, type: KeyType): Float32Array {
  const { buffer, byteOffset, byteLength } = aligned(bytes);
  if (type === "f32") return new Float32Array(buffer, byteOffset, byteLength / 4);
  return f32ArrayFromF16(new Uint16Array(buffer, byteOffset, byteLength / 2));
}

function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
}

function bytesOf<T extends ArrayBufferLike>({
  buffer,
  byteOffset,
  byteLength,
}: ArrayBufferView<T>): Uint8Array<T> {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
