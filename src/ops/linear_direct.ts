// The linear kernel of software adapters: no workgroup memory, no barriers. `linear` chooses it.

import source from "../../shaders/linear_direct.wgsl?raw";
import type { LinearSize, LinearVariant } from "./linear_variant.ts";

const KERNEL = { stem: "linear_direct", source };
/** Rows a thread computes: the best of 4, 8 and 16 on SwiftShader. */
const ROWS = 16;

/** The variant for an [m, n] result: 16 threads of 4 columns, ROWS rows each. */
export function linearDirect({ m, n }: LinearSize): LinearVariant {
  return { kernel: KERNEL, constants: { ROWS }, workgroups: [Math.ceil(n / 64), Math.ceil(m / ROWS)] };
}
