// Which text the rows of some latent frames read in cross-attention, in GPU memory: of a whole clip, of a piece, or of the
// frames of a clip that are computed before the others.

import { tilesOfFrames } from "../attention/frame_tiles.ts";
import { freeTileLists, type TextRows, textTileLists, uploadTileLists } from "../attention/tile_lists.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { AttentionTiles } from "../ops/attention.ts";

/** The texts of a video. */
export interface VideoTexts {
  readonly rows: readonly TextRows[];
  /** [frames]: index into `rows`. */
  readonly textOfFrame: readonly number[];
  readonly tokensPerFrame: number;
}

/** Lists that are kept; with one prompt there is one for every number of frames that are computed together. */
const MAX_LISTS = 256;

/** Lists for frames that are computed together, made when they are first asked for. They live until `dispose`. */
export class TextTiles {
  readonly #gpu: Gpu;
  readonly #video: VideoTexts;
  /** By the texts that the frames read, the latest used last. */
  readonly #lists = new Map<string, AttentionTiles>();

  constructor(gpu: Gpu, video: VideoTexts) {
    this.#gpu = gpu;
    this.#video = video;
  }

  /** Lists of some frames, whose rows lie one frame after the other from row 0 on. To be used before the next call. */
  of(frames: readonly number[]): AttentionTiles {
    const { textOfFrame } = this.#video;
    const texts = frames.map((frame) => textOfFrame[frame] ?? 0);
    const key = texts.join();
    const tiles = this.#lists.get(key) ?? this.#upload(texts);
    this.#lists.delete(key);
    this.#lists.set(key, tiles);
    this.#dropOldest();
    return tiles;
  }

  /** Frees all lists. */
  dispose(): void {
    for (const tiles of this.#lists.values()) freeTileLists(this.#gpu, tiles);
    this.#lists.clear();
  }

  #upload(texts: readonly number[]): AttentionTiles {
    const { rows, tokensPerFrame } = this.#video;
    const frames = tilesOfFrames(texts.length, tokensPerFrame);
    const textOfQuery = frames.flatMap((tiles, frame) => tiles.map(() => texts[frame] ?? 0));
    return uploadTileLists(this.#gpu, textTileLists(frames.flat(), { texts: rows, textOfQuery }), "attn2");
  }

  #dropOldest(): void {
    const [oldest] = this.#lists;
    if (oldest === undefined || this.#lists.size <= MAX_LISTS) return;
    this.#lists.delete(oldest[0]);
    freeTileLists(this.#gpu, oldest[1]);
  }
}
