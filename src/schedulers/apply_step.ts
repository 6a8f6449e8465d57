// Walks through one step of a scheduler's plan with tensors of any kind: the caller says how to combine them.
// The denoising loop passes a function that records the linear_combine kernel; tests pass one on plain arrays.
import type { LatentSlot, LinearTerm, SchedulerStep, StateSlot } from "./scheduler.ts";

/** A summand with its tensor. */
export interface TensorTerm<T> {
  readonly tensor: T;
  readonly coefficient: number;
}

/** Makes a new tensor, `sum of coefficient * tensor`; `label` names it for diagnostics. */
export type Combine<T> = (terms: readonly TensorTerm<T>[], label: LatentSlot) => T;

/** The tensors that live between steps; starts as `new Map([["sample", noise]])`. */
export type SchedulerState<T> = ReadonlyMap<StateSlot, T>;

/** What a step leaves behind. */
export interface AppliedStep<T> {
  /** State for the next step; its `sample` is the new latents. */
  readonly state: SchedulerState<T>;
  /** Tensors of the old state, and temporaries, that nothing needs any more. Never the model's output. */
  readonly released: readonly T[];
}

/** The clean sample the step predicts, for previews. */
export function predictCleanSample<T>(
  step: SchedulerStep,
  tensors: { readonly sample: T; readonly modelOutput: T },
  combine: Combine<T>,
): T {
  const slots = new Map<LatentSlot, T>([
    ["sample", tensors.sample],
    ["model_output", tensors.modelOutput],
  ]);
  return combine(bind(step.x0, slots), "x0");
}

/** Applies a step to the state and the model's output (the guided velocity). */
export function applyStep<T>(
  step: SchedulerStep,
  state: SchedulerState<T>,
  modelOutput: T,
  combine: Combine<T>,
): AppliedStep<T> {
  const slots = new Map<LatentSlot, T>([...state, ["model_output", modelOutput]]);
  for (const { output, terms } of step.combinations) slots.set(output, combine(bind(terms, slots), output));
  const next = new Map<StateSlot, T>();
  for (const [target, source] of Object.entries(step.carry) as [StateSlot, LatentSlot][]) {
    next.set(target, tensorOf(slots, source));
  }
  const kept = new Set<T>([...next.values(), modelOutput]);
  const released = [...new Set(slots.values())].filter((tensor) => !kept.has(tensor));
  return { state: next, released };
}

function bind<T>(terms: readonly LinearTerm[], slots: ReadonlyMap<LatentSlot, T>): TensorTerm<T>[] {
  return terms.map(({ input, coefficient }) => ({ tensor: tensorOf(slots, input), coefficient }));
}

function tensorOf<T>(slots: ReadonlyMap<LatentSlot, T>, slot: LatentSlot): T {
  const tensor = slots.get(slot);
  if (tensor === undefined)
    throw new Error(`The step needs "${slot}", which no earlier step has left behind.`);
  return tensor;
}
