// Patch vectors back to latents.

import type { Recorder } from "../gpu/recorder.ts";
import { binding, elementCount, type Tensor, tensorBytes, temporaryTensor } from "../tensor/tensor.ts";
import source from "../../shaders/unpatchify.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import type { PatchSize } from "./patchify.ts";

const KERNEL = { stem: "unpatchify", source };

/** The latents to make: channels and their size in latent frames, rows, columns. */
export interface UnpatchifyOptions {
  readonly patchSize: PatchSize;
  /** [channels, T, H, W]. */
  readonly shape: readonly [number, number, number, number];
}

/** Records x [tokens, pt * ph * pw * channels] to f32 [channels, T, H, W]. */
export function unpatchify(recorder: Recorder, x: Tensor, { patchSize, shape }: UnpatchifyOptions): Tensor {
  const [channels, ...size] = shape;
  const count = elementCount(shape);
  const grid = size.map((length, axis) => length / (patchSize[axis] ?? 1));
  if (elementCount(x.shape) !== count || !grid.every(Number.isInteger)) {
    throw new Error(
      `Cannot record unpatchify: x is [${x.shape.join(", ")}], the latents are [${shape.join(", ")}] ` +
        `in patches of [${patchSize.join(", ")}].`,
    );
  }
  const latents = temporaryTensor(recorder, { label: "unpatchify", dtype: "f32", shape });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: x.dtype },
    enables: x.dtype === "f16" ? ["f16"] : [],
    params: {
      count,
      channels,
      grid,
      patch_size: patchSize,
    },
    buffers: { x: binding(x), latents: binding(latents) },
    workgroups: elementGroups(count),
    flops: count,
    bytes: tensorBytes(latents) + tensorBytes(x),
  });
  return latents;
}
