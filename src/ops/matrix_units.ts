// Whether an adapter's matrix units can run the *_subgroup_matrix kernels: f16 fragments of 16 x 16 x 16 summed in f32
// (or int8 ones of 16 x 16 x 32 summed in i32), by subgroups of 32 (NVIDIA and others under Vulkan; Dawn's experimental
// feature).

import type { Capabilities, SubgroupMatrixConfig } from "../gpu/capabilities.ts";

const FRAGMENT = 16;
const SUBGROUP = 32;
/** What the kernels take at most. */
const WORKGROUP_BYTES = 24_576;

/** WGSL extensions of the kernels. */
export const MATRIX_ENABLES: readonly string[] = [
  "f16",
  "subgroups",
  "chromium_experimental_subgroup_matrix",
];

/** Whether the kernels run on this adapter. */
export function hasMatrixUnits(capabilities: Capabilities): boolean {
  return hasFragments(capabilities, { componentType: "f16", resultComponentType: "f32", K: FRAGMENT });
}

/** Whether the linear kernel also runs with int8 operands. */
export function hasInt8MatrixUnits(capabilities: Capabilities): boolean {
  const int8 = { componentType: "i8", resultComponentType: "i32", K: 2 * FRAGMENT };
  return hasMatrixUnits(capabilities) && hasFragments(capabilities, int8);
}

function hasFragments(
  { f16, subgroupMinSize, subgroupMaxSize, maxWorkgroupBytes, subgroupMatrices }: Capabilities,
  wanted: Omit<SubgroupMatrixConfig, "M" | "N">,
): boolean {
  return (
    f16 &&
    subgroupMinSize === SUBGROUP &&
    subgroupMaxSize === SUBGROUP &&
    maxWorkgroupBytes >= WORKGROUP_BYTES &&
    subgroupMatrices.some(
      ({ componentType, resultComponentType, M, N, K }) =>
        componentType === wanted.componentType &&
        resultComponentType === wanted.resultComponentType &&
        M === FRAGMENT &&
        N === FRAGMENT &&
        K === wanted.K,
    )
  );
}
