// The attention kernel of adapters with shader-f16: f16 products, f32 sums. `attention` chooses it for f16 operands.

import source from "../../shaders/attention_f16.wgsl?raw";

/** Takes the bindings and parameters of the `attention` kernel. */
export const ATTENTION_F16 = { stem: "attention_f16", source };
