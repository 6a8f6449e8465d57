// WanTransformer3DModel: latents, timestep and text in, flow velocity out. Every size comes from the config, so the
// embedded model and Wan 2.1 run through the same lines.
// Source: diffusers' models/transformers/transformer_wan.py. Wan's own name for the model is WanModel.

import type { CompiledPlan } from "../attention/compiled_plan.ts";
import { framesOfRange } from "../attention/frame_range.ts";
import { layerStrengths } from "../attention/layer_rules.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import { activation } from "../ops/activation.ts";
import { copyTensor } from "../ops/copy_rows.ts";
import { layerNorm } from "../ops/layer_norm.ts";
import { linear } from "../ops/linear.ts";
import { linearCombine } from "../ops/linear_combine.ts";
import { modulation } from "../ops/modulation.ts";
import { patchify, type PatchSize } from "../ops/patchify.ts";
import { unpatchify } from "../ops/unpatchify.ts";
import {
  type DType,
  freeTensor,
  reshape,
  temporaryTensor,
  type Tensor,
  uploadTemporary,
} from "../tensor/tensor.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import { WeightLoader, type WeightLoaderOptions } from "../weights/weight_loader.ts";
import { recordBlockInPieces, rowsOf } from "./blocks_in_pieces.ts";
import type { ContextExchange } from "./context_exchange.ts";
import { createGeometry, type Geometry, type GeometryOptions, type LatentSize } from "./geometry.ts";
import { copyInOrder, type HiddenPart, inOrder } from "./hidden_parts.ts";
import { mapRows } from "./map_rows.ts";
import type { PromptSchedule } from "./prompt_schedule.ts";
import {
  createTextContext,
  freeTextContext,
  type PromptEmbeds,
  recordTextContext,
  type TextContext,
} from "./text_context.ts";
import { Segments } from "./segments.ts";
import { splitBlock, type SplitResult } from "./split_block.ts";
import { splitBlockInPieces } from "./split_pieces.ts";
import { runSplitWork, type SplitWork } from "./split_work.ts";
import { timestepEmbedding } from "./timestep_embedding.ts";
import { type AttentionProbe, type Block, type Probe, recordBlock } from "./transformer_block.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";
import { loadTransformerWeights, type TransformerWeights } from "./transformer_weights.ts";

/** How to load the transformer. */
export interface WanTransformerOptions extends WeightLoaderOptions {
  readonly config: WanTransformerConfig;
  /** Element type of activations; "f16" needs `shader-f16`. */
  readonly dtype: "f32" | "f16";
}

/**
 * The hidden states in front of a block, f32 [tokens, D], which passes over the same latents, timestep and text share up
 * to the first block that differs. Given: a copy, a temporary of the recording; of a clip, kept. Taken: the pass begins
 * with them, and releases them.
 */
export type SharedStart =
  | { readonly kind: "give"; readonly block: number; readonly give: (hiddenStates: Tensor) => void }
  | { readonly kind: "take"; readonly block: number; readonly hiddenStates: Tensor };

/** Inputs of one forward pass. */
export interface ForwardInputs {
  /** f32 [in_channels, T, H/8, W/8]. */
  readonly latents: Tensor;
  /** 0 to 1000. */
  readonly timestep: number;
  /** Number of the denoising step, which attention plans may depend on; default 0. */
  readonly step?: number | undefined;
  readonly text: TextContext;
  readonly geometry: Geometry;
  /** Another plan than the geometry's, for this pass. */
  readonly attention?: CompiledPlan | undefined;
  /** Blocks that are left out: what goes into them comes out. Default none. */
  readonly skippedBlocks?: readonly number[] | undefined;
  /** Default: nothing is shared. */
  readonly start?: SharedStart | undefined;
  /** Sees intermediate results; default nothing. */
  readonly probe?: Probe | undefined;
  /** Sees self-attention's operands, where all tokens are computed at once; default nothing. */
  readonly seeAttention?: AttentionProbe | undefined;
}

/** Inputs of one forward pass over a clip. */
export interface ClipForwardInputs extends Omit<ForwardInputs, "probe" | "seeAttention"> {
  readonly exchange: ContextExchange;
  readonly signal?: AbortSignal | undefined;
}

/** The transformer on one GPU. */
export class WanTransformer3DModel {
  readonly config: WanTransformerConfig;
  readonly #gpu: Gpu;
  readonly #dtype: DType;
  readonly #loader: WeightLoader;
  readonly #weights: TransformerWeights;

  private constructor(gpu: Gpu, loader: WeightLoader, { options, weights }: Loaded) {
    this.#gpu = gpu;
    this.#loader = loader;
    this.config = options.config;
    this.#dtype = options.dtype;
    this.#weights = weights;
  }

  /** Loads the weights; throws `WeightsError` when they do not fit the config. */
  static async load(
    gpu: Gpu,
    checkpoint: Checkpoint,
    options: WanTransformerOptions,
  ): Promise<WanTransformer3DModel> {
    const loader = new WeightLoader(gpu, checkpoint, options);
    try {
      const weights = await loadTransformerWeights(loader, options.config);
      return new WanTransformer3DModel(gpu, loader, { options, weights });
    } catch (error) {
      loader.dispose();
      throw error;
    }
  }

  /** Prepares a video size and what its tokens attend to (default everything); free it with `freeGeometry`. */
  createGeometry(
    size: LatentSize,
    plan?: AttentionPlan,
    options?: Pick<GeometryOptions, "clip" | "pieceTokens">,
  ): Geometry {
    return createGeometry(this.#gpu, this.config, { size, plan, ...options });
  }

  /** Prepares a prompt, or prompts along the video; free it with `freeTextContext`. */
  createTextContext(
    prompts: PromptEmbeds | PromptSchedule,
    geometry: Geometry,
    signal?: AbortSignal,
  ): Promise<TextContext> {
    const { config } = this;
    return createTextContext(this.#gpu, prompts, {
      config,
      weights: this.#weights,
      geometry,
      dtype: this.#dtype,
      signal,
    });
  }

  /**
   * Begins to compile the kernels that a text of so many tokens and a pass need, all at once, by recording one block of
   * the pass for nothing.
   */
  compile(geometry: Geometry, numTokens: number): void {
    const { config } = this;
    const recorder = new Recorder(this.#gpu, "rehearsal");
    const data = new Float32Array(numTokens * config.text_dim);
    const prompt = { data, numTokens, maxSequenceLength: numTokens + 1 };
    const text = recordTextContext(recorder, prompt, {
      config,
      weights: this.#weights,
      geometry,
      dtype: this.#dtype,
    });
    const { numLatentFrames, latentHeight, latentWidth } = geometry;
    const shape = [config.in_channels, numLatentFrames, latentHeight, latentWidth];
    const latents = temporaryTensor(recorder, { label: "latents", dtype: "f32", shape });
    const skippedBlocks = Array.from({ length: config.num_layers - 1 }, (_, index) => index + 1);
    const velocity = this.forward(recorder, { latents, timestep: 0, text, geometry, skippedBlocks });
    linearCombine(recorder, [{ coefficient: 1, tensor: velocity }]);
    recorder.discard();
    freeTextContext(this.#gpu, text);
  }

  /** Records one forward pass; the result is the velocity, f32 of the latents' shape. */
  forward(recorder: Recorder, inputs: ForwardInputs): Tensor {
    const { latents, geometry, text, timestep, step = 0, probe = ignore } = inputs;
    const { attention = geometry.attention, skippedBlocks = [], start } = inputs;
    const { config } = this;
    const weights = this.#weights;
    const { temb, timestepProj } = this.#embedTimestep(recorder, timestep, probe);
    let hiddenStates =
      start?.kind === "take" ? start.hiddenStates : this.#embedPatches(recorder, latents, probe);
    probe("text", text.hiddenStates);

    const shared = { config, geometry, text, timestepProj, ones: weights.ones, dtype: this.#dtype };
    const context = { ...shared, probe, seeAttention: inputs.seeAttention };
    const moment = { step, timestep };
    const pieces = piecesFor(attention, geometry);
    const lastBlock = weights.blocks.findLastIndex((_, index) => !skippedBlocks.includes(index));
    weights.blocks.forEach((block, index) => {
      if (start?.kind === "take" && index < start.block) return;
      if (start?.kind === "give" && index === start.block) start.give(copyTensor(recorder, hiddenStates));
      if (skippedBlocks.includes(index)) return;
      const one = { index, weights: block, context };
      if (pieces) {
        recordBlockInPieces(recorder, hiddenStates, { ...one, pieces, attention, moment });
        if (index < lastBlock) recorder.runAhead();
        return;
      }
      const strengths = layerStrengths(attention.plan, index, config.num_attention_heads);
      const isIdentity = strengths?.every((strength) => strength === 1) ?? false;
      const layer = isIdentity ? "identity" : attention.layer({ layer: index, ...moment });
      hiddenStates = recordBlock(recorder, hiddenStates, { ...one, layer });
      if (index < lastBlock) recorder.runAhead();
    });

    const velocity = this.#head(recorder, hiddenStates, { temb, latents, geometry });
    for (const tensor of [hiddenStates, temb, timestepProj]) recorder.release(tensor.buffer);
    return velocity;
  }

  /**
   * Runs one forward pass over the geometry's clip, with the keys and values of other clips from an exchange. The result is
   * the velocity of the clip's latents, to be freed.
   */
  async forwardClip(inputs: ClipForwardInputs): Promise<Tensor> {
    const segments = new Segments(this.#gpu, `clip at step ${(inputs.step ?? 0) + 1}`, inputs.signal);
    try {
      const { velocity, finished } = await runSplitWork(this.#splitForward(segments, inputs));
      await finished.catch((error: unknown) => {
        freeTensor(this.#gpu, velocity);
        throw error;
      });
      return velocity;
    } catch (error) {
      segments.discard();
      throw error;
    }
  }

  *#splitForward(
    segments: Segments,
    inputs: ClipForwardInputs,
  ): SplitWork<{ velocity: Tensor; finished: Promise<void> }> {
    const { latents, geometry, text, timestep, step = 0, exchange } = inputs;
    const { attention = geometry.attention, skippedBlocks = [], start } = inputs;
    if (start?.kind === "take") segments.recorder.adopt(start.hiddenStates.buffer);
    const { temb, timestepProj } = this.#embedTimestep(segments.recorder, timestep, ignore);
    const tensor =
      start?.kind === "take" ? start.hiddenStates : this.#embedPatches(segments.recorder, latents, ignore);
    const clip = { frames: framesOfRange(geometry.clip), tokensPerFrame: geometry.tokensPerFrame };
    let hidden: readonly HiddenPart[] = [{ ...clip, tensor }];
    const { config } = this;
    const shared = { config, geometry, text, timestepProj, ones: this.#weights.ones, dtype: this.#dtype };
    const context = { ...shared, probe: ignore };
    const alive = [temb, timestepProj];
    const pieces = piecesFor(attention, geometry);
    const blocks = this.#weights.blocks.map((weights, index) => {
      const moment = { layer: index, step, timestep };
      return { index, weights, context, attention, moment, exchange, alive };
    });
    const firstBlock = start?.kind === "take" ? start.block : 0;
    const runs = ({ index }: Block): boolean => index >= firstBlock && !skippedBlocks.includes(index);
    let isSent = false;
    for (const block of blocks) {
      const { index } = block;
      if (start?.kind === "give" && index === start.block) {
        const copy = copyInOrder(segments.recorder, hidden, clip);
        segments.recorder.keep(copy.buffer);
        start.give(copy);
      }
      if (!runs(block)) continue;
      if (pieces) yield* splitBlockInPieces(segments, tensor, { ...block, pieces });
      else {
        const next = blocks.slice(index + 1).find(runs);
        const result: SplitResult = yield* splitBlock(segments, hidden, { ...block, isSent, next });
        ({ hidden, isNextSent: isSent } = result);
      }
      // Without anything to wait for, a whole pass would be recorded before its first block runs.
      if (exchange.needs(index).length === 0)
        void segments.cut([...alive, ...hidden.map((part) => part.tensor)]);
    }
    const { recorder } = segments;
    const hiddenStates = inOrder(recorder, hidden, clip);
    const velocity = this.#head(recorder, hiddenStates, { temb, latents, geometry });
    for (const tensor of [hiddenStates, ...alive]) recorder.release(tensor.buffer);
    recorder.keep(velocity.buffer);
    return { velocity, finished: segments.finish() };
  }

  /** Frees the weights. */
  dispose(): void {
    this.#loader.dispose();
  }

  /** One row of hidden states per token. */
  #embedPatches(recorder: Recorder, latents: Tensor, probe: Probe): Tensor {
    const patchSize = this.config.patch_size as unknown as PatchSize;
    const patches = patchify(recorder, latents, { patchSize, dtype: this.#dtype });
    const hiddenStates = linear(recorder, patches, this.#weights.patchEmbedding, { dtype: "f32" });
    recorder.release(patches.buffer);
    probe("patch", hiddenStates);
    return hiddenStates;
  }

  /** temb = L2(SiLU(L1(sinusoid))), timestep_proj = time_proj(SiLU(temb)); always f32. */
  #embedTimestep(recorder: Recorder, timestep: number, probe: Probe): { temb: Tensor; timestepProj: Tensor } {
    const { timeEmbedder1, timeEmbedder2, timeProj } = this.#weights;
    const { freq_dim: freqDim } = this.config;
    const spec = { label: "timestep", dtype: "f32", shape: [1, freqDim] } as const;
    const sinusoid = uploadTemporary(recorder, spec, timestepEmbedding(timestep, freqDim));
    const inner = linear(recorder, sinusoid, timeEmbedder1, { activation: "silu" });
    const temb = linear(recorder, inner, timeEmbedder2);
    const activated = activation(recorder, temb, "silu");
    const projected = linear(recorder, activated, timeProj);
    for (const tensor of [inner, activated]) recorder.release(tensor.buffer);
    probe("temb", temb);
    probe("timestep_proj", projected);
    return { temb, timestepProj: reshape(projected, [6, innerDim(this.config)]) };
  }

  /** Final norm with the timestep's shift and scale, projection, and back to latents. */
  #head(
    recorder: Recorder,
    hiddenStates: Tensor,
    { temb, latents, geometry }: { temb: Tensor; latents: Tensor; geometry: Geometry },
  ): Tensor {
    const { scaleShiftTable, projOut } = this.#weights;
    const { config } = this;
    const table = reshape(scaleShiftTable, [2, innerDim(config)]);
    const e = modulation(recorder, { table, projection: temb, scaleSlots: [1] });
    const scale = { tensor: e, row: 1 };
    const shift = { tensor: e, row: 0 };
    const project = (x: Tensor): Tensor => {
      const h = layerNorm(recorder, x, { scale, shift, eps: config.eps, dtype: this.#dtype });
      const patches = linear(recorder, h, projOut, { dtype: "f32" });
      recorder.release(h.buffer);
      return patches;
    };
    const pieces = geometry.pieces?.map((piece) => {
      const [start, end] = rowsOf(piece, geometry);
      return { start, end };
    });
    const patches = pieces
      ? mapRows(recorder, hiddenStates, { pieces, columns: projOut.n, each: project })
      : project(hiddenStates);
    const [, frames = 0, height = 0, width = 0] = latents.shape;
    const velocity = unpatchify(recorder, patches, {
      patchSize: config.patch_size as unknown as PatchSize,
      shape: [config.out_channels, frames, height, width],
    });
    for (const tensor of [e, patches]) recorder.release(tensor.buffer);
    return velocity;
  }
}

/** Perturbed heads read values by their queries' rows, which pieces do not keep. */
function piecesFor({ plan }: CompiledPlan, { pieces }: Geometry): Geometry["pieces"] {
  return plan.perturbations.length === 0 ? pieces : undefined;
}

interface Loaded {
  readonly options: WanTransformerOptions;
  readonly weights: TransformerWeights;
}

function ignore(): void {
  // No probe.
}
