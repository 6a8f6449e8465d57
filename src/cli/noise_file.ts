// `--noise FILE.safetensors`: the initial noise of another program, in the tensor `initial_noise`.

import { basename, dirname } from "node:path";
import { InputError } from "../errors.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import type { GivenNoise } from "../pipelines/render_latents.ts";
import { openCheckpointFile } from "../weights/checkpoint.ts";
import { openFolderSource } from "../weights/folder_source_node.ts";
import type { RenderJob } from "./render_request.ts";

const TENSOR = "initial_noise";

const FLOAT_TYPES: readonly string[] = ["F32", "F16", "BF16"];

/** Pixels per latent, and frames per latent frame after the first. */
const SPATIAL_FACTOR = 8;
const TEMPORAL_FACTOR = 4;

/** Reads `initial_noise`, [channels, T, h, w] or [1, channels, T, h, w]. Throws `InputError` or `WeightsError`. */
export async function readNoise(path: string, signal?: AbortSignal): Promise<GivenNoise> {
  const file = await openCheckpointFile(openFolderSource(dirname(path)), basename(path), { signal });
  if (!file.has(TENSOR)) {
    const names = file.names.slice(0, 5).join(", ");
    throw new InputError(`${path} has no tensor "${TENSOR}"; it has ${names || "none at all"}.`);
  }
  const { shape, dtype } = file.info(TENSOR);
  if (!FLOAT_TYPES.includes(dtype)) {
    throw new InputError(`The noise in ${path} is ${dtype}; expected ${FLOAT_TYPES.join(", ")}.`);
  }
  const [channels = 0, frames = 0, height = 0, width = 0, ...more] = shape[0] === 1 ? shape.slice(1) : shape;
  if (more.length > 0 || channels * frames * height * width === 0) {
    throw new InputError(
      `The noise in ${path} has the shape [${shape.join(", ")}]; expected [1, channels, frames, height, width].`,
    );
  }
  const data = await file.readF32(TENSOR, { signal });
  return { data, shape: [channels, frames, height, width], name: basename(path) };
}

/** The job with the size its noise has. Throws `InputError` when the job asks for another one. */
export function withNoiseSize(job: RenderJob, { shape }: Latents): RenderJob {
  const [, frames, height, width] = shape;
  const implied = {
    frames: TEMPORAL_FACTOR * (frames - 1) + 1,
    height: SPATIAL_FACTOR * height,
    width: SPATIAL_FACTOR * width,
  };
  for (const name of ["frames", "height", "width"] as const) {
    const asked = job[name];
    if (asked === undefined || asked === implied[name]) continue;
    throw new InputError(
      `The noise in ${job.noise} is for ${implied.frames} frames of ${implied.width}x${implied.height}, but ${name} is ` +
        `${asked}: leave the size options out, or give noise of that size.`,
    );
  }
  return { ...job, ...implied };
}

/** Throws `InputError` unless the noise has as many channels as the model's latents. */
export function requireChannels(path: string, { shape }: Latents, channels: number): void {
  if (shape[0] === channels) return;
  throw new InputError(
    `The noise in ${path} has ${shape[0]} channels; this model's latents have ${channels}.`,
  );
}
