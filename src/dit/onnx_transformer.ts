// WanTransformer3DModel on the CPU, through onnxruntime: the same model as transformer_wan.ts, block by block, with the
// same plans. A few small sessions serve all blocks; between two of them the thread is free, so progress and Cancel work.

import type { FrameRange } from "../attention/frame_range.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import { among, runNamed, type TensorLookup } from "../onnx/named_tensors.ts";
import type { OrtRuntime, OrtSession, OrtTensor } from "../onnx/ort_runtime.ts";
import { nextTask } from "../util/next_task.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { ContextExchange } from "./context_exchange.ts";
import type { LatentSize } from "./geometry.ts";
import { buildQkvGraph, MODULATION, TEXT_KV } from "./onnx_block_graph.ts";
import { OnnxBlockSessions } from "./onnx_block_sessions.ts";
import {
  buildEmbeddingGraph,
  buildHeadGraph,
  buildTextGraph,
  buildTextKeysGraph,
} from "./onnx_embedding_graphs.ts";
import { type OnnxLayerAttention, OnnxVideo, type OnnxVideoOptions } from "./onnx_video.ts";
import { loadOnnxWeights, type OnnxTransformerWeights, type OnnxWeightsOptions } from "./onnx_weights.ts";
import { exchangeKeys, type KeysValues } from "./onnx_exchange.ts";
import { blockInPieces, mapPieces, type Projected, type VideoPieces } from "./onnx_pieces.ts";
import { latentsOf, patchesOf } from "./patches.ts";
import { frameTexts, type PromptSchedule } from "./prompt_schedule.ts";
import { type PromptEmbeds, stackTexts } from "./text_context.ts";
import type { TileLists } from "../attention/tile_lists.ts";
import { timestepEmbedding } from "./timestep_embedding.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

/** A prompt as the transformer uses it: every block's keys and values of the text. */
export interface OnnxTextContext {
  /** Which text rows the query tiles of some frames read; the same object for the same frames. */
  readonly tilesOf: (frames: FrameRange) => TileLists;
  /** By block, [text rows, D] each. */
  readonly keysValues: readonly { readonly k: OrtTensor; readonly v: OrtTensor }[];
  /** [text rows, D]: encoder_hidden_states after the text embedder, for inspection. */
  readonly hiddenStates: Float32Array;
}

/** Inputs of one forward pass. */
export interface OnnxForwardInputs {
  /** f32 [in_channels, T, H/8, W/8]. */
  readonly latents: Float32Array;
  /** 0 to 1000. */
  readonly timestep: number;
  /** Number of the denoising step, which attention plans may depend on; default 0. */
  readonly step?: number | undefined;
  readonly video: OnnxVideo;
  readonly text: OnnxTextContext;
  /** Default full attention. */
  readonly attention?: AttentionPlan | undefined;
  /** Brings the keys of other clips, when the video is a clip. */
  readonly exchange?: ContextExchange | undefined;
  /** Blocks that are left out. */
  readonly skippedBlocks?: readonly number[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called after every block with the share of them that is done. */
  readonly onProgress?: ((share: number) => void) | undefined;
  /** Sees the hidden states that every block is given. */
  readonly onBlock?: ((index: number, hiddenStates: Float32Array) => void) | undefined;
  /** Begin at this block with these hidden states, which another pass was given there. */
  readonly start?: { readonly block: number; readonly hiddenStates: Float32Array } | undefined;
  /** Sees intermediate results under the names that transformer_block.ts gives them. */
  readonly probe?: ((name: string, data: Float32Array) => void) | undefined;
}

/** The transformer on one onnxruntime. */
export class OnnxWanTransformer {
  readonly config: WanTransformerConfig;
  readonly #ort: OrtRuntime;
  readonly #weights: OnnxTransformerWeights;
  readonly #sessions: Sessions;
  readonly #blockSessions: OnnxBlockSessions;

  private constructor(ort: OrtRuntime, config: WanTransformerConfig, parts: Loaded) {
    this.#ort = ort;
    this.config = config;
    this.#weights = parts.weights;
    this.#sessions = parts.sessions;
    this.#blockSessions = new OnnxBlockSessions(ort, config);
  }

  /** Loads the weights; throws `WeightsError` when they do not fit the config. */
  static async load(
    ort: OrtRuntime,
    checkpoint: Checkpoint,
    options: OnnxWeightsOptions,
  ): Promise<OnnxWanTransformer> {
    const { config } = options;
    const [weights, sessions] = await Promise.all([
      loadOnnxWeights(ort, checkpoint, options),
      openSessions(ort, config),
    ]);
    return new OnnxWanTransformer(ort, config, { weights, sessions });
  }

  /** Prepares a video size, or a clip of such a video. */
  createVideo(size: LatentSize, options?: OnnxVideoOptions): OnnxVideo {
    return new OnnxVideo(this.#ort, this.config, size, options);
  }

  /** Prepares a prompt, or prompts along the video. */
  async createTextContext(
    prompts: PromptEmbeds | PromptSchedule,
    video: OnnxVideo,
    signal?: AbortSignal,
  ): Promise<OnnxTextContext> {
    const { text_dim: textDim } = this.config;
    const dim = innerDim(this.config);
    const { texts, textOfFrame } = frameTexts(prompts, video.numFrames);
    const { data, rows } = stackTexts(texts, textDim);
    const numRows = data.length / textDim;
    const embeds = among({ prompt_embeds: this.#ort.tensor(data, [numRows, textDim]) });
    const { text, textKeys } = this.#sessions;
    const { encoder_hidden_states: hiddenStates } = await runNamed(
      text,
      [embeds, this.#weights.outer],
      ["encoder_hidden_states"],
    );
    const hidden = among({ encoder_hidden_states: this.#ort.tensor(hiddenStates, [numRows, dim]) });
    const keysValues: { k: OrtTensor; v: OrtTensor }[] = [];
    for (const block of this.#weights.blocks) {
      await nextTask();
      signal?.throwIfAborted();
      const { text_k: k, text_v: v } = await runNamed(textKeys, [hidden, block], [TEXT_KV.k, TEXT_KV.v]);
      keysValues.push({ k: this.#ort.tensor(k, [numRows, dim]), v: this.#ort.tensor(v, [numRows, dim]) });
    }
    const tiles = new Map<string, TileLists>();
    const tilesOf = (frames: FrameRange): TileLists => {
      const key = `${frames.start} ${frames.end}`;
      const known = tiles.get(key) ?? video.textTiles(rows, textOfFrame, frames);
      tiles.set(key, known);
      return known;
    };
    return { tilesOf, keysValues, hiddenStates };
  }

  /** One forward pass; the velocity, f32 of the latents' shape. Rejects with AbortError between two blocks. */
  async forward(inputs: OnnxForwardInputs): Promise<Float32Array> {
    const { latents, video, timestep, start, signal, onProgress, probe, skippedBlocks = [] } = inputs;
    const pieces = video.piecesOf(inputs.attention ?? FULL);
    const { hiddenStates: first, temb, timestepProj } = await this.#embed(inputs, pieces);
    probe?.("patch", first);
    probe?.("text", inputs.text.hiddenStates);
    probe?.("temb", temb);
    probe?.("timestep_proj", timestepProj);
    let hiddenStates = start?.hiddenStates ?? first;
    for (const index of this.#weights.blocks.keys()) {
      if (start && index < start.block) continue;
      await nextTask();
      signal?.throwIfAborted();
      inputs.onBlock?.(index, hiddenStates);
      if (skippedBlocks.includes(index)) continue;
      const block = { ...inputs, index, timestepProj };
      if (pieces) await this.#blockInPieces(hiddenStates, { ...block, pieces });
      else hiddenStates = await this.#block(hiddenStates, block);
      probe?.(`block${index}`, pieces ? hiddenStates.slice() : hiddenStates);
      onProgress?.((index + 1) / this.#weights.blocks.length);
    }
    const patches = await this.#head(hiddenStates, temb, { video, pieces });
    if (latents.length !== patches.length) throw new Error(`The velocity at ${timestep} is of another size.`);
    return latentsOf(patches, video.size, this.config);
  }

  /** Frees the sessions. */
  async dispose(): Promise<void> {
    await this.#blockSessions.dispose();
    for (const session of Object.values(this.#sessions)) await session.release();
  }

  async #embed(
    { latents, timestep, video }: OnnxForwardInputs,
    pieces: readonly FrameRange[] | undefined,
  ): Promise<Embedded> {
    const { freq_dim: freqDim } = this.config;
    const patches = patchesOf(latents, video.size, this.config);
    const width = patches.length / video.tokens;
    const time = this.#ort.tensor(timestepEmbedding(timestep, freqDim), [1, freqDim]);
    let ofTime: Omit<Embedded, "hiddenStates"> | undefined;
    const hiddenStates = await mapPieces(patches, { pieces, video }, async (rows) => {
      const inputs = among({ patches: this.#ort.tensor(rows, [rows.length / width, width]), timestep: time });
      const outputs = ["hidden_states", "temb", "timestep_proj"] as const;
      const made = await runNamed(this.#sessions.embedding, [inputs, this.#weights.outer], outputs);
      ofTime ??= { temb: made.temb, timestepProj: made.timestep_proj };
      return made.hidden_states;
    });
    if (ofTime === undefined) throw new Error("A video of no frames cannot be embedded.");
    return { hiddenStates, ...ofTime };
  }

  async #block(hiddenStates: Float32Array, context: BlockContext): Promise<Float32Array> {
    const { index, video, timestep, step = 0, attention: plan = FULL, exchange } = context;
    const { q, k, v } = await this.#project(hiddenStates, context);
    const others = exchange?.needs(index) ?? [];
    const attention = video.attention(plan, { layer: index, step, timestep }, others);
    const keys = exchange ? await exchangeKeys(exchange, { index, k, v, video }) : { k, v };
    return await this.#finish({ hiddenStates, q, keys, attention }, context);
  }

  async #blockInPieces(
    hiddenStates: Float32Array,
    { pieces, ...context }: BlockContext & { readonly pieces: readonly FrameRange[] },
  ): Promise<void> {
    const { index, video, timestep, step = 0, attention: plan = FULL, exchange, signal } = context;
    const moment = { layer: index, step, timestep };
    await blockInPieces(hiddenStates, {
      index,
      video,
      pieces,
      layerOf: (others) => video.attentionInPieces(plan, moment, { pieces, others }),
      exchange,
      project: (rows) => this.#project(rows, context),
      finish: async (piece) => {
        await nextTask();
        signal?.throwIfAborted();
        return await this.#finish(piece, { ...context, probe: undefined });
      },
    });
  }

  /** Queries, keys and values of hidden states [rows, D]. */
  #project(hiddenStates: Float32Array, context: BlockContext): Promise<Projected> {
    return runNamed(this.#sessions.qkv, this.#shared(hiddenStates, context), ["q", "k", "v"]);
  }

  /** What comes after the projections, [rows, D]. */
  async #finish(rows: AttendedRows, context: BlockContext): Promise<Float32Array> {
    const { index, video, text, attention: plan = FULL, probe } = context;
    const { attention, keys } = rows;
    const { passes, queryFrames, keyFrames } = attention;
    const ofText = text.keysValues[index];
    if (ofText === undefined) throw new Error(`The text context has no keys for block ${index}.`);
    const strengths = video.strengths(plan, index);
    const [first = 0] = queryFrames;
    const numRows = queryFrames.length * video.tokensPerFrame;
    const session = await this.#blockSessions.of({
      passes,
      framesOf: attention.frames && !strengths ? video.tokensPerFrame : undefined,
      isPerturbed: strengths !== undefined,
      ownRows: keyFrames.length > queryFrames.length ? numRows : undefined,
      text: text.tilesOf({ start: first, end: first + queryFrames.length }),
      rows: numRows,
    });
    const own = among({
      q: this.#rows(rows.q),
      k: this.#rows(keys.k),
      v: this.#rows(keys.v),
      [TEXT_KV.k]: ofText.k,
      [TEXT_KV.v]: ofText.v,
      ...(strengths && { strengths }),
      ...video.rotations(attention),
      ...video.frameInputs(attention),
    });
    const fetches = probe ? (["out", "attn1", "attn2", "ffn"] as const) : (["out"] as const);
    const shared = this.#shared(rows.hiddenStates, context);
    const outputs = await runNamed(session, [...shared, own], fetches);
    for (const [name, data] of Object.entries(outputs)) {
      if (name !== "out") probe?.(`block${index}.${name}`, data);
    }
    return outputs.out;
  }

  /** Weights, modulation and hidden states of a block. */
  #shared(hiddenStates: Float32Array, { index, timestepProj }: BlockContext): readonly TensorLookup[] {
    const weights = this.#weights.blocks[index] ?? among({});
    return [
      weights,
      this.#modulation(weights("scale_shift_table"), timestepProj, [...MODULATION]),
      among({ hidden_states: this.#rows(hiddenStates) }),
    ];
  }

  #rows(data: Float32Array): OrtTensor {
    const dim = innerDim(this.config);
    return this.#ort.tensor(data, [data.length / dim, dim]);
  }

  async #head(hiddenStates: Float32Array, temb: Float32Array, parts: VideoPieces): Promise<Float32Array> {
    const dim = innerDim(this.config);
    const twice = new Float32Array(2 * dim);
    twice.set(temb);
    twice.set(temb, dim);
    const table = this.#weights.outer("scale_shift_table");
    const modulation = this.#modulation(table, twice, ["shift", "scale"]);
    return await mapPieces(hiddenStates, parts, async (rows) => {
      const lookups = [this.#weights.outer, modulation, among({ hidden_states: this.#rows(rows) })];
      return (await runNamed(this.#sessions.head, lookups, ["patches"])).patches;
    });
  }

  /** Rows of table + projection by name; those of scales with 1 added. */
  #modulation(
    table: OrtTensor | undefined,
    projection: Float32Array,
    names: readonly string[],
  ): ReturnType<typeof among> {
    if (!(table?.data instanceof Float32Array)) throw new Error("A modulation table must be f32.");
    const { data } = table;
    const dim = innerDim(this.config);
    const rows = names.map((name, row) => {
      const one = name.startsWith("scale") ? 1 : 0;
      const sum = Float32Array.from(
        { length: dim },
        (_, i) => one + ((data[row * dim + i] ?? 0) + (projection[row * dim + i] ?? 0)),
      );
      return [name, this.#ort.tensor(sum, [dim])] as const;
    });
    return among(Object.fromEntries(rows));
  }
}

const FULL = full();

interface Embedded {
  /** [tokens, D]. */
  readonly hiddenStates: Float32Array;
  readonly temb: Float32Array;
  readonly timestepProj: Float32Array;
}

/** What a block works with besides its hidden states. */
interface BlockContext extends OnnxForwardInputs {
  readonly index: number;
  readonly timestepProj: Float32Array;
}

/** Rows of a block that can be attended. */
interface AttendedRows {
  readonly hiddenStates: Float32Array;
  readonly q: Float32Array;
  readonly keys: KeysValues;
  readonly attention: OnnxLayerAttention;
}

interface Loaded {
  readonly weights: OnnxTransformerWeights;
  readonly sessions: Sessions;
}

/** The sessions that do not depend on what attends to what. */
interface Sessions {
  readonly embedding: OrtSession;
  readonly text: OrtSession;
  readonly textKeys: OrtSession;
  readonly qkv: OrtSession;
  readonly head: OrtSession;
}

async function openSessions(ort: OrtRuntime, config: WanTransformerConfig): Promise<Sessions> {
  return {
    embedding: await ort.createSession(buildEmbeddingGraph(config)),
    text: await ort.createSession(buildTextGraph(config)),
    textKeys: await ort.createSession(buildTextKeysGraph(config)),
    qkv: await ort.createSession(buildQkvGraph(config)),
    head: await ort.createSession(buildHeadGraph(config)),
  };
}
