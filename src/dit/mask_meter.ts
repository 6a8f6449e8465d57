// Measures what masks do to a transformer's self-attention: one forward pass with full attention, in which every layer's
// queries, keys and values also go through every candidate. Only sums of squares leave the GPU.

import { CompiledPlan, type LayerAttention } from "../attention/compiled_plan.ts";
import type { MaskCandidate } from "../attention/mask_candidates.ts";
import type { MaskErrors } from "../attention/mask_choice.ts";
import { full, planOfRule } from "../attention/plan_constructors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { attention, type AttentionOperands } from "../ops/attention.ts";
import { headError } from "../ops/head_error.ts";
import { rope3d } from "../ops/rope_3d.ts";
import { putRows } from "../ops/copy_rows.ts";
import {
  createTensor,
  elementCount,
  freeTensor,
  readTensor,
  reshape,
  type Tensor,
  uploadTensor,
} from "../tensor/tensor.ts";
import { freeGeometry, type Geometry, type LatentSize } from "./geometry.ts";
import { freeTextContext, type PromptEmbeds } from "./text_context.ts";
import type { AttentionProbe } from "./transformer_block.ts";
import type { WanTransformer3DModel } from "./transformer_wan.ts";

/** A moment of a render. */
export interface MaskState {
  /** f32 [in_channels, T, H/8, W/8]. */
  readonly latents: Float32Array;
  /** 0 to 1000. */
  readonly timestep: number;
  readonly prompt: PromptEmbeds;
}

/** How to watch and stop a measurement. */
export interface MaskMeasureOptions {
  readonly signal?: AbortSignal | undefined;
  /** Share of the work that is done, 0 to 1. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

const MOMENT = { layer: 0, step: 0, timestep: 0 };

/** The candidates' tile lists for one transformer and video size; they live until `dispose`. */
export class MaskMeter {
  readonly #gpu: Gpu;
  readonly #transformer: WanTransformer3DModel;
  readonly #geometry: Geometry;
  readonly #plans: readonly CompiledPlan[];

  constructor(
    gpu: Gpu,
    transformer: WanTransformer3DModel,
    { size, candidates }: { size: LatentSize; candidates: readonly MaskCandidate[] },
  ) {
    this.#gpu = gpu;
    this.#transformer = transformer;
    this.#geometry = transformer.createGeometry(size, full());
    const { tokens, numLatentFrames: numFrames } = this.#geometry;
    const heads = transformer.config.num_attention_heads;
    const grid = { numFrames, tokensPerFrame: tokens / numFrames, heads };
    const plans = [full(), ...candidates.map(({ name, rule }) => planOfRule(name, rule))];
    this.#plans = plans.map((plan) => new CompiledPlan(gpu, plan, grid));
  }

  /** The candidates' errors at one moment. */
  async measure(
    { latents, timestep, prompt }: MaskState,
    { signal, onProgress }: MaskMeasureOptions = {},
  ): Promise<MaskErrors> {
    const gpu = this.#gpu;
    const geometry = this.#geometry;
    const { config } = this.#transformer;
    const { numLatentFrames, latentHeight, latentWidth } = geometry;
    const shape = [config.in_channels, numLatentFrames, latentHeight, latentWidth];
    const sample = uploadTensor(gpu, { label: "latents", dtype: "f32", shape }, latents);
    const text = await this.#transformer.createTextContext(prompt, geometry, signal);
    const recorder = new Recorder(gpu, `masks at ${timestep}`);
    const sums: Tensor[] = [];
    const seeAttention: AttentionProbe = (_block, operands) => sums.push(this.#record(recorder, operands));
    try {
      const inputs = { latents: sample, timestep, text, geometry, seeAttention };
      const velocity = this.#transformer.forward(recorder, inputs);
      recorder.release(velocity.buffer);
      await recorder.submit({ signal, onProgress: (done, total) => onProgress?.(done / total) });
      const layers: Float32Array[] = [];
      for (const layer of sums) layers.push(await readTensor(gpu, layer));
      return this.#errors(layers);
    } finally {
      recorder.discard();
      for (const tensor of [...sums, sample]) freeTensor(gpu, tensor);
      freeTextContext(gpu, text);
    }
  }

  /** Frees the lists. */
  dispose(): void {
    for (const plan of this.#plans) plan.dispose();
    freeGeometry(this.#geometry);
  }

  /** Records a layer's attention under every candidate: f32 [candidates, heads * blocks * 2]. */
  #record(recorder: Recorder, { q, k, v }: Parameters<AttentionProbe>[1]): Tensor {
    const heads = this.#transformer.config.num_attention_heads;
    const rotary = this.#geometry.rotary.at({ kind: "true" });
    const operands = { q: rope3d(recorder, q, rotary), k: rope3d(recorder, k, rotary), v, heads };
    const [dense, ...candidates] = this.#plans.map((plan) => plan.layer(MOMENT));
    if (dense === undefined) throw new Error("There is no full attention to compare with.");
    const wanted = attend(recorder, operands, dense);
    let sums: Tensor | undefined;
    candidates.forEach((candidate, index) => {
      const out = attend(recorder, operands, candidate);
      const error = headError(recorder, out, wanted, heads);
      const row = reshape(error, [1, elementCount(error.shape)]);
      const shape = [candidates.length, elementCount(error.shape)];
      sums ??= createTensor(this.#gpu, { label: "mask_errors", dtype: "f32", shape });
      putRows(recorder, row, sums, index);
      for (const { buffer } of [out, error]) recorder.release(buffer);
    });
    for (const { buffer } of [operands.q, operands.k, wanted]) recorder.release(buffer);
    if (sums === undefined) throw new Error("There are no masks to measure.");
    return sums;
  }

  #errors(layers: readonly Float32Array[]): MaskErrors {
    const heads = this.#transformer.config.num_attention_heads;
    const numCandidates = this.#plans.length - 1;
    /** Sum over a head's blocks of its first or second number. */
    const total = (sums: Float32Array, candidate: number, head: number, part: 0 | 1): number => {
      const length = sums.length / numCandidates / heads;
      const start = (candidate * heads + head) * length;
      let sum = 0;
      for (let at = start + part; at < start + length; at += 2) sum += sums[at] ?? 0;
      return sum;
    };
    const each = <T>(length: number, value: (index: number) => T): T[] =>
      Array.from({ length }, (_, index) => value(index));
    return {
      difference: layers.map((sums) =>
        each(numCandidates, (candidate) => each(heads, (head) => total(sums, candidate, head, 0))),
      ),
      reference: layers.map((sums) => each(heads, (head) => total(sums, 0, head, 1))),
    };
  }
}

function attend(
  recorder: Recorder,
  operands: Omit<AttentionOperands, "tiles">,
  { passes }: LayerAttention,
): Tensor {
  const [pass] = passes;
  if (pass === undefined || passes.length > 1) throw new Error("A mask has one pass.");
  const { out, lse } = attention(recorder, { ...operands, tiles: pass.tiles });
  recorder.release(lse.buffer);
  return out;
}
