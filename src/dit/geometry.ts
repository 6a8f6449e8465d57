// The token grid of one video size, and what depends on nothing else: rotary table and self-attention's tile lists.

import { freeTileLists, fullTileLists, type TileLists, uploadTileLists } from "../attention/tile_lists.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { AttentionTiles } from "../ops/attention.ts";
import type { RotaryTable } from "../ops/rope_3d.ts";
import { freeTensor, uploadTensor } from "../tensor/tensor.ts";
import { consecutivePositions, ropeTables } from "./rope_tables.ts";
import type { WanTransformerConfig } from "./transformer_config.ts";

/** Size of the latents. */
export interface LatentSize {
  readonly numLatentFrames: number;
  readonly latentHeight: number;
  readonly latentWidth: number;
}

/** The token grid in GPU terms. */
export interface Geometry extends LatentSize {
  readonly tokens: number;
  readonly rotary: RotaryTable;
  readonly lists: TileLists;
  readonly selfTiles: AttentionTiles;
}

/** Prepares a video size; free it with `freeGeometry`. */
export function createGeometry(gpu: Gpu, config: WanTransformerConfig, size: LatentSize): Geometry {
  const [patchT = 1, patchH = 1, patchW = 1] = config.patch_size;
  const frames = size.numLatentFrames / patchT;
  const gridHeight = size.latentHeight / patchH;
  const gridWidth = size.latentWidth / patchW;
  const lists = fullTileLists(frames, gridHeight * gridWidth);
  return {
    ...size,
    tokens: frames * gridHeight * gridWidth,
    rotary: uploadRotary(gpu, config.attention_head_dim, { frames, gridHeight, gridWidth }),
    lists,
    selfTiles: uploadTileLists(gpu, lists, "attn1"),
  };
}

/** Frees what `createGeometry` uploaded. */
export function freeGeometry(gpu: Gpu, { rotary, selfTiles }: Geometry): void {
  freeTensor(gpu, rotary.table);
  freeTileLists(gpu, selfTiles);
}

function uploadRotary(
  gpu: Gpu,
  headDim: number,
  grid: Pick<RotaryTable, "frames" | "gridHeight" | "gridWidth">,
): RotaryTable {
  const { time, rows, columns } = ropeTables(headDim, {
    time: consecutivePositions(grid.frames),
    rows: consecutivePositions(grid.gridHeight),
    columns: consecutivePositions(grid.gridWidth),
  });
  const pairs = [time, rows, columns].flatMap(({ cos, sin }) =>
    Array.from(cos, (value, i) => [value, sin[i] ?? 0]).flat(),
  );
  const table = uploadTensor(
    gpu,
    { label: "rotary_emb", dtype: "f32", shape: [pairs.length] },
    Float32Array.from(pairs),
  );
  return { ...grid, table, pairs: [time.pairs, rows.pairs, columns.pairs] };
}
