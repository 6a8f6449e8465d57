// The parameters of a Linear layer in GPU memory, in any of the storages the linear kernels read.

import type { Tensor } from "./tensor.ts";

/** A Linear layer's parameters in GPU memory. Weight [n, k] as torch stores it. */
export interface LinearWeights {
  readonly label: string;
  readonly n: number;
  readonly k: number;
  readonly weight: LinearStorage;
  /** [n] f32. */
  readonly bias: Tensor;
}

/**
 * How the weight matrix is stored: f32 or f16 as is; bytes with (scale, bias) f16 pairs per 64 columns ("int8"); or int8
 * [n, k / 4 in a u32] with one f32 scale per row, for products of integers ("int8_rows").
 */
export type LinearStorage =
  | { readonly storage: "f32" | "f16"; readonly data: Tensor }
  | { readonly storage: "int8"; readonly data: Tensor; readonly scaleBias: Tensor }
  | { readonly storage: "int8_rows"; readonly data: Tensor; readonly scale: Tensor };
