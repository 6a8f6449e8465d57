// `--dump FILE.safetensors`: what pipelines/dump.ts gives away, in a file. The header says how large everything is and
// stands before it, so the numbers wait in a scratch file on the same disk; memory holds a part at a time.

import type { FileHandle } from "node:fs/promises";
import type { DumpPart } from "../pipelines/dump.ts";
import { countElements, encodeSafetensorsHeader, type TensorSpec } from "../weights/safetensors.ts";
import { openScratchFile, writeFileAtomically } from "./atomic_file.ts";

/** Read from the scratch file at a time. */
const COPY_BYTES = 2 ** 20;

/** A dump in the making: `add` everything, `write`, and in any case `close`. */
export class DumpFile {
  readonly path: string;
  readonly #tensors: (TensorSpec & { readonly shape: number[] })[] = [];
  #scratch: FileHandle | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Takes a tensor, or the next part of the last one. Throws `RangeError` for numbers that are not of their shape, and for
   * parts out of turn; otherwise like `writeFileAtomically`.
   */
  async add({ name, shape, data, axis = 0 }: DumpPart): Promise<void> {
    if (data.length !== countElements(shape)) {
      throw new RangeError(`${name} [${shape.join(", ")}] cannot hold ${data.length} numbers.`);
    }
    const tensor = this.#tensors.find((known) => known.name === name);
    if (tensor === undefined) {
      const dtype = data instanceof Int32Array ? "I32" : "F32";
      this.#tensors.push({ name, dtype, shape: [...shape] });
    } else if (tensor === this.#tensors.at(-1)) {
      tensor.shape[axis] = (tensor.shape[axis] ?? 0) + (shape[axis] ?? 0);
    } else {
      throw new RangeError(`A part of ${name} came after another tensor had begun.`);
    }
    this.#scratch ??= await openScratchFile(this.path);
    await this.#scratch.appendFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }

  /** Writes the file; throws like `writeFileAtomically`. */
  async write(metadata: Readonly<Record<string, unknown>>, signal?: AbortSignal): Promise<void> {
    await writeFileAtomically(this.path, this.#pieces(metadata), signal);
  }

  /** Drops what was taken. */
  async close(): Promise<void> {
    await this.#scratch?.close();
    this.#scratch = undefined;
  }

  async *#pieces(metadata: Readonly<Record<string, unknown>>): AsyncGenerator<Uint8Array> {
    yield encodeSafetensorsHeader(this.#tensors, { format: "pt", weft: JSON.stringify(metadata) });
    if (this.#scratch === undefined) return;
    for (let position = 0; ;) {
      const { bytesRead, buffer } = await this.#scratch.read(new Uint8Array(COPY_BYTES), { position });
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }
}
