// Prompts that follow each other along a video: which text every latent frame reads. On the way from one prompt to the
// next the embeddings go over linearly (Video-Infinity switches hard at a clip's border, which shows).

import { InputError } from "../errors.ts";
import type { PromptEmbeds } from "./text_context.ts";

/** Prompts along a video. */
export interface PromptSchedule {
  /** By `fromFrame`, the first of which is 0. */
  readonly prompts: readonly ScheduledPrompt[];
  /** Latent frames in front of a prompt's first one that lie between it and the prompt before. */
  readonly blendFrames: number;
}

/** A prompt and the latent frame from which on it holds. */
export interface ScheduledPrompt {
  readonly embeds: PromptEmbeds;
  readonly fromFrame: number;
}

/** The texts of a video, and which one each latent frame reads. */
export interface FrameTexts {
  readonly texts: readonly PromptEmbeds[];
  /** [frames]: index into `texts`. */
  readonly textOfFrame: readonly number[];
}

/**
 * The texts of every frame; frames between two prompts have one of their own, blended.
 *
 * @throws InputError for prompts that are not in order, or padded to different lengths
 */
export function frameTexts(prompts: PromptEmbeds | PromptSchedule, numFrames: number): FrameTexts {
  if (!("prompts" in prompts)) return { texts: [prompts], textOfFrame: Array<number>(numFrames).fill(0) };
  checkSchedule(prompts);
  const texts = prompts.prompts.map(({ embeds }) => embeds);
  const blends = new Map<string, number>();
  const textOfFrame = Array.from({ length: numFrames }, (_, frame) => {
    const index = prompts.prompts.findLastIndex(({ fromFrame }) => fromFrame <= frame);
    const [from, to] = [prompts.prompts[index], prompts.prompts[index + 1]];
    const blendFrames = from && to ? Math.min(prompts.blendFrames, to.fromFrame - from.fromFrame - 1) : 0;
    const into = to ? frame - (to.fromFrame - blendFrames) + 1 : 0;
    if (!from || !to || into <= 0) return index;
    const share = into / (blendFrames + 1);
    const key = `${index} ${share}`;
    const known = blends.get(key) ?? texts.push(blend(from.embeds, to.embeds, share)) - 1;
    blends.set(key, known);
    return known;
  });
  return { texts, textOfFrame };
}

/** (1 - share) a + share b, padded with zeros as diffusers pads prompts. */
function blend(a: PromptEmbeds, b: PromptEmbeds, share: number): PromptEmbeds {
  const longer = a.data.length >= b.data.length ? a : b;
  const data = longer.data.map((_, i) => (1 - share) * (a.data[i] ?? 0) + share * (b.data[i] ?? 0));
  return { data, numTokens: longer.numTokens, maxSequenceLength: longer.maxSequenceLength };
}

function checkSchedule({ prompts, blendFrames }: PromptSchedule): void {
  const frames = prompts.map(({ fromFrame }) => fromFrame);
  const isAscending = frames.every((frame, i) => Number.isInteger(frame) && frame > (frames[i - 1] ?? -1));
  if (frames[0] !== 0 || !isAscending) {
    throw new InputError(
      `Prompts along a video must begin at latent frame 0 and ascend, not at ${frames.join(", ") || "none"}: ` +
        "two prompts of one latent frame (four frames) cannot both hold.",
    );
  }
  if (!(blendFrames >= 0)) {
    throw new InputError(`The frames between two prompts must be at least 0, not ${blendFrames}.`);
  }
  const lengths = new Set(prompts.map(({ embeds }) => embeds.maxSequenceLength));
  if (lengths.size > 1) {
    throw new InputError(
      `Prompts of one video must be padded to one length, not to ${[...lengths].join(" and ")}.`,
    );
  }
}
