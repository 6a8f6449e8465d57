// `--dump FILE.safetensors`: the numbers of one run under diffusers' names and shapes, for comparison with any other
// implementation. What is collected stays in memory until the end: a dump is for small videos.

import type { Denoised } from "../pipelines/wan_pipeline.ts";
import { type EncodedPrompt, paddedEmbeds } from "../pipelines/encode_prompt.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import { bytesPerElement, countElements, encodeSafetensorsHeader } from "../weights/safetensors.ts";
import { writeFileAtomically } from "./atomic_file.ts";

type Numbers = Float32Array | Int32Array;

interface DumpTensor {
  readonly shape: readonly number[];
  /** Consecutive parts of the tensor. */
  readonly parts: readonly Numbers[];
}

/** Collects tensors and writes them. */
export class Dump {
  readonly #tensors = new Map<string, DumpTensor>();
  readonly #steps: Float32Array[] = [];
  readonly #video: Float32Array[] = [];

  /** Notes the noise the run starts from, as `initial_noise` [1, channels, T, h, w]: `--noise` reads it back. */
  addNoise({ data, shape }: Latents): void {
    this.#add("initial_noise", [1, ...shape], [data]);
  }

  /** Notes the latents after a step. */
  addStep(latents: Float32Array): void {
    this.#steps.push(latents);
  }

  /** Notes what a finished denoising run gives: ids, embeddings, schedule, all steps. */
  addDenoised({ prompt, negativePrompt, latents, timesteps, sigmas }: Denoised): void {
    this.#add("input_ids", [prompt.inputIds.length], [prompt.inputIds]);
    this.#addEmbeds("prompt_embeds", prompt);
    if (negativePrompt !== undefined) this.#addEmbeds("negative_prompt_embeds", negativePrompt);
    this.#add("latents_per_step", [this.#steps.length, 1, ...latents.shape], this.#steps);
    this.#add("timesteps", [timesteps.length], [Float32Array.from(timesteps)]);
    this.#add("sigmas", [sigmas.length], [Float32Array.from(sigmas)]);
  }

  /** Notes one forward pass of the initial noise as `forward_t<timestep>` [1, channels, T, h, w]. */
  addForward(timestep: number, velocity: Float32Array, shape: Latents["shape"]): void {
    this.#add(`forward_t${timestep}`, [1, ...shape], [velocity]);
  }

  /** Notes decoded frames, [numFrames, 3, height, width] in [0, 1]. */
  addFrames(video: Float32Array, { height, width }: { height: number; width: number }): void {
    this.#video.push(video);
    const values = this.#video.reduce((sum, part) => sum + part.length, 0);
    this.#add("video", [1, values / (3 * height * width), 3, height, width], this.#video);
  }

  /** Writes the file; throws like `writeFileAtomically`. */
  async write(path: string, metadata: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<void> {
    const specs = Array.from(this.#tensors, ([name, { shape, parts }]) => {
      const dtype = parts[0] instanceof Int32Array ? ("I32" as const) : ("F32" as const);
      return { name, dtype, shape };
    });
    const pieces = Array.from(this.#tensors.values(), ({ parts }) => parts.map(bytesOf)).flat();
    await writeFileAtomically(path, [encodeSafetensorsHeader(specs, metadata), ...pieces], signal);
  }

  #addEmbeds(name: string, prompt: EncodedPrompt): void {
    const padded = paddedEmbeds(prompt);
    const { maxSequenceLength } = prompt;
    this.#add(name, [1, maxSequenceLength, padded.length / maxSequenceLength], [padded]);
  }

  #add(name: string, shape: readonly number[], parts: readonly Numbers[]): void {
    const values = parts.reduce((sum, part) => sum + part.length, 0);
    if (values !== countElements(shape)) {
      throw new RangeError(`${name} [${shape.join(", ")}] cannot hold ${values} numbers.`);
    }
    this.#tensors.set(name, { shape, parts });
  }
}

/** All dump tensors have elements of four bytes. */
function bytesOf(numbers: Numbers): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.length * bytesPerElement("F32"));
}
