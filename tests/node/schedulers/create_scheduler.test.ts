// Which plan a config and a user's wishes lead to, and the sentences for what cannot be followed.
import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { applyStep, predictCleanSample, type TensorTerm } from "../../../src/schedulers/apply_step.ts";
import { cleanSampleOf } from "../../../src/schedulers/clean_sample.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import type { StateSlot } from "../../../src/schedulers/scheduler.ts";
import { uniformShiftedSigmas } from "../../../src/schedulers/sigma_grids.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";

const unipc = readFixtureJson("wan_tiny/scheduler/scheduler_config.json") as Record<string, unknown>;
const euler = readFixtureJson("wan_head128/scheduler/scheduler_config.json") as Record<string, unknown>;
const FEWSTEP_SIGMAS = [1, 0.9, 0.75, 0.5, 0];

test("createScheduler() takes explicit sigmas as they are, with no second shift", () => {
  const scheduler = createScheduler({
    config: { ...euler, shift: 3 },
    numInferenceSteps: 99,
    sigmas: FEWSTEP_SIGMAS,
  });
  expect(scheduler.timesteps).toEqual([1000, 900, 750, 500]);
  expect(scheduler.sigmas).toEqual(FEWSTEP_SIGMAS.map(Math.fround));
  expect(scheduler.steps.map((step) => step.combinations[0]?.terms[1]?.coefficient)).toEqual(
    [-0.1, -0.15, -0.25, -0.5].map((value) => expect.closeTo(value, 6)),
  );
});

test("uniformShiftedSigmas() is the grid weft-nano's base model was sampled with", () => {
  const wanted = [
    1, 0.9545454382896423, 0.8999999761581421, 0.8333333134651184, 0.75, 0.6428571343421936, 0.5,
  ];
  uniformShiftedSigmas(8, 3).forEach((sigma, i) => expect(sigma).toBeCloseTo([...wanted, 0.3, 0][i]!, 7));
});

test("createScheduler() keeps the model's shift when another class is asked for", () => {
  const scheduler = createScheduler({ config: unipc, numInferenceSteps: 8, name: "euler" });
  const own = createScheduler({ config: { ...euler, shift: 3 }, numInferenceSteps: 8 });
  expect(scheduler).toEqual(own);
  expect(createScheduler({ config: euler, numInferenceSteps: 8, name: "unipc" }).sigmas).toEqual(
    createScheduler({ config: unipc, numInferenceSteps: 8, shift: 5 }).sigmas,
  );
});

test("createScheduler() can leave the corrector out of steps", () => {
  const steps = createScheduler({ config: { ...unipc, disable_corrector: [0] }, numInferenceSteps: 6 }).steps;
  const corrected = steps.map((step) => step.combinations.some(({ output }) => output === "corrected"));
  expect(corrected).toEqual([false, false, true, true, true, false]);
});

test.each([
  [{ _class_name: "DPMSolverMultistepScheduler" }, /DPMSolverMultistepScheduler is not supported: choose/],
  [{}, /has no "_class_name"/],
  [{ ...unipc, solver_order: 3 }, /"solver_order": 3 is not supported yet \(only 1 and 2 are\)/],
  [{ ...unipc, prediction_type: "epsilon" }, /"prediction_type": "epsilon" is not supported yet/],
  [{ ...unipc, solver_type: "bh1" }, /"solver_type": "bh1" is not supported yet/],
  [{ ...unipc, final_sigmas_type: "sigma_min" }, /"final_sigmas_type"/],
  [{ ...unipc, lower_order_final: false }, /"lower_order_final"/],
  [{ ...unipc, use_flow_sigmas: undefined }, /"use_flow_sigmas"/],
  [{ ...unipc, thresholding: true }, /"thresholding"/],
  [{ ...unipc, flow_shift: "3" }, /"flow_shift" must be a number, but is "3"/],
  [
    { ...euler, use_dynamic_shifting: true },
    /"use_dynamic_shifting": true is not supported yet \(only false is\)/,
  ],
  [{ ...euler, shift_terminal: 0.02 }, /"shift_terminal": 0.02 is not supported yet/],
  [{ ...euler, use_karras_sigmas: true }, /"use_karras_sigmas"/],
  [{ ...euler, stochastic_sampling: true }, /"stochastic_sampling"/],
  [{ ...euler, shift: -1 }, /"shift": -1 must be a number above 0/],
  [null, /must hold a JSON object, but holds null/],
])("createScheduler() refuses the config %#", (config, message) => {
  expect(() => createScheduler({ config, numInferenceSteps: 4 })).toThrow(InputError);
  expect(() => createScheduler({ config, numInferenceSteps: 4 })).toThrow(message);
});

test.each([
  [{ numInferenceSteps: 0 }, /steps must be a whole number from 1 to 1000, not 0/],
  [{ numInferenceSteps: 2.5 }, /not 2.5/],
  [{ numInferenceSteps: 1001 }, /not 1001/],
  [{ numInferenceSteps: 4, shift: 0 }, /shift must be a number above 0, not 0/],
  [{ numInferenceSteps: 4, shift: Number.NaN }, /shift must be a number above 0, not NaN/],
  [{ numInferenceSteps: 4, sigmas: [1, 0.5, 0.5, 0] }, /must fall strictly/],
  [{ numInferenceSteps: 4, sigmas: [1, 0.5] }, /to exactly 0/],
  [{ numInferenceSteps: 4, sigmas: [1, Number.NaN, 0] }, /must fall strictly/],
  [{ numInferenceSteps: 4, sigmas: FEWSTEP_SIGMAS, name: "unipc" as const }, /"euler" only/],
])("createScheduler() refuses the request %#", (request, message) => {
  expect(() => createScheduler({ config: euler, ...request })).toThrow(message);
});

test("applyStep() releases every tensor that no later step needs, and never the model's output", () => {
  const scheduler = createScheduler({ config: unipc, numInferenceSteps: 6 });
  let alive = 1;
  let peak = 0;
  let state: ReadonlyMap<string, object> = new Map([["sample", {}]]);
  for (const step of scheduler.steps) {
    const modelOutput = {};
    const applied = applyStep<object>(step, state as never, modelOutput, () => (alive++, {}));
    peak = Math.max(peak, alive);
    expect(applied.released).not.toContain(modelOutput);
    alive -= applied.released.length;
    state = applied.state;
    expect(new Set(state.values()).size).toBe(alive);
  }
  expect([alive, [...state.keys()], peak]).toEqual([1, ["sample"], 7]);
});

test("every combination reads at most four tensors, all made before and none its own output", () => {
  for (const config of [unipc, euler]) {
    for (const { combinations } of createScheduler({ config, numInferenceSteps: 12 }).steps) {
      for (const { output, terms } of combinations) {
        expect(terms.length).toBeLessThanOrEqual(4);
        expect(terms.map((term) => term.input)).not.toContain(output);
        expect(terms.every(({ coefficient }) => Number.isFinite(coefficient) && coefficient !== 0)).toBe(
          true,
        );
      }
    }
  }
});

test("predictCleanSample() recovers x0 from an exact velocity", () => {
  const step = createScheduler({ config: unipc, numInferenceSteps: 4 }).steps[2]!;
  const [x0, noise] = [0.3, -1.2];
  const sample = (1 - step.sigma) * x0 + step.sigma * noise;
  const sum = (terms: readonly TensorTerm<number>[]): number =>
    terms.reduce((total, term) => total + term.coefficient * term.tensor, 0);
  expect(predictCleanSample(step, { sample, modelOutput: noise - x0 }, sum)).toBeCloseTo(x0, 12);
});

test.each([
  ["unipc", 6],
  ["euler", 6],
] as const)("cleanSampleOf() finds what a step of %s predicted from the states around it", (name, steps) => {
  const scheduler = createScheduler({ config: unipc, numInferenceSteps: steps, name });
  const combine = (terms: readonly TensorTerm<Float32Array>[]): Float32Array =>
    Float32Array.from({ length: 5 }, (_, i) =>
      terms.reduce((sum, { tensor, coefficient }) => sum + coefficient * tensor[i]!, 0),
    );
  let state: ReadonlyMap<StateSlot, Float32Array> = new Map([["sample", Float32Array.of(1, -2, 0.5, 3, 0)]]);
  for (const [index, step] of scheduler.steps.entries()) {
    const modelOutput = Float32Array.from({ length: 5 }, (_, i) => Math.sin(7 * index + i));
    const predicted = predictCleanSample(step, { sample: state.get("sample")!, modelOutput }, combine);
    const { state: after } = applyStep(step, state, modelOutput, combine);
    const found = cleanSampleOf(step, state, after);
    predicted.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 4));
    state = after;
  }
});
