// The sinusoidal vector of a timestep that the time embedder's first layer reads (diffusers'
// `get_timestep_embedding` with flip_sin_to_cos and no frequency shift). On the CPU, since f32 sine and cosine of
// arguments up to 1000 differ between GPUs.

const MAX_PERIOD = 10_000;

/**
 * `[cos(t f_0), ..., sin(t f_0), ...]` with `f_i = 10000^(-i / half)`, in f64, rounded to f32 at the end.
 *
 * @param timestep 0 to 1000, need not be whole
 * @param freqDim even; `freq_dim` of the config
 * @returns [freqDim], cosines first
 */
export function timestepEmbedding(timestep: number, freqDim: number): Float32Array {
  const half = freqDim / 2;
  const embedding = new Float32Array(freqDim);
  for (let i = 0; i < half; i++) {
    const angle = timestep * MAX_PERIOD ** (-i / half);
    embedding[i] = Math.cos(angle);
    embedding[half + i] = Math.sin(angle);
  }
  return embedding;
}
