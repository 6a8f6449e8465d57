// WanTransformer3DModel on the CPU, through onnxruntime: the same model as transformer_wan.ts, block by block, with the
// same plans. A few small sessions serve all blocks; between two of them the thread is free, so progress and Cancel work.

import type { FrameRange } from "../attention/frame_range.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import { among, runNamed } from "../onnx/named_tensors.ts";
import type { OrtRuntime, OrtSession, OrtTensor } from "../onnx/ort_runtime.ts";
import { nextTask } from "../util/next_task.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { ContextExchange } from "./context_exchange.ts";
import type { LatentSize } from "./geometry.ts";
import { buildBlockGraph, buildQkvGraph, MODULATION, TEXT_KV } from "./onnx_block_graph.ts";
import {
  buildEmbeddingGraph,
  buildHeadGraph,
  buildTextGraph,
  buildTextKeysGraph,
} from "./onnx_embedding_graphs.ts";
import { type OnnxLayerAttention, OnnxVideo } from "./onnx_video.ts";
import { loadOnnxWeights, type OnnxTransformerWeights, type OnnxWeightsOptions } from "./onnx_weights.ts";
import { exchangeKeys } from "./onnx_exchange.ts";
import { latentsOf, patchesOf } from "./patches.ts";
import { frameTexts, type PromptSchedule } from "./prompt_schedule.ts";
import { type PromptEmbeds, stackTexts } from "./text_context.ts";
import type { TileLists } from "../attention/tile_lists.ts";
import { timestepEmbedding } from "./timestep_embedding.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

/** A prompt as the transformer uses it: every block's keys and values of the text. */
export interface OnnxTextContext {
  readonly tiles: TileLists;
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
  readonly #blockSessions: BlockSessions;

  private constructor(ort: OrtRuntime, config: WanTransformerConfig, parts: Loaded) {
    this.#ort = ort;
    this.config = config;
    this.#weights = parts.weights;
    this.#sessions = parts.sessions;
    this.#blockSessions = new BlockSessions(ort, config);
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
  createVideo(size: LatentSize, clip?: FrameRange): OnnxVideo {
    return new OnnxVideo(this.#ort, this.config, size, clip);
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
    return { tiles: video.textTiles(rows, textOfFrame), keysValues, hiddenStates };
  }

  /** One forward pass; the velocity, f32 of the latents' shape. Rejects with AbortError between two blocks. */
  async forward(inputs: OnnxForwardInputs): Promise<Float32Array> {
    const { latents, video, timestep, start, signal, onProgress, probe, skippedBlocks = [] } = inputs;
    const { hidden_states: first, temb, timestep_proj: projected } = await this.#embed(inputs);
    probe?.("patch", first);
    probe?.("text", inputs.text.hiddenStates);
    probe?.("temb", temb);
    probe?.("timestep_proj", projected);
    let hiddenStates = start?.hiddenStates ?? first;
    for (const index of this.#weights.blocks.keys()) {
      if (start && index < start.block) continue;
      await nextTask();
      signal?.throwIfAborted();
      inputs.onBlock?.(index, hiddenStates);
      if (skippedBlocks.includes(index)) continue;
      hiddenStates = await this.#block(hiddenStates, index, { ...inputs, timestepProj: projected });
      probe?.(`block${index}`, hiddenStates);
      onProgress?.((index + 1) / this.#weights.blocks.length);
    }
    const patches = await this.#head(hiddenStates, temb);
    if (latents.length !== patches.length) throw new Error(`The velocity at ${timestep} is of another size.`);
    return latentsOf(patches, video.size, this.config);
  }

  /** Frees the sessions. */
  async dispose(): Promise<void> {
    await this.#blockSessions.dispose();
    for (const session of Object.values(this.#sessions)) await session.release();
  }

  #embed({
    latents,
    timestep,
    video,
  }: OnnxForwardInputs): Promise<Record<"hidden_states" | "temb" | "timestep_proj", Float32Array>> {
    const { freq_dim: freqDim } = this.config;
    const patches = patchesOf(latents, video.size, this.config);
    const inputs = among({
      patches: this.#ort.tensor(patches, [video.tokens, patches.length / video.tokens]),
      timestep: this.#ort.tensor(timestepEmbedding(timestep, freqDim), [1, freqDim]),
    });
    const outputs = ["hidden_states", "temb", "timestep_proj"] as const;
    return runNamed(this.#sessions.embedding, [inputs, this.#weights.outer], outputs);
  }

  async #block(
    hiddenStates: Float32Array,
    index: number,
    context: OnnxForwardInputs & { readonly timestepProj: Float32Array },
  ): Promise<Float32Array> {
    const { video, text, timestep, step = 0, attention: plan = FULL, timestepProj, probe } = context;
    const weights = this.#weights.blocks[index] ?? among({});
    const keysValues = text.keysValues[index];
    if (keysValues === undefined) throw new Error(`The text context has no keys for block ${index}.`);
    const dim = innerDim(this.config);
    const rows = (data: Float32Array): OrtTensor => this.#ort.tensor(data, [data.length / dim, dim]);
    const table = weights("scale_shift_table");
    const shared = [
      weights,
      this.#modulation(table, timestepProj, [...MODULATION]),
      among({ hidden_states: rows(hiddenStates) }),
    ];
    const { q, k, v } = await runNamed(this.#sessions.qkv, shared, ["q", "k", "v"]);

    const others = context.exchange?.needs(index) ?? [];
    const attention = video.attention(plan, { layer: index, step, timestep }, others);
    const session = await this.#blockSessions.of(attention, text.tiles, video);
    const keys = context.exchange ? await exchangeKeys(context.exchange, { index, k, v, video }) : { k, v };
    const own = among({
      q: rows(q),
      k: rows(keys.k),
      v: rows(keys.v),
      [TEXT_KV.k]: keysValues.k,
      [TEXT_KV.v]: keysValues.v,
      ...(attention.strengths && { strengths: attention.strengths }),
      ...video.rotations(attention),
    });
    const fetches = probe ? (["out", "attn1", "attn2", "ffn"] as const) : (["out"] as const);
    const outputs = await runNamed(session, [...shared, own], fetches);
    for (const [name, data] of Object.entries(outputs)) {
      if (name !== "out") probe?.(`block${index}.${name}`, data);
    }
    return outputs.out;
  }

  async #head(hiddenStates: Float32Array, temb: Float32Array): Promise<Float32Array> {
    const dim = innerDim(this.config);
    const twice = new Float32Array(2 * dim);
    twice.set(temb);
    twice.set(temb, dim);
    const lookups = [
      this.#weights.outer,
      this.#modulation(this.#weights.outer("scale_shift_table"), twice, ["shift", "scale"]),
      among({ hidden_states: this.#ort.tensor(hiddenStates, [hiddenStates.length / dim, dim]) }),
    ];
    return (await runNamed(this.#sessions.head, lookups, ["patches"])).patches;
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

/** Memory that sessions of several plans may hold between them, by estimate, and how many of them there may be. */
const MAX_SESSION_BYTES = 2 ** 30;
const MAX_SESSIONS = 16;

/** Sessions of blocks by what attends to what, the latest ones. */
class BlockSessions {
  readonly #ort: OrtRuntime;
  readonly #config: WanTransformerConfig;
  /** In the order of their last use. */
  readonly #sessions = new Map<string, OrtSession>();
  /** For keys: tile lists are compared by identity. */
  readonly #numbers = new WeakMap<object, number>();
  #numbered = 0;

  constructor(ort: OrtRuntime, config: WanTransformerConfig) {
    this.#ort = ort;
    this.#config = config;
  }

  /** The session for an attention and the texts that are read beside it. */
  async of(
    { key: planKey, passes, keyFrames, strengths }: OnnxLayerAttention,
    text: TileLists,
    video: OnnxVideo,
  ): Promise<OrtSession> {
    const isPerturbed = strengths !== undefined;
    const ownRows = keyFrames.length * video.tokensPerFrame > video.tokens ? video.tokens : undefined;
    const key = `${this.#numberOf(video)} ${this.#numberOf(text)} ${isPerturbed} ${planKey}`;
    const known = this.#sessions.get(key);
    this.#sessions.delete(key);
    const shape = { passes, isPerturbed, ownRows, text };
    const session = known ?? (await this.#ort.createSession(buildBlockGraph(this.#config, shape)));
    this.#sessions.set(key, session);
    await this.#drop(this.#limit(video));
    return session;
  }

  async dispose(): Promise<void> {
    await this.#drop(0);
  }

  /** A session keeps the memory of its activations. */
  #limit({ tokens }: OnnxVideo): number {
    const bytes = 4 * tokens * (2 * this.#config.ffn_dim + 12 * innerDim(this.#config));
    return Math.max(1, Math.min(MAX_SESSIONS, Math.floor(MAX_SESSION_BYTES / bytes)));
  }

  async #drop(limit: number): Promise<void> {
    for (const [key, session] of this.#sessions) {
      if (this.#sessions.size <= limit) return;
      this.#sessions.delete(key);
      await session.release();
    }
  }

  #numberOf(object: object): number {
    const number = this.#numbers.get(object) ?? ++this.#numbered;
    this.#numbers.set(object, number);
    return number;
  }
}
