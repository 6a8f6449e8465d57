// Twin of what shaders/attention_subgroup_matrix.wgsl makes its probabilities relative to: the largest logit of a sample
// of a query's keys, and which workgroups find that too small and start again. In f64, one workgroup after the other.

/** What the kernel reads, apart from values. */
export interface SampledAttention {
  readonly heads: number;
  readonly headDim: number;
  /** Factor of the logits. */
  readonly scale: number;
  /** [num_queries, heads * head_dim], rotated. */
  readonly q: ArrayLike<number>;
  /** [num_keys, heads * head_dim], rotated. */
  readonly k: ArrayLike<number>;
  readonly numQueryTiles: number;
  /** Every head has its own list. */
  readonly perHead: boolean;
  /** [lists, query tiles, 4]: first row, rows, first key tile, the one after the last. */
  readonly queryTiles: ArrayLike<number>;
  /** Of a list's tiles, in order. */
  readonly keyTiles: readonly KeyRows[];
}

/** A key tile, of at most 64 rows. */
export interface KeyRows {
  readonly start: number;
  readonly rows: number;
  /** Added to its logits. */
  readonly bias: number;
}

/** What becomes of one workgroup. */
export interface SampledWorkgroup {
  /** Of each of its queries: how far the largest logit lies above the largest sampled one, at least 0. */
  readonly excess: readonly number[];
  readonly startsAgain: boolean;
}

const TILE_KEYS = 64;
/** Keys of a step, and of a round of samples. */
const STEP_KEYS = 32;
/** Keys of a step whose probabilities one thread sums. */
const THREAD_KEYS = 16;
const ROUNDS = 4;
const LARGEST_F16 = 65_504;

/**
 * The places that are sampled of a list of `keyTiles` tiles, 64 places each, by the query tile whose first row is `tile`
 * tiles from the first: a round of 32 for every 4 steps, at most 4, an odd number of places apart.
 */
export function sampledPlaces(keyTiles: number, tile: number, numQueryTiles: number): number[] {
  const steps = (TILE_KEYS / STEP_KEYS) * keyTiles;
  const rounds = Math.min(Math.max(Math.floor(steps / 4), 1), ROUNDS, steps);
  const apart = Math.floor(steps / Math.max(rounds, 1)) | 1;
  const own = TILE_KEYS * Math.floor((keyTiles * tile) / numQueryTiles);
  return Array.from({ length: STEP_KEYS * rounds }, (_, i) => (own + i * apart) % (TILE_KEYS * keyTiles));
}

/** Computes the logits of a workgroup and compares them with their sample. */
export function sampledWorkgroup(
  problem: SampledAttention,
  { head, tile }: { readonly head: number; readonly tile: number },
): SampledWorkgroup {
  const { queryTiles, numQueryTiles, perHead } = problem;
  const at = 4 * ((perHead ? head * numQueryTiles : 0) + tile);
  const [start, rows, begin, end] = [0, 1, 2, 3].map((i) => queryTiles[at + i]!) as [
    number,
    number,
    number,
    number,
  ];
  const keys = problem.keyTiles.slice(begin, end);
  const sample = sampledPlaces(keys.length, Math.floor(start / TILE_KEYS), numQueryTiles).map((place) =>
    lastKey(place, keys),
  );
  const logits = new Float64Array(keys.length * TILE_KEYS);
  const excess: number[] = [];
  let startsAgain = false;
  for (let row = start; row < start + rows; row++) {
    writeLogits(problem, { head, row, keys }, logits);
    const sampled = Math.max(...sample.map((place) => logits[place]!));
    excess.push(keys.length === 0 ? 0 : largest(logits, 0, logits.length) - sampled);
    startsAgain ||= threadSums(logits, sampled).some((sum) => sum > LARGEST_F16);
  }
  return { excess, startsAgain };
}

/** A place that has no key stands for the last one of its tile. */
function lastKey(place: number, keys: readonly KeyRows[]): number {
  const row = place % TILE_KEYS;
  return place - row + Math.min(row, Math.max(keys[(place - row) / TILE_KEYS]!.rows, 1) - 1);
}

interface LogitRow {
  readonly head: number;
  readonly row: number;
  readonly keys: readonly KeyRows[];
}

/** 64 logits for every tile, -Infinity for what is no key. */
function writeLogits(
  { q, k, heads, headDim, scale }: SampledAttention,
  { head, row, keys }: LogitRow,
  logits: Float64Array,
): void {
  const width = heads * headDim;
  const query = row * width + head * headDim;
  logits.fill(-Infinity);
  keys.forEach(({ start, rows, bias }, tile) => {
    for (let j = 0; j < rows; j++) {
      const key = (start + j) * width + head * headDim;
      let dot = 0;
      for (let d = 0; d < headDim; d++) dot += q[query + d]! * k[key + d]!;
      logits[tile * TILE_KEYS + j] = dot * scale + bias;
    }
  });
}

function largest(logits: Float64Array, start: number, count: number): number {
  let max = -Infinity;
  for (let i = start; i < start + count; i++) max = Math.max(max, logits[i]!);
  return max;
}

/** The sums of the two threads that share a row: one has the first 16 keys of every step, the other the last. */
function threadSums(logits: Float64Array, sampled: number): [number, number] {
  const sums: [number, number] = [0, 0];
  for (let i = 0; i < logits.length; i++)
    sums[Math.floor(i / THREAD_KEYS) % 2]! += Math.exp(logits[i]! - sampled);
  return sums;
}
