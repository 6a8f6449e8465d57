// The clean sample that a step has predicted, found again from the states around it: for whoever sees states only, such as
// the coordinator of workers that take the steps.
import type { LatentSlot, LinearTerm, SchedulerStep, StateSlot } from "./scheduler.ts";

type Slots = ReadonlyMap<StateSlot, Float32Array>;

/**
 * What the step predicted, of the latents' shape. Either the step keeps it, or its answer v follows from
 * next = a sample + c v, and with it x0 = p sample + q v.
 *
 * @throws Error for a step whose states do not tell
 */
export function cleanSampleOf(step: SchedulerStep, before: Slots, after: Slots): Float32Array {
  const [kept] = Object.entries(step.carry).find(([, source]) => source === "x0") ?? [];
  const x0 = kept && after.get(kept as StateSlot);
  if (x0) return x0;
  const next = step.combinations.find(({ output }) => output === step.carry.sample)?.terms ?? [];
  const [sample, result] = [before.get("sample"), after.get("sample")];
  const [a, c] = coefficientsOf(next);
  const [p, q] = coefficientsOf(step.x0);
  if (sample === undefined || result === undefined || c === 0) {
    throw new Error("The states around this step do not tell what it predicted.");
  }
  const [ofSample, ofResult] = [p - (a * q) / c, q / c];
  return sample.map((value, i) => ofSample * value + ofResult * (result[i] ?? 0));
}

/** Coefficients of the sample and of the model's output; 0 where a term is missing. */
function coefficientsOf(terms: readonly LinearTerm[]): readonly [number, number] {
  const of = (slot: LatentSlot): number => terms.find(({ input }) => input === slot)?.coefficient ?? 0;
  return [of("sample"), of("model_output")];
}
