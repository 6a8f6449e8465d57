// The denoising loop with guiders, on an engine of plain arrays: which passes run, and what their predictions become.
import { expect, test, vi } from "vitest";
import { createGuider } from "../../../src/guiders/create_guider.ts";
import type { GuidanceSettings } from "../../../src/guiders/guidance_settings.ts";
import type { ForwardPass } from "../../../src/guiders/guider.ts";
import { denoise, type DenoiseOptions, requireFinite } from "../../../src/pipelines/denoise.ts";
import type { Denoiser } from "../../../src/pipelines/denoiser.ts";
import { createScheduler } from "../../../src/schedulers/create_scheduler.ts";
import { nextTask } from "../../../src/util/next_task.ts";
import { linearCombine } from "../../reference/linear_combine.ts";
import { matchDeviation } from "../../reference/match_deviation.ts";
import { randomNumbers } from "../../reference/random.ts";

const VELOCITY: Record<ForwardPass, Float32Array> = {
  conditional: randomNumbers(6, 1),
  unconditional: randomNumbers(6, 2),
  perturbed: randomNumbers(6, 3),
};
const { conditional: c, unconditional: u, perturbed: p } = VELOCITY;
const NOISE = randomNumbers(6, 4);
const STEPS = 4;
const heads = { kind: "heads", heads: [{ layers: [0], strength: 1 }] } as const;

/** Velocities that depend on the pass only; counts the tensors that nobody freed. */
function arrayEngine() {
  const alive = new Set<Float32Array>();
  const passes: ForwardPass[][] = [];
  const made = (data: ArrayLike<number>): Float32Array => {
    const tensor = Float32Array.from(data);
    alive.add(tensor);
    return tensor;
  };
  const denoiser: Denoiser<Float32Array> = {
    upload: (data) => made(data),
    read: (tensor) => Promise.resolve(tensor),
    free: (tensor) => void alive.delete(tensor),
    begin: () => {
      const asked: ForwardPass[] = [];
      passes.push(asked);
      return {
        forward: (pass) => {
          asked.push(pass);
          return Promise.resolve(VELOCITY[pass]);
        },
        combine: (terms) =>
          made(linearCombine(terms.map(({ tensor, coefficient }) => ({ values: tensor, coefficient })))),
        matchDeviation: (x, { reference, share }) => made(matchDeviation(x, reference, share)),
        finish: () => Promise.resolve(),
        discard: () => undefined,
      };
    },
    dispose: () => undefined,
  };
  return { denoiser, alive, passes };
}

const START = { step: 0, slots: new Map([["sample", NOISE] as const]) };

/** Euler's steps from sigma 1 to 0 without guidance. */
function plainOptions(): DenoiseOptions {
  const scheduler = createScheduler({
    config: { _class_name: "FlowMatchEulerDiscreteScheduler" },
    numInferenceSteps: STEPS,
    sigmas: [1, 0.75, 0.5, 0.25, 0],
    shift: undefined,
    name: "euler",
  });
  const nothing = (): void => undefined;
  const guider = createGuider({ guidanceScale: 1 });
  return { scheduler, guider, wantsPreview: false, onProgress: nothing, onStep: nothing };
}

/** The mean velocity that Euler's steps from sigma 1 to 0 followed, and the passes of each step. */
async function run(settings: GuidanceSettings): Promise<{ velocity: number[]; passes: ForwardPass[][] }> {
  const { denoiser, alive, passes } = arrayEngine();
  const final = await denoise(denoiser, START, { ...plainOptions(), guider: createGuider(settings) });
  expect(alive.size).toBe(0);
  return { velocity: Array.from(final, (x, i) => (NOISE[i] ?? NaN) - x), passes };
}

function expectClose(actual: readonly number[], wanted: ArrayLike<number>): void {
  actual.forEach((value, i) => expect(value).toBeCloseTo(wanted[i] ?? NaN, 5));
}

test("CFG and SoftPAG add up: u + g (c - u) + s (c - p)", async () => {
  const { velocity, passes } = await run({
    guidanceScale: 3,
    perturbedGuidance: { scale: 2, perturbation: heads },
  });
  expectClose(
    velocity,
    c.map((value, i) => u[i]! + 3 * (value - u[i]!) + 2 * (value - p[i]!)),
  );
  expect(passes).toEqual(Array(STEPS).fill(["conditional", "unconditional", "perturbed"]));
});

test("SoftPAG alone needs no unconditional pass, at scale 0 no other pass at all", async () => {
  const guided = await run({ guidanceScale: 1, perturbedGuidance: { scale: 2, perturbation: heads } });
  expectClose(
    guided.velocity,
    c.map((value, i) => value + 2 * (value - p[i]!)),
  );
  expect(guided.passes[0]).toEqual(["conditional", "perturbed"]);
  const none = await run({ guidanceScale: 1, perturbedGuidance: { scale: 0, perturbation: heads } });
  expect(none.velocity).toEqual((await run({ guidanceScale: 1 })).velocity);
  expect(none.passes[0]).toEqual(["conditional"]);
});

test("rescale draws the deviation of the guided prediction back to the conditional one's", async () => {
  const { velocity } = await run({ guidanceScale: 5, guidanceRescale: 0.6 });
  const guided = c.map((value, i) => u[i]! + 5 * (value - u[i]!));
  expectClose(velocity, matchDeviation(guided, c, 0.6));
});

test("outside of its interval guidance costs nothing", async () => {
  const { velocity, passes } = await run({ guidanceScale: 5, guidanceInterval: { start: 0.25, stop: 0.5 } });
  expect(passes.map(({ length }) => length)).toEqual([1, 2, 1, 1]);
  expectClose(
    velocity,
    c.map((value, i) => 0.75 * value + 0.25 * (u[i]! + 5 * (value - u[i]!))),
  );
});

test("requireFinite(): latents that overflowed are refused, others come back", () => {
  const latents = Float32Array.of(1, -2);
  expect(requireFinite(latents)).toBe(latents);
  for (const wrong of [NaN, Infinity, -Infinity])
    expect(() => requireFinite(Float32Array.of(1, wrong))).toThrow("ask for less guidance");
});

test("a step is told while the next one is computed, and no step before the one before it", async () => {
  const { denoiser, alive, passes } = arrayEngine();
  const told: { step: number; begun: number }[] = [];
  let release: () => void = () => undefined;
  const controller = new AbortController();
  const denoised = denoise(denoiser, START, {
    ...plainOptions(),
    signal: controller.signal,
    onStep: async ({ state: { step } }) => {
      told.push({ step, begun: passes.length });
      await new Promise<void>((resolve) => (release = resolve));
    },
  });
  for (const [step, begun] of [
    [1, 1],
    [2, 2],
    [3, 3],
  ]) {
    await vi.waitFor(() => expect(passes).toHaveLength((begun ?? 0) + 1));
    expect(told.at(-1)).toEqual({ step, begun });
    if (step === 3) controller.abort();
    release();
  }
  await expect(denoised).rejects.toMatchObject({ name: "AbortError" });
  expect(told.map(({ step }) => step)).toEqual([1, 2, 3]);
  expect([...alive]).toEqual([]);
});

test("what telling a step comes to is the loop's failure", async () => {
  const { denoiser, alive } = arrayEngine();
  const fail = async ({ state }: { state: { step: number } }): Promise<void> => {
    await nextTask();
    if (state.step === 2) throw new Error("The disk is full.");
  };
  await expect(denoise(denoiser, START, { ...plainOptions(), onStep: fail })).rejects.toThrow(
    "The disk is full.",
  );
  expect([...alive]).toEqual([]);
});
