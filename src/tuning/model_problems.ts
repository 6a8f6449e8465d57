// The problems of a transformer that have several tiles and take its time: the linear layers of a video's tokens. What few
// rows go through (text, timestep) is left to the default tiles; kernels of attention have one.

import type { Capabilities } from "../gpu/capabilities.ts";
import { usualLinearVariant } from "../ops/linear.ts";
import type { LinearStorage } from "../tensor/linear_weights.ts";
import { linearProblem, type TileProblem } from "./tile_problem.ts";

/** A transformer and the video it computes. */
export interface ModelSizes {
  readonly heads: number;
  readonly headDim: number;
  readonly ffnDim: number;
  /** Latent frames. */
  readonly frames: number;
  readonly tokensPerFrame: number;
}

/** What it computes with. */
export interface ModelNumbers {
  readonly dtype: "f32" | "f16";
  readonly storage: LinearStorage["storage"];
}

/** Columns that stored int8 weights share a scale for: other sizes are kept as f16. */
const INT8_COLUMNS = 64;

/** The problems, for the kernels that renders use on the adapter. */
export function modelProblems(
  { heads, headDim, ffnDim, frames, tokensPerFrame }: ModelSizes,
  { dtype, storage: wanted }: ModelNumbers,
  capabilities: Capabilities,
): TileProblem[] {
  const dim = heads * headDim;
  const sizes = [
    [dim, dim],
    [ffnDim, dim],
    [dim, ffnDim],
  ] as const;
  return sizes.map(([n, k]) => {
    const storage = wanted.startsWith("int8") && k % INT8_COLUMNS !== 0 ? "f16" : wanted;
    const variant = usualLinearVariant(capabilities, dtype, { n, k, storage });
    return linearProblem([frames * tokensPerFrame, n, k], { variant, dtype, storage }, capabilities);
  });
}
