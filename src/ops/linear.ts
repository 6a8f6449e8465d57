// Linear layer: y = activation(x W^T + b), for every weight storage. Chooses tile sizes and arithmetic by capability.

import { WeightsError } from "../errors.ts";
import type { Recorder } from "../gpu/recorder.ts";
import {
  binding,
  type DType,
  elementCount,
  type Tensor,
  tensorBytes,
  temporaryTensor,
} from "../tensor/tensor.ts";
import source from "../../shaders/linear.wgsl?raw";
import { ACTIVATIONS, type Activation } from "./activation.ts";

/** A Linear layer's parameters in GPU memory. Weight [n, k] as torch stores it. */
export interface LinearWeights {
  readonly label: string;
  readonly n: number;
  readonly k: number;
  readonly weight: LinearStorage;
  /** [n] f32. */
  readonly bias: Tensor;
}

/** How the weight matrix is stored: f32 or f16 as is, or bytes with (scale, bias) f16 pairs per 64 columns. */
export type LinearStorage =
  | { readonly storage: "f32" | "f16"; readonly data: Tensor }
  | { readonly storage: "int8"; readonly data: Tensor; readonly scaleBias: Tensor };

/** What may vary from call to call. */
export interface LinearOptions {
  /** Applied to the sum; default "none". */
  readonly activation?: Activation;
  /** Element type of the result; default x's. */
  readonly dtype?: DType;
  readonly label?: string;
}

const KERNEL = { stem: "linear", source };

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
  if (k % 4 !== 0) throw new WeightsError(`${label} has ${k} input features; Weft needs a multiple of 4.`);
  const out = temporaryTensor(recorder, { label, dtype, shape: [...x.shape.slice(0, -1), n] });
  const tile = chooseTile(m, n, recorder.gpu.capabilities.software);
  recorder.dispatch({
    kernel: KERNEL,
    constants: {
      elem: x.dtype,
      out_elem: dtype,
      ACTIVATION: ACTIVATIONS[activation],
      ...tile,
    },
    imports: { storage: weight.storage },
    enables: x.dtype === "f16" || dtype === "f16" ? ["f16"] : [],
    params: { m, n, k },
    buffers: {
      x: binding(x),
      bias: binding(bias),
      out: binding(out),
      weight: binding(weight.data),
      ...(weight.storage === "int8" ? { weight_scale_bias: binding(weight.scaleBias) } : {}),
    },
    workgroups: [Math.ceil(n / (64 * tile.COLUMNS)), Math.ceil(m / (16 * tile.ROWS))],
    flops: 2 * m * n * k,
    bytes: tensorBytes(x) + tensorBytes(out) + tensorBytes(weight.data),
  });
  return out;
}

interface LinearTile extends Record<string, number> {
  /** Rows per thread, 16 threads apart. */
  readonly ROWS: number;
  /** Groups of 4 columns per thread. */
  readonly COLUMNS: number;
  /** Columns of k staged at a time, in vec4. */
  readonly TILE_K4: number;
}

/** Big tiles re-use operands more; small problems need many workgroups. */
function chooseTile(m: number, n: number, software: boolean): LinearTile {
  if (software) return { ROWS: m > 16 ? 4 : 1, COLUMNS: 1, TILE_K4: 4 };
  if (m >= 1024 && n >= 512) return { ROWS: 8, COLUMNS: 2, TILE_K4: 4 };
  return { ROWS: m > 16 ? 4 : 1, COLUMNS: 1, TILE_K4: 4 };
}
