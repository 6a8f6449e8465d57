// One file measured: decoded once, shown to every measure portion by portion.

import { readFile } from "node:fs/promises";
import { InputError } from "../errors.ts";
import { ReferenceMeter, type ReferenceMetrics } from "../metrics/reference_meter.ts";
import type { PairMotion } from "../metrics/motion.ts";
import { VideoMeter, type VideoMetrics } from "../metrics/video_meter.ts";
import type { Scorer, ScoreMeter, VideoScore } from "../onnx/scorer.ts";
import { cleanPrompt } from "../text/prompt_clean.ts";
import type { PromptTokenizer } from "../text/tokenizer.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { probe, readMetadata } from "../video/inspect.ts";
import { readFrames } from "../video/read_frames.ts";

/** What is said about one file. */
export interface Evaluation {
  readonly file: string;
  /** The sentence it was rendered from; null when the file carries none. */
  readonly prompt: string | null;
  readonly metrics: VideoMetrics;
  /** With a reference. */
  readonly reference?: ReferenceMetrics;
  /** Where the model ships a judge, and the video has a prompt and the judge's size. */
  readonly score?: VideoScore;
}

/** What was measured of a file. */
export interface FileEvaluation extends Evaluation {
  /** Motion from every frame to the next. */
  readonly pairs: readonly PairMotion[];
}

/** What all files share. */
export interface EvaluationTools {
  readonly ffmpeg: FfmpegRuntime;
  readonly reference?: { readonly path: string; readonly bytes: Uint8Array } | undefined;
  readonly judge?: { readonly scorer: Scorer; readonly tokenizer: PromptTokenizer } | undefined;
  readonly signal: AbortSignal;
}

/** Measures one file. Throws `InputError` when it cannot be read or does not fit the reference; AbortError. */
export async function evaluateFile(file: string, tools: EvaluationTools): Promise<FileEvaluation> {
  const bytes = await readVideo(file);
  const prompt = promptOf(bytes);
  const { ffmpeg, reference, signal } = tools;
  if (reference) requireAlike(file, bytes, reference);
  const twin = reference && readFrames(ffmpeg, reference.bytes, { signal });
  const meter = new VideoMeter();
  const closeness = new ReferenceMeter();
  const score = prompt === null ? undefined : beginScore(prompt, tools);
  for await (const batch of readFrames(ffmpeg, bytes, { signal })) {
    meter.write(batch);
    const other = await twin?.next();
    if (other?.value) closeness.write(batch, other.value);
    await score?.write(batch);
    signal.throwIfAborted();
  }
  const scored = score?.finish();
  return {
    file,
    prompt,
    metrics: meter.finish(),
    pairs: meter.pairs,
    ...(twin && { reference: closeness.finish() }),
    ...(scored && { score: scored }),
  };
}

/** The bytes of a video. Throws `InputError` when the file cannot be read. */
export async function readVideo(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new InputError(`The file ${file} cannot be read; give an .mp4, .webm or .gif.`, { cause: error });
  }
}

function promptOf(bytes: Uint8Array): string | null {
  const prompt = readMetadata(bytes)?.["prompt"];
  return typeof prompt === "string" ? prompt : null;
}

/** Starts a judge on a video of this prompt; undefined without a judge. */
export function beginScore(
  prompt: string,
  { judge }: Pick<EvaluationTools, "judge">,
): ScoreMeter | undefined {
  if (!judge) return undefined;
  const { scorer, tokenizer } = judge;
  const maxSequenceLength = scorer.config.max_sequence_length;
  return scorer.begin(tokenizer.encode(cleanPrompt(prompt), { maxSequenceLength }).inputIds);
}

function requireAlike(
  file: string,
  bytes: Uint8Array,
  reference: NonNullable<EvaluationTools["reference"]>,
): void {
  const [mine, theirs] = [bytes, reference.bytes].map((data) => {
    const { frames, width, height } = probe(data);
    return `${frames} frames of ${width}x${height}`;
  });
  if (mine === theirs) return;
  throw new InputError(
    `${file} has ${mine}, its reference ${reference.path} has ${theirs}: render both with the same size and number of frames.`,
  );
}
