// One forward pass outside of any denoising loop: what a comparison with another implementation starts from.

import type { Denoiser, StepWatch } from "./denoiser.ts";

/** Inputs of the pass. */
export interface ForwardOnceOptions extends StepWatch {
  /** f32 [channels, T, h, w]. */
  readonly latents: Float32Array;
  /** 0 to 1000. */
  readonly timestep: number;
}

/** The transformer's conditional velocity for the latents, f32 [channels, T, h, w]. */
export async function forwardOnce<T>(
  denoiser: Denoiser<T>,
  { latents, timestep, ...watch }: ForwardOnceOptions,
): Promise<Float32Array> {
  const sample = denoiser.upload(latents, "latents");
  let velocity: T | undefined;
  try {
    const computer = denoiser.begin(0);
    const tensor = await computer.forward("conditional", { latents: sample, timestep, ...watch });
    velocity = computer.combine([{ tensor, coefficient: 1 }], "model_output");
    await computer.finish(watch);
    return await denoiser.read(velocity);
  } finally {
    for (const tensor of [sample, velocity]) if (tensor !== undefined) denoiser.free(tensor);
  }
}
