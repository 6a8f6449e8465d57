// Random attention plans for property tests: every kind of rule, bias, position and perturbation, all valid.

import type {
  AttentionPlan,
  AttentionRule,
  FrameRule,
  FrameSet,
  KeyGroup,
  LogitBias,
  PositionRule,
} from "../../src/attention/plan.ts";
import type { PlanProblem } from "./attention_plan.ts";
import { randomNumbers } from "./random.ts";

/** A problem with random q, k, v; those of q are large enough for uneven attention. */
export function randomProblem(sizes: Omit<PlanProblem, "q" | "k" | "v">, seed: number): PlanProblem {
  const { frames, rows, columns, heads, headDim } = sizes;
  const count = frames * rows * columns * heads * headDim;
  const q = randomNumbers(count, 3 * seed + 1).map((value) => 3 * value);
  return { ...sizes, q, k: randomNumbers(count, 3 * seed + 2), v: randomNumbers(count, 3 * seed + 3) };
}

/** Whole numbers from a seeded sequence. */
export type Draw = (below: number) => number;

/** A sequence of draws. */
export function draws(seed: number): Draw {
  const numbers = randomNumbers(4096, seed);
  let next = 0;
  return (below) => Math.floor(((numbers[next++ % numbers.length]! + 1) / 2.000001) * below);
}

/** A plan for `frames` frames and `heads` heads. */
export function randomPlan(draw: Draw, { frames, heads }: { frames: number; heads: number }): AttentionPlan {
  const names = ["a", "b", "c"].slice(0, 1 + draw(3));
  const rules: Record<string, AttentionRule> = {};
  for (const name of names)
    rules[name] = { groups: Array.from({ length: 1 + draw(3) }, (_, i) => group(draw, `${i}`, frames)) };
  const someHeads = (): number[] | undefined => (draw(2) === 0 ? undefined : [draw(heads)]);
  return {
    version: 1,
    numLatentFrames: draw(2) === 0 ? frames : "any",
    rules,
    defaultRule: names[0]!,
    overrides: names.slice(1).map((rule) => ({ layers: [0, 2], heads: someHeads(), rule })),
    perturbations:
      draw(4) === 0 ? [{ layers: [0], heads: someHeads(), strength: pick(draw, [0, 0.5, 1]) }] : [],
  };
}

function group(draw: Draw, name: string, frames: number): KeyGroup {
  return { name, frames: frameRule(draw, frames), bias: bias(draw), positions: positions(draw) };
}

function frameRule(draw: Draw, frames: number): FrameRule {
  return pick<() => FrameRule>(draw, [
    () => ({ kind: "all" }),
    () => ({ kind: "window", radius: draw(3), ends: draw(2) === 0 ? "clip" : "shift" }),
    () => ({ kind: "anchors", frames: frameSet(draw, frames) }),
    () => ({ kind: "references", frames: frameSet(draw, frames) }),
    () => ({ kind: "radial", denseDistance: draw(2), density: pick(draw, [0.3, 1, 2]) }),
    () => ({ kind: "list", keys: Array.from({ length: frames }, () => subset(draw, frames)) }),
  ])();
}

function frameSet(draw: Draw, frames: number): FrameSet {
  return pick<() => FrameSet>(draw, [
    () => ({ kind: "list", frames: subset(draw, frames) }),
    () => ({ kind: "uniform", count: 1 + draw(4) }),
    () => ({ kind: "rotating", count: 1 + draw(4), first: draw(2) }),
  ])();
}

function subset(draw: Draw, frames: number): number[] {
  return Array.from({ length: frames }, (_, i) => i).filter(() => draw(2) === 0);
}

function bias(draw: Draw): LogitBias {
  return pick<LogitBias>(draw, [
    0,
    -1.5,
    10,
    [
      { timestepAtLeast: 0, value: 2 },
      { timestepAtLeast: 500, value: -3 },
    ],
    [{ timestepAtLeast: 800, value: 10 }],
  ]);
}

function positions(draw: Draw): PositionRule {
  const near = 1 + draw(2);
  return pick<PositionRule>(draw, [
    { kind: "true" },
    { kind: "true" },
    { kind: "clamped", max: draw(3) },
    {
      kind: "vrpr",
      near,
      far: near + draw(3),
      nearStep: 1 + draw(2),
      farStep: 1 + draw(3),
      max: 1 + draw(4),
    },
    { kind: "riflex", frequency: 1 + draw(6) },
    { kind: "riflex", frequency: 2, length: 9 },
  ]);
}

function pick<T>(draw: Draw, choices: readonly T[]): T {
  return choices[draw(choices.length)]!;
}
