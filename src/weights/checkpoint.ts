// One component's weights (a transformer, a text encoder, a decoder) by tensor name: from safetensors, sharded or not,
// plain or int8 affine, to typed arrays. Reads only the ranges asked for; upload to the GPU happens elsewhere.

import { WeightsError } from "../errors.ts";
import { GROUP_SIZE, groupsPerRow } from "./affine.ts";
import { locateInFile, locateTensors, type LocatedTensor } from "./checkpoint_files.ts";
import type { FileSource } from "./file_source.ts";
import { joinModelPath } from "./model_path.ts";
import { unpackBits } from "./packed_bits.ts";
import type { SafetensorsDtype } from "./safetensors.ts";
import {
  type Bf16Target,
  columnsOf,
  f32FromBytes,
  f32FromStored,
  integersFromBytes,
  type Storage,
  storageOf,
  storedFromAffine,
  storedFromBytes,
  type StoredTensor,
} from "./stored_tensor.ts";

/** What is known of a tensor without reading it. `bytes` counts scales and biases too. */
export interface TensorInfo {
  readonly dtype: SafetensorsDtype;
  readonly storage: Storage;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Options of the readers. A `shape` given is compared with the file's; a difference is a `WeightsError`. */
export interface ReadOptions {
  readonly shape?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of `readStored`. */
export interface ReadStoredOptions extends ReadOptions {
  /** Default "f32". */
  readonly bf16?: Bf16Target | undefined;
}

/** An open checkpoint. All readers throw `WeightsError` for unknown names, truncated files, and what their options refuse. */
export interface Checkpoint {
  /** Where it is, for messages. */
  readonly location: string;
  /** Names in file order; the scales and biases of int8 tensors belong to their tensor and are not listed. */
  readonly names: readonly string[];
  /** Bytes of all tensors, for progress. */
  readonly totalBytes: number;
  has(name: string): boolean;
  info(name: string): TensorInfo;
  /** The tensor's bytes as stored (for int8: q alone). */
  read(name: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** The tensor in its stored precision; refuses NaN and infinity. */
  readStored(name: string, options?: ReadStoredOptions): Promise<StoredTensor>;
  /** The tensor as f32, whatever its storage; refuses NaN and infinity. */
  readF32(name: string, options?: ReadOptions): Promise<Float32Array>;
  /** Rows of a [rows, ...] tensor as f32 [indices.length, ...]; reads only those rows. Repeated indices are read once. */
  readRows(name: string, indices: readonly number[], signal?: AbortSignal): Promise<Float32Array>;
  /** A U8, I8, I32 or I64 tensor as numbers. */
  readIntegers(name: string, options?: ReadOptions): Promise<number[]>;
}

/** Rows read at the same time: enough to hide a network's latency. */
const CONCURRENT_ROWS = 8;

/** Opens `folder` ("" for the model's own folder): finds its weight files and reads their headers. Throws `WeightsError`. */
export async function openCheckpoint(
  source: FileSource,
  folder: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Checkpoint> {
  const tensors = await locateTensors(source, folder, signal);
  return new SafetensorsCheckpoint(source, joinModelPath(source.location, folder), tensors);
}

/** Opens a single safetensors file that is no component folder: a LoRA, a TAEHV decoder, dumped tensors. */
export async function openCheckpointFile(
  source: FileSource,
  path: string,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Checkpoint> {
  const tensors = await locateInFile(source, path, signal);
  return new SafetensorsCheckpoint(source, joinModelPath(source.location, path), tensors);
}

/** A tensor with, when it is int8, the two that belong to it. */
interface Part extends LocatedTensor {
  /** Bits of one q in the file; `shape` counts weights, whatever the packing. */
  readonly bits?: number;
  readonly scales?: LocatedTensor;
  readonly biases?: LocatedTensor;
}

class SafetensorsCheckpoint implements Checkpoint {
  readonly location: string;
  readonly names: readonly string[];
  readonly totalBytes: number;
  readonly #source: FileSource;
  readonly #parts: ReadonlyMap<string, Part>;

  constructor(source: FileSource, location: string, tensors: ReadonlyMap<string, LocatedTensor>) {
    this.#source = source;
    this.location = location;
    this.#parts = groupParts(tensors);
    this.names = [...this.#parts.keys()];
    this.totalBytes = [...tensors.values()].reduce((sum, { start, end }) => sum + end - start, 0);
  }

  has(name: string): boolean {
    return this.#parts.has(name);
  }

  info(name: string): TensorInfo {
    const part = this.#part(name);
    const bytes = bytesOf(part) + bytesOf(part.scales) + bytesOf(part.biases);
    return {
      dtype: part.dtype,
      shape: part.shape,
      bytes,
      storage: isAffine(part) ? "int8" : storageOf(part.dtype),
    };
  }

  read(name: string, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#bytes(this.#part(name), signal);
  }

  async readStored(name: string, { shape, signal, bf16 }: ReadStoredOptions = {}): Promise<StoredTensor> {
    const part = this.#checkedPart(name, shape);
    if (isAffine(part)) return this.#readAffine(name, part, signal);
    return storedFromBytes(this.#tensor(name, part, await this.#bytes(part, signal)), bf16 ?? "f32");
  }

  async readF32(name: string, { shape, signal }: ReadOptions = {}): Promise<Float32Array> {
    const part = this.#checkedPart(name, shape);
    if (isAffine(part)) return f32FromStored(await this.#readAffine(name, part, signal));
    return f32FromBytes(this.#tensor(name, part, await this.#bytes(part, signal)));
  }

  async readRows(name: string, indices: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    const part = this.#part(name);
    const rows = part.shape[0] ?? 0;
    const outside = indices.find((index) => !Number.isInteger(index) || index < 0 || index >= rows);
    if (outside !== undefined) {
      throw new WeightsError(`${this.#label(name, part)} has ${rows} rows; row ${outside} was asked for.`);
    }
    const columns = columnsOf(part.shape);
    const read = new Map<number, Float32Array>();
    const distinct = [...new Set(indices)];
    for (let i = 0; i < distinct.length; i += CONCURRENT_ROWS) {
      const batch = distinct.slice(i, i + CONCURRENT_ROWS);
      const values = await Promise.all(batch.map((row) => this.#readRow(name, sliceRow(part, row), signal)));
      for (const [j, row] of batch.entries()) read.set(row, values[j] ?? new Float32Array(columns));
    }
    const out = new Float32Array(indices.length * columns);
    for (const [i, index] of indices.entries()) out.set(read.get(index) ?? [], i * columns);
    return out;
  }

  async readIntegers(name: string, { shape, signal }: ReadOptions = {}): Promise<number[]> {
    const part = this.#checkedPart(name, shape);
    return integersFromBytes(this.#tensor(name, part, await this.#bytes(part, signal)));
  }

  async #readRow(name: string, row: Part, signal?: AbortSignal): Promise<Float32Array> {
    if (isAffine(row)) return f32FromStored(await this.#readAffine(name, row, signal));
    return f32FromBytes(this.#tensor(name, row, await this.#bytes(row, signal)));
  }

  async #readAffine(name: string, part: AffinePart, signal?: AbortSignal): Promise<StoredTensor> {
    const scales = await this.#bytes(part.scales, signal);
    const biases = await this.#bytes(part.biases, signal);
    const q = unpackBits(await this.#bytes(part, signal), part.bits);
    return storedFromAffine(this.#label(name, part), part.shape, { q, scales, biases });
  }

  #part(name: string): Part {
    const part = this.#parts.get(name);
    if (part !== undefined) return part;
    throw new WeightsError(
      `${this.location} has no tensor "${name}"; its config.json and weights are of different models.`,
    );
  }

  #checkedPart(name: string, shape: readonly number[] | undefined): Part {
    const part = this.#part(name);
    const matches =
      shape === undefined ||
      (shape.length === part.shape.length && shape.every((n, i) => n === part.shape[i]));
    if (matches) return part;
    throw new WeightsError(
      `${this.#label(name, part)} is mis-shaped: it is [${part.shape.join(", ")}], the model's config asks for [${shape.join(", ")}].`,
    );
  }

  #bytes({ path, start, end }: LocatedTensor, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#source.read(path, { start, end }, signal);
  }

  #label(name: string, { path }: LocatedTensor): string {
    return `${path}: tensor "${name}"`;
  }

  #tensor(name: string, part: Part, bytes: Uint8Array): Parameters<typeof f32FromBytes>[0] {
    return { label: this.#label(name, part), dtype: part.dtype, shape: part.shape, bytes };
  }
}

type AffinePart = Part & Required<Pick<Part, "bits" | "scales" | "biases">>;

function isAffine(part: Part): part is AffinePart {
  return part.bits !== undefined && part.scales !== undefined && part.biases !== undefined;
}

/** Joins each quantised tensor `K` with `K.scales` and `K.biases`. */
function groupParts(tensors: ReadonlyMap<string, LocatedTensor>): ReadonlyMap<string, Part> {
  const parts = new Map<string, Part>(tensors);
  for (const [name, tensor] of tensors) {
    const scales = tensors.get(`${name}.scales`);
    const biases = tensors.get(`${name}.biases`);
    if (scales === undefined || biases === undefined) continue;
    const layout = affineLayout(tensor, scales);
    if (layout === undefined || !isGroupTable(scales, layout.shape) || !isGroupTable(biases, layout.shape)) {
      throw new WeightsError(
        `${tensor.path}: tensor "${name}" has scales and biases, but is not affine in groups of 64 (U8, or U32 of packed bits, with F16 scales and biases for each group); quantise the model again.`,
      );
    }
    parts.delete(`${name}.scales`);
    parts.delete(`${name}.biases`);
    parts.set(name, { ...tensor, ...layout, scales, biases });
  }
  return parts;
}

/** U8 holds one q a byte; U32 [rows, words] packs the q of whole groups, and the number of groups tells the bits of each. */
function affineLayout(
  tensor: LocatedTensor,
  scales: LocatedTensor,
): { bits: number; shape: readonly number[] } | undefined {
  if (tensor.dtype === "U8") return { bits: 8, shape: tensor.shape };
  const [rows = 0, words = 0] = tensor.shape;
  const columns = (scales.shape[1] ?? 0) * GROUP_SIZE;
  const bits = (words * 32) / columns;
  const isPacked =
    tensor.dtype === "U32" && tensor.shape.length === 2 && Number.isInteger(bits) && bits >= 1 && bits <= 8;
  return isPacked ? { bits, shape: [rows, columns] } : undefined;
}

function isGroupTable({ dtype, shape }: LocatedTensor, of: readonly number[]): boolean {
  return (
    dtype === "F16" && shape.length === 2 && shape[0] === of[0] && shape[1] === groupsPerRow(columnsOf(of))
  );
}

function bytesOf(tensor: LocatedTensor | undefined): number {
  return tensor === undefined ? 0 : tensor.end - tensor.start;
}

/** The part of a tensor, and of its scales and biases, that is row `row`. */
function sliceRow(part: Part, row: number): Part {
  const slice = (tensor: LocatedTensor): LocatedTensor => {
    const bytes = bytesOf(tensor) / (tensor.shape[0] ?? 1);
    const start = tensor.start + row * bytes;
    return { ...tensor, shape: [1, ...tensor.shape.slice(1)], start, end: start + bytes };
  };
  return isAffine(part)
    ? { ...slice(part), scales: slice(part.scales), biases: slice(part.biases) }
    : slice(part);
}
