// Rows of hidden states, keys, values and results on their way between workers: as they are, as f16, or as int8 with a
// scale for every head's share of every token. All workers must use one payload type, then all see the same rounded numbers.

import type { FrameRowsKind } from "../dit/context_exchange.ts";
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
      return elements + (4 * elements) / headDim;
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
 * Encodes numbers as they lie in GPU memory. Wider than they are they never travel: f16 stays f16 under "f32".
 *
 * @returns the bytes given where nothing changes
 */
export function encodeKeys(
  bytes: Uint8Array,
  { from, payload, headDim }: { from: KeyType; payload: PayloadType; headDim: number },
): Uint8Array {
  if (payload === "int8") return encodeInt8(floatsOf(bytes, from), headDim);
  if (from === payload || from === "f16") return bytes;
  return bytesOf(f16ArrayFromF32(floatsOf(bytes, from)));
}

/** Decodes into the element type of the receiver. `payload` is what the bytes are, see `travelType`. */
export function decodeKeys(
  bytes: Uint8Array,
  { payload, to, headDim }: { payload: PayloadType; to: KeyType; headDim: number },
): Uint8Array {
  if (payload === to) return bytes;
  const floats = payload === "int8" ? decodeInt8(bytes, headDim) : floatsOf(bytes, payload);
  return to === "f32" ? bytesOf(floats) : bytesOf(f16ArrayFromF32(floats));
}

/** What numbers of a type travel as when `payload` is asked for. */
export function travelType(from: KeyType, payload: PayloadType): PayloadType {
  return from === "f16" && payload === "f32" ? "f16" : payload;
}

/** [scale of every group of `size`, f32 | values, int8]; a value is at most half a step of 1/127 of its group's greatest off. */
function encodeInt8(values: Float32Array, size: number): Uint8Array<ArrayBuffer> {
  const groups = values.length / size;
  const out = new Uint8Array(4 * groups + values.length);
  const scales = new Float32Array(out.buffer, 0, groups);
  const steps = new Int8Array(out.buffer, 4 * groups);
  for (let group = 0; group < groups; group++) {
    const start = group * size;
    let greatest = 0;
    for (let i = start; i < start + size; i++) greatest = Math.max(greatest, Math.abs(values[i] ?? 0));
    scales[group] = greatest / 127;
    const perStep = greatest === 0 ? 0 : 127 / greatest;
    for (let i = start; i < start + size; i++) steps[i] = Math.round((values[i] ?? 0) * perStep);
  }
  return out;
}

function decodeInt8(bytes: Uint8Array, size: number): Float32Array<ArrayBuffer> {
  const groups = bytes.byteLength / (size + 4);
  const whole = aligned(bytes);
  const scales = new Float32Array(whole.buffer, whole.byteOffset, groups);
  const steps = new Int8Array(whole.buffer, whole.byteOffset + 4 * groups, groups * size);
  const out = new Float32Array(steps.length);
  for (let i = 0; i < out.length; i++) out[i] = (steps[i] ?? 0) * (scales[Math.floor(i / size)] ?? 0);
  return out;
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
