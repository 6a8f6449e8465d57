// Which text each latent frame reads when prompts change along the video.
import { expect, test } from "vitest";
import { frameTexts, type PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../../../src/dit/text_context.ts";

const embeds = (numTokens: number, value: number, maxSequenceLength = 8): PromptEmbeds => ({
  data: new Float32Array(2 * numTokens).fill(value),
  numTokens,
  maxSequenceLength,
});
const schedule = (fromFrames: readonly number[], blendFrames: number): PromptSchedule => ({
  prompts: fromFrames.map((fromFrame, i) => ({ embeds: embeds(2 + i, i), fromFrame })),
  blendFrames,
});

test("one prompt holds for all frames", () => {
  expect(frameTexts(embeds(3, 1), 4).textOfFrame).toEqual([0, 0, 0, 0]);
});

test("without blending, prompts switch at their first frames", () => {
  expect(frameTexts(schedule([0, 2, 5], 0), 7).textOfFrame).toEqual([0, 0, 1, 1, 1, 2, 2]);
});

test("blends go over linearly before the switch, with the padding as zeros", () => {
  const { texts, textOfFrame } = frameTexts(schedule([0, 5], 3), 7);
  expect(textOfFrame).toEqual([0, 0, 2, 3, 4, 1, 1]);
  expect(texts.map(({ numTokens }) => numTokens)).toEqual([2, 3, 3, 3, 3]);
  expect(texts.slice(2).map(({ data }) => data[0])).toEqual([0.25, 0.5, 0.75]);
});

test("a blend never reaches before the prompt it leaves", () => {
  expect(frameTexts(schedule([0, 2, 4], 9), 6).textOfFrame).toEqual([0, 3, 1, 4, 2, 2]);
});

test("prompts out of order, at the wrong place or of other lengths are refused", () => {
  expect(() => frameTexts(schedule([1], 0), 3)).toThrow("must begin at latent frame 0 and ascend, not at 1");
  expect(() => frameTexts(schedule([0, 2, 2], 0), 3)).toThrow("not at 0, 2, 2");
  expect(() => frameTexts(schedule([0], -1), 3)).toThrow("at least 0, not -1");
  const prompts = [
    { embeds: embeds(1, 0), fromFrame: 0 },
    { embeds: embeds(1, 0, 9), fromFrame: 1 },
  ];
  expect(() => frameTexts({ prompts, blendFrames: 0 }, 3)).toThrow("not to 8 and 9");
});
