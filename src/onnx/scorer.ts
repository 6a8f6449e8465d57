// How well a video shows what its prompt says, by the judge that some models ship. Takes frames and token ids; knows
// neither prompts' words nor files of videos.

import type { FrameBatch } from "../video/frame_batch.ts";
import type { FileSource } from "../weights/file_source.ts";
import { readJson } from "../weights/json_file.ts";
import type { OrtRuntime, OrtSession } from "./ort_runtime.ts";
import { parseScorerConfig, SCORER_FILES, type ScorerConfig } from "./scorer_config.ts";

/** A video's scores, means over its clips. */
export interface VideoScore {
  /** Clips of the video that were looked at, one after another. */
  readonly clips: number;
  /** By attribute, 0 to 1; null where the prompt says nothing of it. */
  readonly attributes: Readonly<Record<string, number | null>>;
  /** 0 to 1. */
  readonly total: number;
}

/**
 * Loads the judge of a model folder; null when the model ships none, and then onnxruntime is not opened.
 * Throws `WeightsError` for files that are missing or changed, `InputError` for a scorer.json that cannot be used.
 */
export async function openScorer(
  source: FileSource,
  openOrt: () => Promise<OrtRuntime>,
  signal?: AbortSignal,
): Promise<Scorer | null> {
  if (!(await source.has(SCORER_FILES.config))) return null;
  const config = parseScorerConfig(await readJson(source, SCORER_FILES.config, signal));
  const model = await source.read(SCORER_FILES.model, undefined, signal);
  const ort = await openOrt();
  return new Scorer(ort, await ort.createSession(model), config);
}

/** A loaded judge. */
export class Scorer {
  readonly config: ScorerConfig;
  readonly #ort: OrtRuntime;
  readonly #session: OrtSession;

  constructor(ort: OrtRuntime, session: OrtSession, config: ScorerConfig) {
    this.config = config;
    this.#ort = ort;
    this.#session = session;
  }

  /** Video frames that one clip spans. */
  get clipFrames(): number {
    return (this.config.frames.count - 1) * this.config.frames.stride + 1;
  }

  /** Starts on a video. `inputIds`: its prompt's ids, padded to `max_sequence_length`. */
  begin(inputIds: Int32Array): ScoreMeter {
    return new ScoreMeter(this, (clip) => this.#judge(clip, inputIds));
  }

  /** Frees the model. */
  release(): Promise<void> {
    return this.#session.release();
  }

  async #judge(clip: Float32Array, inputIds: Int32Array): Promise<ClipScore> {
    const { frames, max_sequence_length, attributes } = this.config;
    const feeds = {
      frames: this.#ort.tensor(clip, [1, frames.count, 3, frames.height, frames.width]),
      input_ids: this.#ort.tensor(BigInt64Array.from(inputIds, BigInt), [1, max_sequence_length]),
    };
    const { scores, total } = await this.#session.run(feeds, ["scores", "total"]);
    const [values, sum] = [scores?.data, total?.data];
    if (
      !(values instanceof Float32Array && sum instanceof Float32Array) ||
      values.length !== attributes.length
    ) {
      throw new Error(`scorer.onnx must give ${attributes.length} scores and a total as 32-bit floats.`);
    }
    return { scores: values, total: sum[0] ?? 0 };
  }
}

interface ClipScore {
  readonly scores: Float32Array;
  readonly total: number;
}

/** One video on its way through a judge. Holds one clip. */
export class ScoreMeter {
  readonly #scorer: Scorer;
  readonly #judge: (clip: Float32Array) => Promise<ClipScore>;
  readonly #results: ClipScore[] = [];
  #clip: Float32Array;
  #frame = 0;

  constructor(scorer: Scorer, judge: (clip: Float32Array) => Promise<ClipScore>) {
    this.#scorer = scorer;
    this.#judge = judge;
    this.#clip = this.#emptyClip();
  }

  /** Takes the next frames; those of another size than the judge's leave the video without a score. */
  async write(batch: FrameBatch): Promise<void> {
    const { frames } = this.#scorer.config;
    if (batch.width !== frames.width || batch.height !== frames.height) return;
    for (let index = 0; index < batch.numFrames; index++) {
      const place = this.#frame++ % this.#scorer.clipFrames;
      if (place % frames.stride !== 0) continue;
      this.#take(batch, index, place / frames.stride);
      if (place !== this.#scorer.clipFrames - 1) continue;
      this.#results.push(await this.#judge(this.#clip));
      this.#clip = this.#emptyClip();
    }
  }

  /** The means over all whole clips; null when there is none. */
  finish(): VideoScore | null {
    const clips = this.#results.length;
    if (clips === 0) return null;
    const names = this.#scorer.config.attributes;
    const attributes = names.map((name, i): [string, number | null] => {
      const said = this.#results.map(({ scores }) => scores[i] ?? -1).filter((score) => score >= 0);
      return [name, said.length > 0 ? mean(said) : null];
    });
    const total = mean(this.#results.map((result) => result.total));
    return { clips, attributes: Object.fromEntries(attributes), total };
  }

  #emptyClip(): Float32Array {
    const { count, height, width } = this.#scorer.config.frames;
    return new Float32Array(count * 3 * height * width);
  }

  /** Frame `index` of a batch as frame `to` of the clip: planes of red, green, blue in the judge's range. */
  #take({ data }: FrameBatch, index: number, to: number): void {
    const { height, width, range } = this.#scorer.config.frames;
    const pixels = height * width;
    const [low, high] = range;
    for (let i = 0; i < pixels; i++) {
      for (let colour = 0; colour < 3; colour++) {
        const value = data[4 * (index * pixels + i) + colour] ?? 0;
        this.#clip[(3 * to + colour) * pixels + i] = low + ((high - low) * value) / 255;
      }
    }
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
