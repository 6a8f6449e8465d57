// The uniform parameters of one submission's dispatches, side by side in one buffer, bound by dynamic offset.
// The queue orders the write before the submission that reads it, so one arena serves all submissions.

import type { Gpu } from "./gpu.ts";
import type { KernelVariant } from "./kernel.ts";
import type { ParamInfo } from "./shader_reflection.ts";

const ALIGNMENT_BYTES = 256; // minUniformBufferOffsetAlignment, the same on all adapters' defaults

/** Most dispatches in one submission. */
export const MAX_DISPATCHES_PER_PIECE = 1024;

const arenas = new WeakMap<Gpu, UniformArena>();

/** Collects parameters while a submission is encoded. */
export class UniformArena {
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #bytes = new Uint8Array(MAX_DISPATCHES_PER_PIECE * ALIGNMENT_BYTES);
  #used = 0;

  /** The device's arena. */
  static of(gpu: Gpu): UniformArena {
    const known = arenas.get(gpu) ?? new UniformArena(gpu.device);
    arenas.set(gpu, known);
    return known;
  }

  private constructor(device: GPUDevice) {
    this.#device = device;
    this.buffer = device.createBuffer({
      label: "uniforms",
      size: this.#bytes.byteLength,
      usage: 0x40 | 0x08, // UNIFORM | COPY_DST
    });
  }

  /** Appends the parameters of a dispatch, as `packParams` made them; returns their offset. */
  append(params: Uint8Array): number {
    const start = this.#used;
    this.#bytes.set(params, start);
    this.#used += Math.ceil(params.byteLength / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return start;
  }

  /** Writes what was collected to the GPU and starts anew. */
  flush(): void {
    if (this.#used > 0) this.#device.queue.writeBuffer(this.buffer, 0, this.#bytes, 0, this.#used);
    this.#used = 0;
  }

  /** Forgets what was collected, after an encoding that failed. */
  clear(): void {
    this.#used = 0;
  }
}

/** A kernel's parameters as the shader reads them. Every member of its Params must be given, and no other. */
export function packParams(
  { key, reflection }: KernelVariant,
  values: Readonly<Record<string, number | readonly number[]>>,
): Uint8Array {
  for (const name of Object.keys(values)) {
    if (!reflection.params.has(name)) throw new Error(`${key} has no parameter ${name}.`);
  }
  const bytes = new DataView(new ArrayBuffer(reflection.paramsBytes));
  for (const [name, { offset, scalar, components }] of reflection.params) {
    const value = values[name];
    if (value === undefined) throw new Error(`${key} needs a value for its parameter ${name}.`);
    const list = typeof value === "number" ? [value] : value;
    if (list.length !== components)
      throw new Error(`${key}: parameter ${name} has ${components} components, not ${list.length}.`);
    list.forEach((number, index) => {
      if (!isScalar(scalar, number))
        throw new Error(`${key}: parameter ${name} is ${number}, expected ${scalar}.`);
      setScalar(bytes, offset + 4 * index, scalar, number);
    });
  }
  return new Uint8Array(bytes.buffer);
}

function isScalar(scalar: ParamInfo["scalar"], value: number): boolean {
  if (scalar === "f32") return true;
  return scalar === "u32" ? value === value >>> 0 : value === (value | 0);
}

function setScalar(bytes: DataView, offset: number, scalar: ParamInfo["scalar"], value: number): void {
  if (scalar === "f32") bytes.setFloat32(offset, value, true);
  else if (scalar === "u32") bytes.setUint32(offset, value, true);
  else bytes.setInt32(offset, value, true);
}
