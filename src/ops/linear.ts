// Linear layer: y = activation(x W^T + b), for every weight storage. Chooses tile sizes and arithmetic by capability.

import { WeightsError } from "../errors.ts";
import type { Capabilities } from "../gpu/capabilities.ts";
import type { Recorder } from "../gpu/recorder.ts";
import type { LinearWeights } from "../tensor/linear_weights.ts";
import {
  binding,
  type DType,
  elementCount,
  reshape,
  type Tensor,
  tensorBytes,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/linear.wgsl?raw";
import { ACTIVATIONS, type Activation } from "./activation.ts";
import { linearDirect } from "./linear_direct.ts";
import { fitsF16, linearF16 } from "./linear_f16.ts";
import { fitsSubgroupMatrix, linearSubgroupMatrix } from "./linear_subgroup_matrix.ts";
import { type LinearSize, type LinearVariant, tileVariant } from "./linear_variant.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "./matrix_units.ts";
import { requireRow } from "./operand_checks.ts";
import { quantizeRows } from "./quantize_rows.ts";

/** What may vary from call to call. */
export interface LinearOptions {
  /** Applied to the sum; default "none". */
  readonly activation?: Activation;
  /** Element type of the result; default x's. */
  readonly dtype?: DType;
  readonly label?: string;
  /**
   * Which kernel; default "direct" on software adapters, otherwise "tiled" for f32 operands, and for f16 ones
   * "subgroup_matrix" where the adapter has matrix units and the sizes suit them, else "f16" where k is a multiple of 8.
   * Weights "int8_rows" are only for "subgroup_matrix", which then rounds x to int8, too, each row to a scale of its own.
   */
  readonly variant?: keyof typeof VARIANTS;
}

const KERNEL = { stem: "linear", source };

/** Workgroup memory of a tile with 16 rows and 2 times 4 columns a thread; WebGPU only promises 16 KiB. */
const BIG_TILE_BYTES = 20_480;
/** Groups of four columns of k that the tiled kernel stages at a time. */
const TILE_K4 = 4;

const VARIANTS = {
  tiled: linearTiled,
  direct: linearDirect,
  f16: linearF16,
  subgroup_matrix: linearSubgroupMatrix,
} as const;

/** Records y [m, n] = activation(x [m, k] W^T + b). */
export function linear(
  recorder: Recorder,
  x: Tensor,
  weights: LinearWeights,
  options: LinearOptions = {},
): Tensor {
  const { activation = "none", dtype = x.dtype, label = weights.label } = options;
  const { n, k, weight, bias } = weights;
  const m = elementCount(x.shape) / k;
  if (x.shape.at(-1) !== k) {
    throw new Error(
      `Cannot record linear as inner dimensions must match: x is [${x.shape.join(", ")}], ${label} is [${n}, ${k}].`,
    );
  }
  const multiple = weight.storage.startsWith("int8") ? 64 : 4;
  if (k % multiple !== 0) {
    throw new WeightsError(
      `${label} has ${k} input features; Weft needs a multiple of ${multiple} for ${weight.storage} weights.`,
    );
  }
  requireRow("linear", bias, { columns: n });
  const out = temporaryTensor(recorder, { label, dtype, shape: [...x.shape.slice(0, -1), n] });
  const { capabilities } = recorder.gpu;
  const variant = options.variant ?? defaultVariant(capabilities, x, weights);
  if (weight.storage === "int8_rows" && variant !== "subgroup_matrix") {
    throw new Error(`Cannot record linear ${variant}: ${label} is stored for int8 matrix units only.`);
  }
  const { kernel, constants, enables = [], workgroups } = VARIANTS[variant]({ m, n, k }, capabilities);
  const { buffers, release } = operandBuffers(recorder, x, weights);
  recorder.dispatch({
    kernel,
    constants: { elem: x.dtype, out_elem: dtype, ACTIVATION: ACTIVATIONS[activation], ...constants },
    imports: { storage: weight.storage, operands: weight.storage === "int8_rows" ? "int8" : "f16" },
    enables: enables.length === 0 && (x.dtype === "f16" || dtype === "f16") ? ["f16"] : enables,
    params: { m, n, k },
    buffers: { ...buffers, bias: binding(bias), out: binding(out), weight: binding(weight.data) },
    workgroups,
    flops: 2 * m * n * k,
    bytes: tensorBytes(x) + tensorBytes(out) + tensorBytes(weight.data),
  });
  release();
  return out;
}

/** x and what the storage of the weights adds; int8 operands are made from x first. */
function operandBuffers(
  recorder: Recorder,
  x: Tensor,
  { n, k, weight }: LinearWeights,
): { buffers: Record<string, ReturnType<typeof binding>>; release: () => void } {
  const kept = (): void => {};
  switch (weight.storage) {
    case "f32":
    case "f16":
      return { buffers: { x: binding(x) }, release: kept };
    case "int8":
      return { buffers: { x: binding(x), weight_scale_bias: binding(weight.scaleBias) }, release: kept };
    case "int8_rows": {
      const { data, scale } = quantizeRows(recorder, reshape(x, [elementCount(x.shape) / k, k]));
      requireRow("linear", weight.scale, { columns: n });
      const buffers = { x: binding(data), x_scale: binding(scale), weight_scale: binding(weight.scale) };
      return { buffers, release: () => [data, scale].forEach(({ buffer }) => recorder.release(buffer)) };
    }
  }
}

function defaultVariant(
  capabilities: Capabilities,
  { dtype }: Tensor,
  { n, k, weight }: LinearWeights,
): keyof typeof VARIANTS {
  if (weight.storage === "int8_rows") return hasInt8MatrixUnits(capabilities) ? "subgroup_matrix" : "tiled";
  if (capabilities.software) return "direct";
  if (dtype !== "f16") return "tiled";
  const suits = weight.storage !== "f32" && fitsSubgroupMatrix(n, k) && hasMatrixUnits(capabilities);
  if (suits) return "subgroup_matrix";
  return fitsF16(k) ? "f16" : "tiled";
}

/** Tiles of linear.wgsl: big ones re-use operands more, small problems need many workgroups. */
function linearTiled({ m, n }: LinearSize, { maxWorkgroupBytes }: Capabilities): LinearVariant {
  return tileVariant(KERNEL, { ...tiledTile(m, n, maxWorkgroupBytes), TILE_K4 }, { m, n, step: TILE_K4 });
}

function tiledTile(
  m: number,
  n: number,
  maxWorkgroupBytes: number,
): { ROWS: number; COLUMNS: number; TY: number } {
  if (m <= 16) return { ROWS: 4, COLUMNS: 1, TY: 4 };
  if (m < 1024 || n < 512) return { ROWS: 4, COLUMNS: 1, TY: 16 };
  return maxWorkgroupBytes < BIG_TILE_BYTES
    ? { ROWS: 8, COLUMNS: 2, TY: 8 }
    : { ROWS: 16, COLUMNS: 2, TY: 8 };
}
