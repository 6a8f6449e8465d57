// Twin of shaders/patchify.wgsl: cuts latents into patches, one row of numbers per token.

/** Sizes of latents [channels, T, H, W] and of their patches. */
export interface PatchProblem {
  readonly shape: readonly [number, number, number, number];
  readonly patchSize: readonly [number, number, number];
}

/** [T/pt * H/ph * W/pw, channels * pt * ph * pw]; the column fastest within a patch, then row, frame, channel. */
export function patchify(latents: ArrayLike<number>, { shape, patchSize }: PatchProblem): Float64Array {
  const [channels, numFrames, height, width] = shape;
  const [pt, ph, pw] = patchSize;
  const out: number[] = [];
  for (let t = 0; t < numFrames; t += pt)
    for (let y = 0; y < height; y += ph)
      for (let x = 0; x < width; x += pw)
        for (let c = 0; c < channels; c++)
          for (let dt = 0; dt < pt; dt++)
            for (let dy = 0; dy < ph; dy++)
              for (let dx = 0; dx < pw; dx++)
                out.push(latents[((c * numFrames + t + dt) * height + y + dy) * width + x + dx]!);
  return Float64Array.from(out);
}
