// The sessions of the second graph of a block, which knows who sees whom: one for all blocks and pieces with the same
// lists, the latest ones kept.

import { placeKey } from "../attention/positions.ts";
import { type TileLists, tileListsKey } from "../attention/tile_lists.ts";
import type { OrtRuntime, OrtSession } from "../onnx/ort_runtime.ts";
import { type BlockGraphShape, buildBlockGraph } from "./onnx_block_graph.ts";
import { innerDim, type WanTransformerConfig } from "./transformer_config.ts";

/** Memory that sessions of several plans may hold between them, by estimate, and how many of them there may be. */
const MAX_SESSION_BYTES = 2 ** 30;
const MAX_SESSIONS = 16;

/** What a session is made for. */
export interface BlockSessionShape extends BlockGraphShape {
  /** Query rows. */
  readonly rows: number;
}

/** Sessions by what attends to what. */
export class OnnxBlockSessions {
  readonly #ort: OrtRuntime;
  readonly #config: WanTransformerConfig;
  /** In the order of their last use. */
  readonly #sessions = new Map<string, OrtSession>();
  /** Lists are kept by their makers and asked for again and again. */
  readonly #keys = new WeakMap<TileLists, string>();

  constructor(ort: OrtRuntime, config: WanTransformerConfig) {
    this.#ort = ort;
    this.#config = config;
  }

  /** The session for an attention and the texts that are read beside it; valid until the next call. */
  async of({ rows, ...shape }: BlockSessionShape): Promise<OrtSession> {
    const key = this.#keyOf(shape);
    const known = this.#sessions.get(key);
    this.#sessions.delete(key);
    const session = known ?? (await this.#ort.createSession(buildBlockGraph(this.#config, shape)));
    this.#sessions.set(key, session);
    await this.#drop(this.#limit(rows));
    return session;
  }

  async dispose(): Promise<void> {
    await this.#drop(0);
  }

  #keyOf({ passes, framesOf, isPerturbed, ownRows, text }: BlockGraphShape): string {
    const ofPasses = passes.map(({ positions: { query, key }, tiles }) => [
      placeKey(query),
      placeKey(key),
      framesOf ?? this.#keyOfLists(tiles),
    ]);
    const values = isPerturbed ? ["perturbed", ownRows] : [];
    return JSON.stringify([ofPasses, this.#keyOfLists(text), values]);
  }

  #keyOfLists(tiles: TileLists): string {
    const key = this.#keys.get(tiles) ?? tileListsKey(tiles);
    this.#keys.set(tiles, key);
    return key;
  }

  /** A session keeps the memory of its activations. */
  #limit(rows: number): number {
    const bytes = 4 * rows * (2 * this.#config.ffn_dim + 12 * innerDim(this.#config));
    return Math.max(1, Math.min(MAX_SESSIONS, Math.floor(MAX_SESSION_BYTES / bytes)));
  }

  async #drop(limit: number): Promise<void> {
    for (const [key, session] of this.#sessions) {
      if (this.#sessions.size <= limit) return;
      this.#sessions.delete(key);
      await session.release();
    }
  }
}
