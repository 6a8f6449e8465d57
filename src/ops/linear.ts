// Linear layer: y = activation(x W^T + b), for every weight storage. Chooses tile sizes and arithmetic by capability.

import { WeightsError } from "../errors.ts";
import type { Capabilities } from "../gpu/capabilities.ts";
import type { Recorder } from "../gpu/recorder.ts";
import type { TileWork } from "../gpu/tile_choices.ts";
import type { LinearStorage, LinearWeights } from "../tensor/linear_weights.ts";
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
import {
  type LinearSize,
  type LinearTile,
  linearTiles,
  type StoredLinearSize,
  threadTile,
} from "./linear_variant.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "./matrix_units.ts";
import { requireRow } from "./operand_checks.ts";
import { quantizeRows } from "./quantize_rows.ts";
import { pickTile, type Tiles } from "./tile.ts";

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
  readonly variant?: LinearVariant;
  /** Which of the kernel's tiles; default the one chosen on this device, else the first. */
  readonly tile?: string | undefined;
}

/** The kernels of a linear layer; each has a list of tiles. */
export type LinearVariant = keyof typeof VARIANTS;

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
  const variant =
    options.variant ?? usualLinearVariant(capabilities, x.dtype, { n, k, storage: weight.storage });
  if (weight.storage === "int8_rows" && variant !== "subgroup_matrix") {
    throw new Error(`Cannot record linear ${variant}: ${label} is stored for int8 matrix units only.`);
  }
  const size = { m, n, k, storage: weight.storage };
  const tile = pickTile(VARIANTS[variant](size, capabilities), recorder.gpu, {
    ...linearTileWork({ variant, dtype: x.dtype }, size),
    name: options.tile,
  });
  const { kernel, workgroups } = tile;
  const { buffers, release } = operandBuffers(recorder, x, weights);
  recorder.dispatch({
    kernel,
    constants: { elem: x.dtype, out_elem: dtype, ACTIVATION: ACTIVATIONS[activation], ...tile.constants },
    imports: { storage: weight.storage, operands: weight.storage === "int8_rows" ? "int8" : "f16" },
    settings: tile.settings ?? {},
    enables: tile.enables ?? (x.dtype === "f16" || dtype === "f16" ? ["f16"] : []),
    params: { m, n, k },
    buffers: { ...buffers, bias: binding(bias), out: binding(out), weight: binding(weight.data) },
    workgroups,
    flops: 2 * m * n * k,
    bytes: tensorBytes(x) + tensorBytes(out) + tensorBytes(weight.data),
  });
  release();
  return out;
}

/** The tiles of a kernel for a size of layer; the default first. */
export function tilesOfLinear(
  variant: LinearVariant,
  size: StoredLinearSize,
  capabilities: Capabilities,
): Tiles<LinearTile> {
  return VARIANTS[variant](size, capabilities);
}

/** What a tile is chosen for: layers that differ in their rows only share a choice. */
export function linearTileWork(
  { variant, dtype }: { variant: LinearVariant; dtype: DType },
  { m, n, k, storage }: StoredLinearSize,
): TileWork {
  return { work: `linear ${variant}, ${dtype} x ${storage}, ${n} x ${k}`, rows: m };
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

/** The kernel that a layer gets on an adapter when nobody asks for another; x of the dtype. */
export function usualLinearVariant(
  capabilities: Capabilities,
  dtype: DType,
  { n, k, storage }: { n: number; k: number; storage: LinearStorage["storage"] },
): LinearVariant {
  if (storage === "int8_rows") return hasInt8MatrixUnits(capabilities) ? "subgroup_matrix" : "tiled";
  if (capabilities.software) return "direct";
  if (dtype !== "f16") return "tiled";
  const suits = storage !== "f32" && fitsSubgroupMatrix(n, k) && hasMatrixUnits(capabilities);
  if (suits) return "subgroup_matrix";
  return fitsF16(k) ? "f16" : "tiled";
}

/** Tiles of linear.wgsl: big ones re-use operands more, small problems need many workgroups. */
function linearTiled(size: LinearSize, capabilities: Capabilities): Tiles<LinearTile> {
  const tileOf = (tile: { ROWS: number; COLUMNS: number; TY: number }): LinearTile =>
    threadTile({ kernel: KERNEL, step: TILE_K4, values: 4 }, { ...tile, TILE_K4 }, size);
  const first = tileOf(defaultTile(size, capabilities));
  return size.m <= 16 ? [first] : linearTiles(first, TILES.map(tileOf));
}

/** Candidates for more than a few rows: less workgroup memory than the largest, and half its threads again. */
const TILES = [
  { ROWS: 8, COLUMNS: 2, TY: 8 },
  { ROWS: 16, COLUMNS: 2, TY: 4 },
] as const;

function defaultTile(
  { m, n }: LinearSize,
  { maxWorkgroupBytes }: Capabilities,
): { ROWS: number; COLUMNS: number; TY: number } {
  if (m <= 16) return { ROWS: 4, COLUMNS: 1, TY: 4 };
  if (m < 1024 || n < 512) return { ROWS: 4, COLUMNS: 1, TY: 16 };
  return maxWorkgroupBytes < BIG_TILE_BYTES
    ? { ROWS: 8, COLUMNS: 2, TY: 8 }
    : { ROWS: 16, COLUMNS: 2, TY: 8 };
}
