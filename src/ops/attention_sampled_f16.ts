// A candidate tile of attention with f16 products: relative to the maximum of a sample of the keys. On adapters without
// shader-f16 the very same text computes in f32, so that it can be tested there.

import type { Capabilities } from "../gpu/capabilities.ts";
import source from "../../shaders/attention_sampled_f16.wgsl?raw";
import type { Tile } from "./tile.ts";

const KERNEL = { stem: "attention_sampled_f16", source };

/** The tile; it takes the bindings and parameters of the `attention` kernel. */
export function attentionSampledF16(headDim: number, { f16 }: Capabilities): Tile {
  const part = f16 ? "f16" : "f32";
  return {
    name: "64 x 64, sampled maximum",
    kernel: KERNEL,
    constants: { HEAD_DIM: headDim, part },
    imports: { part },
    enables: f16 ? ["f16"] : [],
  };
}
