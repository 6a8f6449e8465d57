// The safetensors format: 8 bytes of header length, a JSON header, tensors as raw little-endian bytes.
// Reads headers strictly and writes files; it never looks at numbers. Nothing in this format is executed or unpickled.
// Format: https://github.com/huggingface/safetensors (README, "Format").

import { WeightsError } from "../errors.ts";
import type { FileSource } from "./file_source.ts";

/** Bytes per element of every dtype the format knows; which of them we can read is `stored_tensor.ts`'s business. */
const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;

/** A dtype name as the format spells it. */
export type SafetensorsDtype = keyof typeof DTYPE_BYTES;

/** Where one tensor lies: byte offsets from the start of the file, `end` exclusive. */
export interface TensorEntry {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly start: number;
  readonly end: number;
}

/** A parsed header: tensors in the order of their data, and the free-form `__metadata__`. */
export interface SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** One tensor to write; `data` holds exactly the elements of `shape`, little-endian. */
export interface TensorToWrite {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/** Name, dtype and shape of a tensor whose data is written later. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
}

const LENGTH_BYTES = 8;
/** The reference implementation's limit; a larger number is a damaged or hostile file. */
const MAX_HEADER_BYTES = 100_000_000;

/** Reads and checks the header of a file; two small reads. Throws `WeightsError`. */
export async function openSafetensors(
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<SafetensorsFile> {
  const fileBytes = await source.size(path);
  if (fileBytes < LENGTH_BYTES) throw damaged(path, `it has only ${fileBytes} bytes`);
  const lengthBytes = await source.read(path, { start: 0, end: LENGTH_BYTES }, signal);
  const headerBytes = Number(new DataView(lengthBytes.buffer, lengthBytes.byteOffset).getBigUint64(0, true));
  if (headerBytes > fileBytes - LENGTH_BYTES) {
    throw damaged(path, `its header length ${headerBytes} reaches beyond the file of ${fileBytes} bytes`);
  }
  if (headerBytes > MAX_HEADER_BYTES) {
    throw damaged(path, `its header length ${headerBytes} exceeds the format's limit of ${MAX_HEADER_BYTES}`);
  }
  const header = await source.read(path, { start: LENGTH_BYTES, end: LENGTH_BYTES + headerBytes }, signal);
  return parseSafetensorsHeader(path, header, fileBytes);
}

/**
 * Checks the JSON header `header` of the file `path`, which has `fileBytes` bytes in all: names are unique, offsets match
 * shape x dtype, and the tensors cover the rest of the file without gap or overlap. Throws `WeightsError`.
 */
export function parseSafetensorsHeader(path: string, header: Uint8Array, fileBytes: number): SafetensorsFile {
  const text = decodeUtf8(path, header);
  const json = parseObject(path, text);
  refuseDuplicateKeys(path, text);
  const dataStart = LENGTH_BYTES + header.byteLength;
  const entries: [string, TensorEntry][] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(json)) {
    if (name === "__metadata__") metadata = parseMetadata(path, value);
    else entries.push([name, parseEntry(path, name, value, dataStart)]);
  }
  entries.sort(([, a], [, b]) => a.start - b.start || a.end - b.end);
  checkCoverage(path, entries, { dataStart, fileBytes });
  return { path, tensors: new Map(entries), metadata };
}

/** Number of elements of a shape; 1 for a scalar. */
export function countElements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** A whole file in memory: tensors in the map's order, then `metadata`. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const specs = [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const header = encodeSafetensorsHeader(specs, metadata);
  const dataBytes = [...tensors.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const file = new Uint8Array(header.byteLength + dataBytes);
  file.set(header);
  let offset = header.byteLength;
  for (const [name, { dtype, shape, data }] of tensors) {
    const expected = countElements(shape) * DTYPE_BYTES[dtype];
    if (data.byteLength !== expected) {
      throw new RangeError(
        `Cannot write tensor "${name}": ${dtype} [${shape.join(", ")}] takes ${expected} bytes, the data has ${data.byteLength}.`,
      );
    }
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
    offset += data.byteLength;
  }
  return file;
}

/**
 * Everything that stands before the data (length and header, padded to 8 bytes), for files too large to build in memory:
 * the caller then appends each tensor's bytes in the order of `specs`.
 */
export function encodeSafetensorsHeader(
  specs: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push(["__metadata__", metadata]);
  let offset = 0;
  for (const { name, dtype, shape } of specs) {
    const end = offset + countElements(shape) * DTYPE_BYTES[dtype];
    entries.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const paddedBytes = Math.ceil(json.byteLength / 8) * 8;
  const header = new Uint8Array(LENGTH_BYTES + paddedBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(paddedBytes), true);
  header.set(json, LENGTH_BYTES);
  return header;
}

function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw damaged(path, "its header is not text");
  }
}

function parseObject(path: string, text: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw damaged(
      path,
      `its header is not valid JSON (${error instanceof Error ? error.message : "unreadable"})`,
    );
  }
  if (!isRecord(json)) throw damaged(path, "its header is not a JSON object");
  return json;
}

/** JSON.parse keeps the last of two equal keys, so one tensor would silently hide another: count the keys in the text. */
function refuseDuplicateKeys(path: string, text: string): void {
  const seen = new Set<string>();
  let depth = 0;
  // Strings (a key is followed by a colon), brackets; everything else is skipped. The text is known to be valid JSON.
  for (const [token, string, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && string !== undefined && colon !== undefined) {
      const key: unknown = JSON.parse(string);
      if (seen.has(String(key))) throw damaged(path, `its header names the tensor "${String(key)}" twice`);
      seen.add(String(key));
    }
  }
}

function parseMetadata(path: string, value: unknown): Record<string, string> {
  if (!isRecord(value)) throw damaged(path, "its __metadata__ is not an object");
  const entries = Object.entries(value).map(([key, text]): [string, string] => {
    if (typeof text !== "string") throw damaged(path, `its __metadata__ entry "${key}" is not a string`);
    return [key, text];
  });
  return Object.fromEntries(entries);
}

function parseEntry(path: string, name: string, value: unknown, dataStart: number): TensorEntry {
  if (!isRecord(value)) throw damaged(path, `its header entry for "${name}" is not an object`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) {
    throw new WeightsError(
      `${path}: tensor "${name}" has the dtype ${JSON.stringify(dtype)}, which safetensors does not know; convert the file to F32, F16 or BF16.`,
    );
  }
  if (!isCounts(shape)) throw damaged(path, `tensor "${name}" has no valid shape`);
  if (!isCounts(offsets)) throw damaged(path, `tensor "${name}" has no valid data_offsets`);
  const [begin, end, ...more] = offsets;
  if (begin === undefined || end === undefined || more.length > 0 || end < begin) {
    throw damaged(path, `tensor "${name}" has no valid data_offsets`);
  }
  const expected = countElements(shape) * DTYPE_BYTES[dtype];
  if (end - begin !== expected) {
    throw damaged(
      path,
      `tensor "${name}" spans ${end - begin} bytes, but ${dtype} [${shape.join(", ")}] takes ${expected}`,
    );
  }
  return { dtype, shape, start: dataStart + begin, end: dataStart + end };
}

function checkCoverage(
  path: string,
  entries: readonly [string, TensorEntry][],
  { dataStart, fileBytes }: { dataStart: number; fileBytes: number },
): void {
  let covered = dataStart;
  for (const [name, { start, end }] of entries) {
    if (end > fileBytes) {
      throw damaged(path, `tensor "${name}" ends at byte ${end}, the file at ${fileBytes}; it is truncated`);
    }
    if (start < covered) throw damaged(path, `tensor "${name}" overlaps the tensor before it`);
    if (start > covered)
      throw damaged(path, `there are ${start - covered} bytes of no tensor before "${name}"`);
    covered = end;
  }
  if (covered < fileBytes) throw damaged(path, `${fileBytes - covered} bytes at its end belong to no tensor`);
}

function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === "string" && Object.hasOwn(DTYPE_BYTES, value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function damaged(path: string, what: string): WeightsError {
  return new WeightsError(`${path} is not a whole safetensors file: ${what}. Download or export it again.`);
}
