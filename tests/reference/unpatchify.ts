// Twin of shaders/unpatchify.wgsl: puts patches back; within a patch the channel is fastest, then column, row, frame.

import type { PatchProblem } from "./patchify.ts";

/** x [tokens, pt * ph * pw * channels] to [channels, T, H, W]. */
export function unpatchify(x: ArrayLike<number>, { shape, patchSize }: PatchProblem): Float64Array {
  const [channels, numFrames, height, width] = shape;
  const [pt, ph, pw] = patchSize;
  const out = new Float64Array(x.length);
  let at = 0;
  for (let t = 0; t < numFrames; t += pt)
    for (let y = 0; y < height; y += ph)
      for (let left = 0; left < width; left += pw)
        for (let dt = 0; dt < pt; dt++)
          for (let dy = 0; dy < ph; dy++)
            for (let dx = 0; dx < pw; dx++)
              for (let c = 0; c < channels; c++)
                out[((c * numFrames + t + dt) * height + y + dy) * width + left + dx] = x[at++]!;
  return out;
}
