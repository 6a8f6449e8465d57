// `--dump FILE.safetensors`: what pipelines/dump.ts gives away, in a file. It stays in memory until the end: a dump is for
// small videos.

import type { DumpPart } from "../pipelines/dump.ts";
import { bytesPerElement, countElements, encodeSafetensorsHeader } from "../weights/safetensors.ts";
import { writeFileAtomically } from "./atomic_file.ts";

interface DumpTensor {
  readonly shape: number[];
  readonly pieces: Uint8Array[];
  readonly dtype: "F32" | "I32";
}

/** Collects tensors and writes them. */
export class DumpFile {
  readonly path: string;
  readonly #tensors = new Map<string, DumpTensor>();

  constructor(path: string) {
    this.path = path;
  }

  /** Takes a tensor, or the next part of one. Throws `RangeError` for numbers that are not of their shape. */
  add({ name, shape, data, axis = 0 }: DumpPart): void {
    if (data.length !== countElements(shape)) {
      throw new RangeError(`${name} [${shape.join(", ")}] cannot hold ${data.length} numbers.`);
    }
    const dtype = data instanceof Int32Array ? "I32" : "F32";
    const known = this.#tensors.get(name);
    const tensor = known ?? { shape: shape.with(axis, 0), pieces: [], dtype };
    if (!known) this.#tensors.set(name, tensor);
    tensor.shape[axis] = (tensor.shape[axis] ?? 0) + (shape[axis] ?? 0);
    tensor.pieces.push(new Uint8Array(data.buffer, data.byteOffset, data.length * bytesPerElement(dtype)));
  }

  /** Writes the file; throws like `writeFileAtomically`. */
  async write(metadata: Readonly<Record<string, unknown>>, signal?: AbortSignal): Promise<void> {
    const specs = Array.from(this.#tensors, ([name, { dtype, shape }]) => ({ name, dtype, shape }));
    const header = encodeSafetensorsHeader(specs, { format: "pt", weft: JSON.stringify(metadata) });
    const pieces = Array.from(this.#tensors.values(), (tensor) => tensor.pieces).flat();
    await writeFileAtomically(this.path, [header, ...pieces], signal);
  }
}
