// Every table and trajectory that diffusers computed, for both schedulers, four shifts and six step counts.
import { expect, test } from "vitest";
import { applyStep, type SchedulerState, type TensorTerm } from "../../../src/schedulers/apply_step.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import type { Scheduler, SchedulerName } from "../../../src/schedulers/scheduler.ts";
import { readFixtureJson, readFixtureTensors } from "../../reference/fixture_tensors.ts";

const TOLERANCE = 1e-5;
const expected = readFixtureTensors("schedulers/expected.safetensors");
const configs: Record<SchedulerName, unknown> = {
  unipc: readFixtureJson("wan_tiny/scheduler/scheduler_config.json"),
  euler: readFixtureJson("wan_head128/scheduler/scheduler_config.json"),
};

/** Runs a plan on f32 arrays, as the GPU does, with f32 coefficients. */
function trajectory(scheduler: Scheduler, start: Float32Array): Float32Array[] {
  let state: SchedulerState<Float32Array> = new Map([["sample", start]]);
  const samples = [start];
  for (const step of scheduler.steps) {
    const sample = state.get("sample")!;
    const velocity = sample.map((x) => Math.sin(x + step.timestep / 1000));
    state = applyStep(step, state, velocity, combine).state;
    samples.push(state.get("sample")!);
  }
  return samples;
}

function combine(terms: readonly TensorTerm<Float32Array>[]): Float32Array {
  const sum = new Float32Array(terms[0]!.tensor.length);
  for (const { tensor, coefficient } of terms) {
    const factor = Math.fround(coefficient);
    for (let i = 0; i < sum.length; i++) sum[i] = Math.fround(sum[i]! + Math.fround(factor * tensor[i]!));
  }
  return sum;
}

function maxDifference(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(actual.length).toBe(wanted.length);
  let max = 0;
  for (let i = 0; i < wanted.length; i++) max = Math.max(max, Math.abs(actual[i]! - wanted[i]!));
  return max;
}

for (const name of ["unipc", "euler"] as const) {
  for (const shift of [1, 3, 5, 8]) {
    test.each([1, 2, 4, 8, 20, 50])(`${name} shift ${shift}: tables and trajectory of %i steps`, (steps) => {
      const prefix = `${name}.shift${shift}.0.steps${steps}`;
      const scheduler = createScheduler({ config: configs[name], numInferenceSteps: steps, shift });
      expect(maxDifference(scheduler.sigmas, expected.get(`${prefix}.sigmas`)!.data)).toBeLessThanOrEqual(
        1e-7,
      );
      // Timesteps reach 1000, where f32 is 6e-5 apart.
      expect(
        maxDifference(scheduler.timesteps, expected.get(`${prefix}.timesteps`)!.data),
      ).toBeLessThanOrEqual(TOLERANCE);
      const wanted = expected.get(`${prefix}.trajectory`)!.data;
      const start = wanted.slice(0, 32);
      const actual = trajectory(scheduler, start);
      const flat = Float32Array.from(actual.flatMap((sample) => [...sample]));
      expect(maxDifference(flat, wanted)).toBeLessThanOrEqual(TOLERANCE);
    });
  }
}

test("the schedules stored with the pipelines come from their own scheduler_config.json", () => {
  for (const [model, config, steps] of [
    ["wan_tiny", configs.unipc, 6],
    ["wan_head128", configs.euler, 3],
  ] as const) {
    const scheduler = createScheduler({ config, numInferenceSteps: steps });
    const tensors = readFixtureTensors(`${model}/expected.safetensors`);
    expect(maxDifference(scheduler.sigmas, tensors.get("p0.sigmas")!.data)).toBeLessThanOrEqual(TOLERANCE);
    expect(maxDifference(scheduler.timesteps, tensors.get("p0.timesteps")!.data)).toBeLessThanOrEqual(
      TOLERANCE,
    );
  }
});
