// Rotary position tables of the Wan transformer: one small table of cosines and sines per axis (time, rows,
// columns), in f64 rounded to f32. Callers choose the positions, so that clips of a long video can start anywhere
// and times can be fractional. The rotation itself happens in the attention kernels.
// Source: diffusers, models/transformers/transformer_wan.py, `WanRotaryPosEmbed`.

const THETA = 10_000;

/** The table of one axis. */
export interface RopeAxis {
  /** Pairs of head elements that this axis turns. */
  readonly pairs: number;
  /** [positions, pairs] */
  readonly cos: Float32Array;
  /** [positions, pairs] */
  readonly sin: Float32Array;
}

/** Tables for a token grid [frames, rows, columns]; the head vector is laid out [time | rows | columns]. */
export interface RopeTables {
  readonly time: RopeAxis;
  readonly rows: RopeAxis;
  readonly columns: RopeAxis;
}

/** Where the tokens of each axis stand; usually 0, 1, 2, ... (`consecutivePositions`). */
export interface RopePositions {
  readonly time: readonly number[];
  readonly rows: readonly number[];
  readonly columns: readonly number[];
  /** Another speed for temporal frequency number `frequency` (from 1, the fastest): RIFLEx. */
  readonly replaced?: { readonly frequency: number; readonly radians: number } | undefined;
}

/** Pairs per axis: rows and columns take a third of the head each, rounded down to pairs, time takes the rest. */
export function ropePairs(headDim: number): {
  readonly time: number;
  readonly rows: number;
  readonly columns: number;
} {
  const spatial = Math.floor(headDim / 6);
  return { time: headDim / 2 - 2 * spatial, rows: spatial, columns: spatial };
}

/** 0, 1, ..., count - 1. */
export function consecutivePositions(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/**
 * The tables for given positions. Elements 2j and 2j+1 of an axis turn by `position * 10000^(-j / pairs)`.
 *
 * @param headDim `attention_head_dim`, even
 */
export function ropeTables(headDim: number, positions: RopePositions): RopeTables {
  const pairs = ropePairs(headDim);
  const { replaced } = positions;
  const temporal = speeds(pairs.time).map((speed, j) =>
    replaced?.frequency === j + 1 ? replaced.radians : speed,
  );
  return {
    time: axisTable(temporal, positions.time),
    rows: axisTable(speeds(pairs.rows), positions.rows),
    columns: axisTable(speeds(pairs.columns), positions.columns),
  };
}

/** Radians that each pair turns per position. */
function speeds(pairs: number): number[] {
  return Array.from({ length: pairs }, (_, j) => THETA ** (-j / pairs));
}

function axisTable(radians: readonly number[], positions: readonly number[]): RopeAxis {
  const pairs = radians.length;
  const cos = new Float32Array(positions.length * pairs);
  const sin = new Float32Array(positions.length * pairs);
  positions.forEach((position, row) => {
    radians.forEach((speed, j) => {
      const angle = position * speed;
      cos[row * pairs + j] = Math.cos(angle);
      sin[row * pairs + j] = Math.sin(angle);
    });
  });
  return { pairs, cos, sin };
}
