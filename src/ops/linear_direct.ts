// The linear kernel of software adapters: no workgroup memory, no barriers. `linear` chooses it.

import source from "../../shaders/linear_direct.wgsl?raw";
import type { LinearSize, LinearTile } from "./linear_variant.ts";
import type { Tiles } from "./tile.ts";

const KERNEL = { stem: "linear_direct", source };
/** Rows a thread computes: the best of 4, 8 and 16 on SwiftShader. */
const ROWS = 16;

/** The tile for an [m, n] result, the only one: 16 threads of 4 columns, ROWS rows each. */
export function linearDirect({ m, n }: LinearSize): Tiles<LinearTile> {
  const workgroups = [Math.ceil(n / 64), Math.ceil(m / ROWS)] as const;
  return [{ name: `${ROWS}x64`, kernel: KERNEL, constants: { ROWS }, workgroups }];
}
