// What every combination of wishes leads to, for a model with a few-step student and for plain Wan folders.
import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { parseModelIndex } from "../../../src/pipelines/model_index.ts";
import type { RenderOptions } from "../../../src/pipelines/render_options.ts";
import { resolveSettings } from "../../../src/pipelines/resolve_settings.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";

type Json = Record<string, unknown>;
const nanoJson = readFixtureJson("weft_nano_tokens/model_index.json") as Json & { fewstep: Json };
const wanJson = readFixtureJson("wan_tiny/model_index.json") as Json;
const nano = parseModelIndex(nanoJson);
const wan = parseModelIndex(wanJson);
const prompt = "a red ball";

test("parseModelIndex() reads weft-nano's own keys", () => {
  expect(nano).toEqual({
    classes: { scheduler: "FlowMatchEulerDiscreteScheduler", vae: "AutoencoderTAEHV" },
    maxSequenceLength: 64,
    height: 128,
    width: 128,
    numFrames: 33,
    trainedFrames: [17, 33, 49],
    fps: 16,
    numInferenceSteps: 30,
    guidanceScale: 2.5,
    uniformGridShift: 3,
    fewstep: { folder: "transformer_fewstep", sigmas: [1, 0.9, 0.75, 0.5, 0], guidanceScale: 1 },
  });
});

test("parseModelIndex() falls back to diffusers' defaults for Wan", () => {
  expect(wan).toEqual({
    classes: { scheduler: "UniPCMultistepScheduler", vae: "AutoencoderKLWan" },
    maxSequenceLength: 512,
    height: 480,
    width: 832,
    numFrames: 81,
    trainedFrames: [81],
    fps: 16,
    numInferenceSteps: 50,
    guidanceScale: 5,
    uniformGridShift: undefined,
    fewstep: undefined,
  });
  const newer = { transformer_2: [null, null], boundary_ratio: null, expand_timesteps: false };
  expect(parseModelIndex({ ...wanJson, ...newer, num_frames: 49 })).toEqual({
    ...wan,
    numFrames: 49,
    trainedFrames: [49],
  });
});

test.each<[unknown, RegExp]>([
  [[], /model_index.json/],
  ["x", /model_index.json must hold a JSON object/],
  [{ ...wanJson, _class_name: "WanImageToVideoPipeline" }, /"WanImageToVideoPipeline" is not supported yet/],
  [{ ...wanJson, vae: undefined }, /has no "vae"/],
  [
    { ...wanJson, text_encoder: ["transformers", "T5EncoderModel"] },
    /"text_encoder.1": "T5EncoderModel" is not/,
  ],
  [{ ...wanJson, transformer_2: ["diffusers", "WanTransformer3DModel"] }, /two transformers/],
  [{ ...wanJson, boundary_ratio: 0.875 }, /two transformers/],
  [{ ...wanJson, expand_timesteps: true }, /"expand_timesteps": true is not supported yet/],
  [{ ...nanoJson, height: "128" }, /"height" must be a number, but is "128"/],
  [{ ...nanoJson, num_frames: [] }, /"num_frames"/],
  [
    { ...nanoJson, fewstep: { ...nanoJson.fewstep, sigmas: [1, 0.5] } },
    /"fewstep.sigmas": \[1,0.5\] must fall/,
  ],
  [{ ...nanoJson, fewstep: { ...nanoJson.fewstep, guidance_scale: 3 } }, /few-step model with guidance 3/],
])("parseModelIndex() refuses the file %#", (json, message) => {
  expect(() => parseModelIndex(json)).toThrow(InputError);
  expect(() => parseModelIndex(json)).toThrow(message);
});

const student = {
  variant: "fewstep",
  transformerFolder: "transformer_fewstep",
  numInferenceSteps: 4,
  guidanceScale: 1,
  scheduler: "euler",
  flowShift: undefined,
  sigmas: [1, 0.9, 0.75, 0.5, 0],
};

test.each<Partial<RenderOptions>>([
  {},
  { numInferenceSteps: 4 },
  { guidanceScale: 1 },
  { guidanceScale: 0 },
  { scheduler: "euler" },
  { negativePrompt: " " },
  { numInferenceSteps: 4, guidanceScale: 1, scheduler: "euler", seed: 3, numFrames: 17, fps: 24 },
])("resolveSettings() gives the student for weft-nano with %j", (options) => {
  const settings = resolveSettings({ prompt, ...options }, nano);
  expect(settings).toMatchObject(student);
  expect(settings.notices).toEqual([]);
});

test.each<[Partial<RenderOptions>, Json]>([
  [{ guidanceScale: 4 }, { numInferenceSteps: 30, guidanceScale: 4, scheduler: "euler" }],
  [
    { guidanceScale: 2, numInferenceSteps: 8 },
    { numInferenceSteps: 8, guidanceScale: 2, scheduler: "euler" },
  ],
  [
    { scheduler: "unipc" },
    { numInferenceSteps: 30, guidanceScale: 2.5, scheduler: "unipc", sigmas: undefined },
  ],
  [
    { scheduler: "unipc", guidanceScale: 1, numInferenceSteps: 10 },
    { numInferenceSteps: 10, guidanceScale: 1 },
  ],
  [
    { guidanceScale: 3, flowShift: 5, negativePrompt: "blue" },
    { flowShift: 5, negativePrompt: "blue" },
  ],
])("resolveSettings() gives the base model for weft-nano with %j", (options, expected) => {
  const settings = resolveSettings({ prompt, ...options }, nano);
  expect(settings).toMatchObject({ variant: "base", transformerFolder: "transformer", ...expected });
});

test("resolveSettings() shifts weft-nano's base grid once, as its recipe says", () => {
  const config = { _class_name: "FlowMatchEulerDiscreteScheduler", num_train_timesteps: 1000, shift: 3 };
  const { numInferenceSteps, sigmas, flowShift, scheduler } = resolveSettings(
    { prompt, guidanceScale: 4, numInferenceSteps: 8 },
    nano,
  );
  const plan = createScheduler({ config, numInferenceSteps, sigmas, shift: flowShift, name: scheduler });
  // reference/cases.json of weft-nano, base_sigmas
  const wanted = [
    1, 0.9545454382896423, 0.8999999761581421, 0.8333333134651184, 0.75, 0.6428571343421936, 0.5,
  ];
  [...wanted, 0.30000001192092896, 0].forEach((sigma, i) => expect(plan.sigmas[i]).toBeCloseTo(sigma, 7));
  const shifted = resolveSettings({ prompt, guidanceScale: 4, numInferenceSteps: 2, flowShift: 1 }, nano);
  expect(shifted.sigmas).toEqual([1, 0.5, 0]);
});

test("resolveSettings() takes a plain Wan folder's own scheduler, shift and defaults", () => {
  const { seed, ...rest } = resolveSettings({ prompt }, wan);
  expect(rest).toEqual({
    prompt,
    negativePrompt: "",
    numFrames: 81,
    numLatentFrames: 21,
    height: 480,
    width: 832,
    fps: 16,
    maxSequenceLength: 512,
    variant: "base",
    transformerFolder: "transformer",
    numInferenceSteps: 50,
    guidanceScale: 5,
    scheduler: "unipc",
    flowShift: undefined,
    sigmas: undefined,
    notices: [],
  });
  expect(Number.isInteger(seed)).toBe(true);
  const euler = resolveSettings({ prompt, scheduler: "euler", flowShift: 8, guidanceScale: 1 }, wan);
  expect(euler).toMatchObject({ scheduler: "euler", flowShift: 8, sigmas: undefined, guidanceScale: 1 });
});

test("resolveSettings() draws another seed each time and keeps one that is given", () => {
  const seeds = Array.from({ length: 4 }, () => resolveSettings({ prompt }, nano).seed);
  expect(new Set(seeds).size).toBeGreaterThan(1);
  expect(resolveSettings({ prompt, seed: 0 }, nano).seed).toBe(0);
  expect(resolveSettings({ prompt, maxSequenceLength: 64 }, wan).maxSequenceLength).toBe(64);
});

test("resolveSettings() says when a negative prompt does nothing", () => {
  const { notices } = resolveSettings({ prompt, negativePrompt: "blue", guidanceScale: 1 }, wan);
  expect(notices).toEqual(["The negative prompt has no effect, since a guidance of 1 means none."]);
  expect(resolveSettings({ prompt, negativePrompt: "blue", guidanceScale: 1 }, nano).notices).toEqual(
    notices,
  );
});

test.each<[Partial<RenderOptions>, RegExp]>([
  [{ prompt: "" }, /prompt is empty/],
  [{ prompt: " \n\u0000 &nbsp; " }, /prompt is empty/],
  [{ numFrames: 32 }, /frames must be 4k\+1, not 32: use 29 or 33/],
  [{ numFrames: 2 }, /not 2: use 1 or 5/],
  [{ numFrames: 0 }, /such as 17 or 33, not 0/],
  [{ numFrames: 4.5 }, /not 4.5: use 1 or 5/],
  [{ numFrames: Number.NaN }, /such as 17 or 33, not NaN/],
  [{ height: 100 }, /height must be a multiple of 16, not 100: use 96 or 112/],
  [{ width: 8 }, /width must be a multiple of 16, at least 16, not 8/],
  [{ width: Number.NaN }, /at least 16, not NaN/],
  [{ maxSequenceLength: 0 }, /maximum sequence length must be a whole number of at least 1, not 0/],
  [{ seed: -1 }, /seed must be a whole number from 0/],
  [{ fps: 0 }, /frames per second must be above 0 and at most 240, not 0/],
  [{ fps: Number.NaN }, /not NaN/],
  [{ scheduler: "ddim" }, /There is no scheduler "ddim": choose "unipc" or "euler"/],
  [{ guidanceScale: -2 }, /guidance must be a number of at least 0/],
  [{ guidanceScale: 4, numInferenceSteps: 0 }, /steps must be a whole number from 1 to 1000, not 0/],
  [{ guidanceScale: 4, flowShift: 0 }, /shift must be a number above 0, not 0/],
  [
    { numInferenceSteps: 20 },
    /exactly 4 steps \(noise levels 1, 0.9, 0.75, 0.5, 0\), not 20: leave the steps out, or add a guidance above 1, such as 2.5/,
  ],
  [{ numInferenceSteps: 20, scheduler: "euler", guidanceScale: 1 }, /exactly 4 steps/],
  [{ flowShift: 5 }, /fixed noise levels/],
  [{ negativePrompt: "blue" }, /A negative prompt needs guidance/],
])("resolveSettings() refuses %j", (options, message) => {
  const resolve = (): unknown => resolveSettings({ prompt, ...options }, nano);
  expect(resolve).toThrow(InputError);
  expect(resolve).toThrow(message);
});

test("resolveSettings() refuses a checkpoint's unknown scheduler unless another is asked for", () => {
  const model = parseModelIndex({ ...wanJson, scheduler: ["diffusers", "DPMSolverMultistepScheduler"] });
  expect(() => resolveSettings({ prompt }, model)).toThrow(
    /DPMSolverMultistepScheduler is not supported: choose/,
  );
  expect(resolveSettings({ prompt, scheduler: "unipc" }, model).scheduler).toBe("unipc");
});

test("resolveSettings() hands guidance on, for the student too, and says what has no effect", () => {
  const perturbation = { kind: "heads", heads: [{ layers: [1], strength: 0.5 }] } as const;
  const perturbedGuidance = { scale: 2, perturbation };
  const student = resolveSettings({ prompt, perturbedGuidance, guidanceRescale: 0.5 }, nano);
  expect(student).toMatchObject({ variant: "fewstep", perturbedGuidance, guidanceRescale: 0.5, notices: [] });
  const idle = resolveSettings({ prompt, guidanceInterval: { start: 0, stop: 0.5 } }, nano);
  expect(idle.notices).toEqual(["There is no guidance, so its rescale and its interval have no effect."]);
  const wrong = { scale: -1, perturbation };
  expect(() => resolveSettings({ prompt, perturbedGuidance: wrong }, nano)).toThrow(InputError);
});
