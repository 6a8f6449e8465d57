// Latents to patch vectors, one per token.

import type { Recorder } from "../gpu/recorder.ts";
import {
  binding,
  type DType,
  elementCount,
  type Tensor,
  tensorBytes,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/patchify.wgsl?raw";
import { elementGroups } from "./element_groups.ts";
import { requireF32 } from "./operand_checks.ts";

/** Patch size in latent frames, rows and columns; `patch_size` of the transformer's config. */
export type PatchSize = readonly [number, number, number];

const KERNEL = { stem: "patchify", source };

/** Records latents f32 [channels, T, H, W] to [T/pt * H/ph * W/pw, channels * pt * ph * pw]. */
export function patchify(
  recorder: Recorder,
  latents: Tensor,
  { patchSize, dtype }: { patchSize: PatchSize; dtype: DType },
): Tensor {
  requireF32("patchify", latents);
  const [channels = 0, ...size] = latents.shape;
  const grid = size.map((length, axis) => length / (patchSize[axis] ?? 1));
  if (grid.length !== 3 || !grid.every(Number.isInteger)) {
    throw new Error(
      `Cannot record patchify: latents [${latents.shape.join(", ")}] are not whole patches of [${patchSize.join(", ")}].`,
    );
  }
  const count = elementCount(latents.shape);
  const features = channels * elementCount(patchSize);
  const out = temporaryTensor(recorder, { label: "patchify", dtype, shape: [count / features, features] });
  recorder.dispatch({
    kernel: KERNEL,
    constants: { elem: dtype },
    enables: dtype === "f16" ? ["f16"] : [],
    params: { count, channels, grid, patch_size: patchSize },
    buffers: { latents: binding(latents), out: binding(out) },
    workgroups: elementGroups(count),
    flops: count,
    bytes: tensorBytes(latents) + tensorBytes(out),
  });
  return out;
}
