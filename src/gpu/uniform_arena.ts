// The uniform parameters of one submission's dispatches, side by side in one buffer, bound by dynamic offset.
// The queue orders the write before the submission that reads it, so one arena serves all submissions.

import type { Gpu } from "./gpu.ts";
import type { KernelVariant } from "./kernel.ts";

const ALIGNMENT_BYTES = 256; // minUniformBufferOffsetAlignment, the same on all adapters' defaults

/** Most dispatches in one submission. */
export const MAX_DISPATCHES_PER_PIECE = 1024;

const arenas = new WeakMap<Gpu, UniformArena>();

/** Collects parameters while a submission is encoded. */
export class UniformArena {
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #bytes = new DataView(new ArrayBuffer(MAX_DISPATCHES_PER_PIECE * ALIGNMENT_BYTES));
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

  /** Appends a kernel's parameters; returns their offset. Every member must be given, and no other. */
  write(
    { key, reflection }: KernelVariant,
    values: Readonly<Record<string, number | readonly number[]>>,
  ): number {
    const start = this.#used;
    for (const name of Object.keys(values)) {
      if (!reflection.params.has(name)) throw new Error(`${key} has no parameter ${name}.`);
    }
    for (const [name, { offset, scalar, components }] of reflection.params) {
      const value = values[name];
      if (value === undefined) throw new Error(`${key} needs a value for its parameter ${name}.`);
      const list = typeof value === "number" ? [value] : value;
      if (list.length !== components)
        throw new Error(`${key}: parameter ${name} has ${components} components.`);
      list.forEach((number, index) => this.#set(start + offset + 4 * index, scalar, number));
    }
    this.#used += Math.ceil(reflection.paramsBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return start;
  }

  /** Writes what was collected to the GPU and starts anew. */
  flush(): void {
    if (this.#used > 0) this.#device.queue.writeBuffer(this.buffer, 0, this.#bytes.buffer, 0, this.#used);
    this.#used = 0;
  }

  #set(offset: number, scalar: "u32" | "i32" | "f32", value: number): void {
    if (scalar === "f32") this.#bytes.setFloat32(offset, value, true);
    else if (scalar === "u32") this.#bytes.setUint32(offset, value, true);
    else this.#bytes.setInt32(offset, value, true);
  }
}
