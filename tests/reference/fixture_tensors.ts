// Reads small safetensors fixtures in tests, independently of src/weights. F32, F16, BF16, I32, I64 and U8 only.
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { f32ArrayFromF16 } from "../../src/util/half.ts";
import { repoPath } from "../repo_path.ts";

/** A tensor of a fixture, all values as f64-safe numbers. */
export interface FixtureTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The path of a file under tests/fixtures; absolute paths stay as they are. */
export function fixturePath(path: string): string {
  return resolve(repoPath("tests/fixtures"), path);
}

/** A parsed JSON fixture. */
export function readFixtureJson(path: string): unknown {
  return JSON.parse(readFileSync(fixturePath(path), "utf8"));
}

/** The bytes of a fixture; what only tests read lies there in Brotli, as `path`.br. */
export function readFixture(path: string): Buffer {
  const whole = fixturePath(path);
  return existsSync(whole) ? readFileSync(whole) : brotliDecompressSync(readFileSync(`${whole}.br`));
}

/** All tensors of a safetensors fixture by name, widened to f32. */
export function readFixtureTensors(path: string): Map<string, FixtureTensor> {
  const bytes = readFixture(path);
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString()) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors = new Map<string, FixtureTensor>();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const start = bytes.byteOffset + 8 + headerLength;
    const raw = bytes.buffer.slice(start + data_offsets[0], start + data_offsets[1]);
    tensors.set(name, { shape, data: widen(dtype, raw) });
  }
  return tensors;
}

function widen(dtype: string, raw: ArrayBuffer | SharedArrayBuffer): Float32Array {
  if (dtype === "F32") return new Float32Array(raw);
  if (dtype === "U8") return Float32Array.from(new Uint8Array(raw));
  if (dtype === "I32") return Float32Array.from(new Int32Array(raw));
  if (dtype === "I64") return Float32Array.from(new BigInt64Array(raw), Number);
  if (dtype === "F16") return f32ArrayFromF16(new Uint16Array(raw));
  if (dtype === "BF16")
    return new Float32Array(Uint32Array.from(new Uint16Array(raw), (bits) => bits << 16).buffer);
  throw new Error(`The fixture has a tensor of dtype ${dtype}, which this reader does not know.`);
}
