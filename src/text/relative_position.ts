// T5's relative position buckets: which row of `relative_attention_bias` belongs to a distance between two
// tokens (transformers' `T5Attention._relative_position_bucket`, bidirectional form). Tables only, no attention.

/** How a model sorts distances. */
export interface RelativePositionOptions {
  /** `relative_attention_num_buckets`: half of them for keys before the query, half for keys after it. */
  readonly numBuckets: number;
  /** `relative_attention_max_distance`: everything further away shares the last bucket. */
  readonly maxDistance: number;
}

// Quotients of logarithms that should be whole, as at distances 16, 32 and 64, may come out a hair below in f64.
const FLOOR_SLACK = 1e-9;

/** The bucket of one distance, `relativePosition = key position - query position`. */
export function relativePositionBucket(relativePosition: number, options: RelativePositionOptions): number {
  const half = Math.floor(options.numBuckets / 2);
  const base = relativePosition > 0 ? half : 0;
  const distance = Math.abs(relativePosition);
  const maxExact = Math.floor(half / 2);
  if (distance < maxExact) return base + distance;
  const position = Math.log(distance / maxExact) / Math.log(options.maxDistance / maxExact);
  const logBucket = maxExact + Math.floor(position * (half - maxExact) + FLOOR_SLACK);
  return base + Math.min(half - 1, logBucket);
}

/**
 * Buckets of every distance in a text of numTokens tokens.
 *
 * @returns [2 * numTokens - 1]; entry `relativePosition + numTokens - 1`
 */
export function relativePositionBuckets(numTokens: number, options: RelativePositionOptions): Uint32Array {
  const length = Math.max(0, 2 * numTokens - 1);
  return Uint32Array.from({ length }, (_, i) => relativePositionBucket(i - (numTokens - 1), options));
}

/**
 * The bias to add to the attention logits of one layer.
 *
 * @param biasTable `relative_attention_bias.weight`, [numBuckets, numHeads]
 * @returns [2 * numTokens - 1, numHeads]; row `key - query + numTokens - 1`
 */
export function relativePositionBias(
  biasTable: Float32Array,
  numTokens: number,
  options: RelativePositionOptions,
): Float32Array {
  const numHeads = biasTable.length / options.numBuckets;
  if (!Number.isInteger(numHeads)) {
    throw new RangeError(
      `A bias table of ${biasTable.length} values cannot have ${options.numBuckets} rows.`,
    );
  }
  const buckets = relativePositionBuckets(numTokens, options);
  const bias = new Float32Array(buckets.length * numHeads);
  buckets.forEach((bucket, row) => {
    bias.set(biasTable.subarray(bucket * numHeads, (bucket + 1) * numHeads), row * numHeads);
  });
  return bias;
}
