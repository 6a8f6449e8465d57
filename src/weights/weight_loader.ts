// From a checkpoint to GPU buffers: Linear layers in their storage, everything else as f32 vectors. Reports bytes,
// owns what it uploaded.

import { WeightsError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { LinearStorage, LinearWeights } from "../tensor/linear_weights.ts";
import {
  createTensor,
  elementCount,
  freeTensor,
  type Tensor,
  uploadTensor,
  writeBytes,
} from "../tensor/tensor.ts";
import { f16ArrayFromF32 } from "../util/half.ts";
import { GROUP_SIZE, quantizeAffine } from "./affine.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { quantizeRowsInt8 } from "./row_int8.ts";
import { f32FromStored, type StoredTensor } from "./stored_tensor.ts";

/**
 * How Linear weights are kept in GPU memory: "stored" as the file has them (bf16 as f16), or converted to one storage.
 * int8 needs input features in whole groups of 64; layers that have not stay f16. "int8_rows", for int8 matrix units,
 * is only for layers over the video's tokens: the others stay as the file has them.
 */
export type WeightStorage = "stored" | "f32" | "f16" | "int8" | "int8_rows";

/** What a Linear layer is applied to: the video's tokens, thousands of rows, or something shorter. */
export type LinearUse = "tokens" | "few rows";

/** How to load. */
export interface WeightLoaderOptions {
  readonly storage: WeightStorage;
  readonly signal?: AbortSignal | undefined;
  /** Called with the file bytes read so far, whenever a tensor was uploaded. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined;
}

/** Loads a component's tensors; `dispose` frees them all. */
export class WeightLoader {
  readonly #gpu: Gpu;
  readonly #checkpoint: Checkpoint;
  readonly #options: WeightLoaderOptions;
  readonly #owned: Tensor[] = [];
  #doneBytes = 0;

  constructor(gpu: Gpu, checkpoint: Checkpoint, options: WeightLoaderOptions) {
    this.#gpu = gpu;
    this.#checkpoint = checkpoint;
    this.#options = options;
  }

  /** Whether the checkpoint has a tensor of this name. */
  has(name: string): boolean {
    return this.#checkpoint.has(name);
  }

  /** Any floating-point tensor as f32 of the given shape. */
  async vector(name: string, shape: readonly number[]): Promise<Tensor> {
    const { signal } = this.#options;
    const data = await this.#checkpoint.readF32(name, { shape, signal });
    this.#report(name);
    return this.constant({ label: name, shape }, data);
  }

  /** f32 numbers that belong to the component but not to its file. */
  constant({ label, shape }: { label: string; shape: readonly number[] }, data: Float32Array): Tensor {
    return this.#own(uploadTensor(this.#gpu, { label, dtype: "f32", shape }, data));
  }

  /**
   * The Linear layer `prefix.weight` [n, k] (or a convolution whose kernel is its patch, seen as [n, k]) and
   * `prefix.bias` [n]; a missing bias is zero.
   */
  async linear(
    prefix: string,
    shape: readonly [number, ...number[]],
    use: LinearUse = "few rows",
  ): Promise<LinearWeights> {
    const { signal } = this.#options;
    const name = `${prefix}.weight`;
    const [n, ...inner] = shape;
    const k = elementCount(inner);
    const stored = await this.#readStored(name, shape);
    const storage =
      use === "tokens" || this.#options.storage !== "int8_rows" ? this.#options.storage : "stored";
    this.#report(name);
    const hasBias = this.#checkpoint.has(`${prefix}.bias`);
    const bias = hasBias
      ? await this.#checkpoint.readF32(`${prefix}.bias`, { shape: [n], signal })
      : new Float32Array(n);
    if (hasBias) this.#report(`${prefix}.bias`);
    return {
      label: prefix,
      n,
      k,
      weight: this.#upload(name, [n, k], { stored, storage }),
      bias: this.constant({ label: `${prefix}.bias`, shape: [n] }, bias),
    };
  }

  /** Frees everything this loader uploaded. */
  dispose(): void {
    for (const tensor of this.#owned.splice(0)) freeTensor(this.#gpu, tensor);
  }

  /** bf16 is kept as f16 where its values fit: the same bytes, and only the tiniest numbers are rounded. */
  async #readStored(name: string, shape: readonly number[]): Promise<StoredTensor> {
    const { signal, storage } = this.#options;
    const bf16 = storage === "f16" || storage === "stored" ? "f16" : "f32";
    return await this.#checkpoint.readStored(name, { shape, signal, bf16 });
  }

  #upload(
    label: string,
    shape: readonly [number, number],
    { stored, storage }: { stored: StoredTensor; storage: WeightStorage },
  ): LinearStorage {
    if (storage === "int8_rows" && shape[1] % GROUP_SIZE === 0) return this.#uploadRows(label, shape, stored);
    const converted = convertStorage(stored, storage, shape[1]);
    switch (converted.storage) {
      case "f32":
        return { storage: "f32", data: this.constant({ label, shape }, converted.data) };
      case "f16": {
        const data = this.#own(createTensor(this.#gpu, { label, dtype: "f16", shape }));
        writeBytes(this.#gpu, data, bytesOf(converted.bits));
        return { storage: "f16", data };
      }
      case "int8":
        return this.#uploadInt8(label, shape, converted);
    }
  }

  #uploadRows(label: string, [n, k]: readonly [number, number], stored: StoredTensor): LinearStorage {
    const { q, scales } = quantizeRowsInt8(f32FromStored(stored), k);
    const data = this.#own(createTensor(this.#gpu, { label, dtype: "u32", shape: [n, k / 4] }));
    writeBytes(this.#gpu, data, bytesOf(q));
    return {
      storage: "int8_rows",
      data,
      scale: this.constant({ label: `${label}.scale`, shape: [n] }, scales),
    };
  }

  #uploadInt8(
    label: string,
    [n, k]: readonly [number, number],
    { q, scales, biases }: StoredTensor & { storage: "int8" },
  ): LinearStorage {
    if (k % GROUP_SIZE !== 0) {
      throw new WeightsError(
        `${label} is int8 with ${k} input features; whole groups of ${GROUP_SIZE} are needed.`,
      );
    }
    const groups = k / GROUP_SIZE;
    const data = this.#own(createTensor(this.#gpu, { label, dtype: "u32", shape: [n, k / 4] }));
    writeBytes(this.#gpu, data, q);
    const pairs = Uint32Array.from(scales, (scale, i) => scale | ((biases[i] ?? 0) << 16));
    const scaleBias = this.#own(
      createTensor(this.#gpu, { label: `${label}.scale_bias`, dtype: "u32", shape: [n, groups] }),
    );
    writeBytes(this.#gpu, scaleBias, bytesOf(pairs));
    return { storage: "int8", data, scaleBias };
  }

  #own(tensor: Tensor): Tensor {
    this.#owned.push(tensor);
    return tensor;
  }

  #report(name: string): void {
    this.#doneBytes += this.#checkpoint.info(name).bytes;
    this.#options.onBytes?.(this.#doneBytes);
  }
}

function convertStorage(stored: StoredTensor, storage: WeightStorage, k: number): StoredTensor {
  if (storage === "stored" || storage === "int8_rows" || storage === stored.storage) return stored;
  const { shape } = stored;
  if (storage === "int8" && k % GROUP_SIZE === 0) {
    return { storage, shape, ...quantizeAffine(f32FromStored(stored), k) };
  }
  if (storage === "f32") return { storage, shape, data: f32FromStored(stored) };
  return { storage: "f16", shape, bits: f16ArrayFromF32(f32FromStored(stored)) };
}

function bytesOf(view: Int8Array | Uint16Array | Uint32Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
