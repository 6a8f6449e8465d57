// Weights of a checkpoint as tensors to feed, f32 whatever their storage. Small models are widened once; of large ones
// the numbers stay as they are stored and a layer is widened whenever it is fed, so that memory does not double.

import type { Tensor } from "onnxruntime-web";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { f32FromStored, type StoredTensor } from "../weights/stored_tensor.ts";
import type { TensorLookup } from "./named_tensors.ts";
import type { OrtRuntime } from "./ort_runtime.ts";

/** Shapes by checkpoint name. */
export type WeightShapes = Readonly<Record<string, readonly number[]>>;

/** How to read weights. */
export interface ReadWeightsOptions {
  /** Of the names in the checkpoint, left out of the names in the result. */
  readonly prefix?: string | undefined;
  /** Shapes by name without the prefix. A `.bias` that the checkpoint does not have is zero. */
  readonly shapes: WeightShapes;
  /** Widen now and keep the result. */
  readonly wide: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called with the file bytes of every tensor that was read. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** Reads weights. Throws `WeightsError` for missing and mis-shaped ones. */
export async function readWeights(
  ort: OrtRuntime,
  checkpoint: Checkpoint,
  { prefix = "", shapes, wide, signal, onBytes }: ReadWeightsOptions,
): Promise<TensorLookup> {
  const makers = new Map<string, () => Tensor>();
  for (const [name, shape] of Object.entries(shapes)) {
    const stored = await readOne(checkpoint, prefix + name, { shape, signal, onBytes });
    if (!wide) {
      makers.set(name, () => ort.tensor(f32FromStored(stored), shape));
      continue;
    }
    const tensor = ort.tensor(f32FromStored(stored), shape);
    makers.set(name, () => tensor);
  }
  return (name) => makers.get(name)?.();
}

async function readOne(
  checkpoint: Checkpoint,
  name: string,
  { shape, signal, onBytes }: { shape: readonly number[] } & Pick<ReadWeightsOptions, "signal" | "onBytes">,
): Promise<StoredTensor> {
  if (name.endsWith(".bias") && !checkpoint.has(name)) {
    return { storage: "f32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
  }
  const stored = await checkpoint.readStored(name, { shape, signal });
  onBytes?.(checkpoint.info(name).bytes);
  return stored;
}
