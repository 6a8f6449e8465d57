// Whole forward passes with another attention plan, and with prompts that change along the video.
import { expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import type { PromptEmbeds } from "../../../src/dit/text_context.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { expectedTensors, fixtureTransformer, realTokens } from "../../reference/model_fixture.ts";
import { randomNumbers } from "../../reference/random.ts";
import { useGpu } from "../device.ts";
import { type ForwardResult, runForward } from "./run_forward.ts";

const gpu = useGpu();
const expected = expectedTensors("wan_tiny");
const [, CHANNELS = 0, FRAMES = 0, HEIGHT = 0, WIDTH = 0] = expected("p0.initial_noise").shape;

function promptOf(numTokens: number, textDim: number): PromptEmbeds {
  const { length } = expected("p0.input_ids").data;
  const wanted = realTokens(expected("p0.input_ids").data).length;
  const data =
    numTokens === wanted
      ? expected("p0.prompt_embeds").data.subarray(0, numTokens * textDim)
      : randomNumbers(numTokens * textDim, 4);
  return { data, numTokens, maxSequenceLength: length };
}

async function run(
  plan: AttentionPlan | undefined,
  prompt?: PromptEmbeds | PromptSchedule,
): Promise<ForwardResult> {
  const { config, checkpoint } = await fixtureTransformer("wan_tiny");
  const numTokens = realTokens(expected("p0.input_ids").data).length;
  return await runForward(gpu(), checkpoint, {
    options: { config, storage: "f32", dtype: "f32" },
    latents: { data: expected("p0.initial_noise").data, shape: [CHANNELS, FRAMES, HEIGHT, WIDTH] },
    prompt: prompt ?? promptOf(numTokens, config.text_dim),
    timestep: 737,
    ...(plan && { plan }),
  });
}

test("a plan that sees everything gives diffusers' velocity, one that does not gives another", async () => {
  const everything = await run(tile(FRAMES));
  expect(relativeL2(everything.velocity, expected("p0.forward_t737").data)).toBeLessThan(1e-4);
  expect(everything.velocity).toEqual((await run(undefined)).velocity);
  const local = await run(dualScope({ window: 0, anchors: 1, first: 0 }));
  expect(relativeL2(local.velocity, everything.velocity)).toBeGreaterThan(1e-4);
});

test("distances quantised in steps of one are the true ones", async () => {
  const passes = await run(
    full({ positions: { kind: "vrpr", near: 1, far: 2, nearStep: 1, farStep: 1, max: 99 } }),
  );
  expect(relativeL2(passes.velocity, expected("p0.forward_t737").data)).toBeLessThan(1e-4);
});

test("every frame reads its own prompt, and a blend of two between them", async () => {
  const { config } = await fixtureTransformer("wan_tiny");
  const numTokens = realTokens(expected("p0.input_ids").data).length;
  const [a, b] = [promptOf(numTokens, config.text_dim), promptOf(numTokens + 2, config.text_dim)];
  const last = FRAMES - 1;
  const scheduled = await run(undefined, {
    prompts: [
      { embeds: a, fromFrame: 0 },
      { embeds: b, fromFrame: last },
    ],
    blendFrames: 1,
  });
  const blended: PromptEmbeds = { ...b, data: b.data.map((value, i) => (value + (a.data[i] ?? 0)) / 2) };
  const alone = [await run(undefined, a), await run(undefined, blended), await run(undefined, b)];
  const rows = (result: ForwardResult, frame: number): Float32Array => {
    const activation = result.activations.get("block0.attn2") ?? new Float32Array();
    return activation.subarray(
      (frame * activation.length) / FRAMES,
      ((frame + 1) * activation.length) / FRAMES,
    );
  };
  for (let frame = 0; frame < FRAMES; frame++) {
    const wanted = alone[frame === last ? 2 : frame === last - 1 ? 1 : 0]!;
    expect(relativeL2(rows(scheduled, frame), rows(wanted, frame)), `frame ${frame}`).toBeLessThan(1e-6);
  }
});
