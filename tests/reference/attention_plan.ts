// Twin of attention by plan: an explicit dense mask, bias and rotation for every pair of tokens, in f64, written from the
// sentences of src/attention/plan.ts and from none of the code that compiles plans.

import type {
  AttentionPlan,
  FrameRule,
  FrameSet,
  KeyGroup,
  LogitBias,
  PositionRule,
} from "../../src/attention/plan.ts";

/** Self-attention of one layer; q, k, v [frames * rows * columns, heads * headDim], before rotary positions. */
export interface PlanProblem {
  readonly plan: AttentionPlan;
  readonly frames: number;
  readonly rows: number;
  readonly columns: number;
  readonly heads: number;
  readonly headDim: number;
  readonly layer: number;
  readonly step: number;
  readonly timestep: number;
  readonly q: ArrayLike<number>;
  readonly k: ArrayLike<number>;
  readonly v: ArrayLike<number>;
}

/** The output, as q. */
export function plannedAttention(problem: PlanProblem): Float64Array {
  const { plan, frames, rows, columns, heads, headDim, layer, q, v } = problem;
  const width = heads * headDim;
  const out = new Float64Array(q.length);
  const perFrame = rows * columns;
  for (let head = 0; head < heads; head++) {
    const strength = lastFor(plan.perturbations, layer, head)?.strength ?? 0;
    const name = lastFor(plan.overrides, layer, head)?.rule ?? plan.defaultRule;
    for (let i = 0; i < frames * perFrame; i++) {
      const logits = Array.from({ length: frames * perFrame }, (_, j) => {
        const group = plan.rules[name]!.groups.find((each) => sees(each.frames, { problem, i, j }));
        return group === undefined ? -Infinity : logit(problem, { head, i, j, group });
      });
      const top = Math.max(...logits);
      const weights = logits.map((each) => (top === -Infinity ? 0 : Math.exp(each - top)));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let d = head * headDim; d < (head + 1) * headDim; d++) {
        let value = 0;
        for (const [j, weight] of weights.entries())
          if (weight > 0) value += (weight / sum) * v[j * width + d]!;
        out[i * width + d] = (1 - strength) * value + strength * v[i * width + d]!;
      }
    }
  }
  return out;
}

interface TokenPair {
  readonly problem: PlanProblem;
  readonly i: number;
  readonly j: number;
}

function lastFor<T extends { layers: readonly number[]; heads?: readonly number[] | undefined }>(
  entries: readonly T[],
  layer: number,
  head: number,
): T | undefined {
  return entries.findLast(
    (each) => each.layers.includes(layer) && (!each.heads || each.heads.includes(head)),
  );
}

function sees(rule: FrameRule, { problem, i, j }: TokenPair): boolean {
  const perFrame = problem.rows * problem.columns;
  const [qf, kf] = [Math.floor(i / perFrame), Math.floor(j / perFrame)];
  switch (rule.kind) {
    case "all":
      return true;
    case "window": {
      if (rule.ends === "clip") return Math.abs(qf - kf) <= rule.radius;
      const length = Math.min(2 * rule.radius + 1, problem.frames);
      const first = Math.min(Math.max(qf - rule.radius, 0), problem.frames - length);
      return kf >= first && kf < first + length;
    }
    case "anchors":
      return inSet(rule.frames, kf, problem);
    case "references":
      return qf === kf || inSet(rule.frames, qf, problem) || inSet(rule.frames, kf, problem);
    case "radial": {
      const distance = Math.abs(qf - kf);
      if (distance <= rule.denseDistance) return true;
      const octave = Math.floor(Math.log2(distance));
      const tiles = Math.ceil(perFrame / 64);
      const band = (tiles * rule.density) / 2 ** octave;
      const apart = Math.abs(Math.floor((i % perFrame) / 64) - Math.floor((j % perFrame) / 64));
      if (rule.density >= 2 ** octave) return true;
      return band >= 1 ? apart < band : apart === 0 && distance % Math.ceil(1 / band) === 0;
    }
    case "list":
      return rule.keys[qf]!.includes(kf);
  }
}

function inSet(set: FrameSet, frame: number, { frames, step, layer }: PlanProblem): boolean {
  if (set.kind === "list") return set.frames.includes(frame);
  if (set.kind === "uniform")
    return Array.from({ length: set.count }, (_, i) => Math.floor((i * frames) / set.count)).includes(frame);
  if (frame < set.first) return true;
  const period = Math.ceil(frames / set.count);
  if (set.kind === "rotating") return frame % period === step % period;
  // Coverage has no closed form to repeat here; its promises are tested by themselves.
  throw new Error(`The twin does not know the anchors of layer ${layer}.`);
}

function logit(
  { q, k, rows, columns, heads, headDim, frames, timestep }: PlanProblem,
  { head, i, j, group }: { head: number; i: number; j: number; group: KeyGroup },
): number {
  const place = (token: number): [number, number, number] => [
    Math.floor(token / (rows * columns)),
    Math.floor(token / columns) % rows,
    token % columns,
  ];
  const [from, to] = [place(i), place(j)];
  const spatial = Math.floor(headDim / 6);
  const pairs = [headDim / 2 - 2 * spatial, spatial, spatial];
  let at = head * headDim;
  let dot = 0;
  for (const [axis, count] of pairs.entries()) {
    const difference = from[axis]! - to[axis]!;
    for (let pair = 0; pair < count; pair++, at += 2) {
      const speed = 10_000 ** (-pair / count);
      const angle =
        axis === 0 ? timeAngle(group.positions, { difference, pair, speed, frames }) : difference * speed;
      const [a, b] = [q[i * heads * headDim + at]!, q[i * heads * headDim + at + 1]!];
      const [c, d] = [k[j * heads * headDim + at]!, k[j * heads * headDim + at + 1]!];
      dot +=
        (a * Math.cos(angle) - b * Math.sin(angle)) * c + (a * Math.sin(angle) + b * Math.cos(angle)) * d;
    }
  }
  return dot / Math.sqrt(headDim) + biasOf(group.bias, timestep);
}

function timeAngle(
  rule: PositionRule,
  { difference, pair, speed, frames }: { difference: number; pair: number; speed: number; frames: number },
): number {
  const [away, sign] = [Math.abs(difference), Math.sign(difference)];
  switch (rule.kind) {
    case "true":
      return difference * speed;
    case "clamped":
      return sign * Math.min(away, rule.max) * speed;
    case "vrpr": {
      // Counted instead of computed: walk from 0 to the distance and step where the rule steps.
      let [seen, sinceStep] = [0, 0];
      for (let d = 1; d <= away; d++) {
        const stride = d < rule.near ? 1 : d < rule.far ? rule.nearStep : rule.farStep;
        sinceStep = d === rule.near || d === rule.far ? stride : sinceStep + 1;
        if (sinceStep < stride) continue;
        seen++;
        sinceStep = 0;
      }
      return sign * Math.min(seen, rule.max) * speed;
    }
    case "riflex":
      return difference * (pair + 1 === rule.frequency ? (1.8 * Math.PI) / (rule.length ?? frames) : speed);
  }
}

function biasOf(bias: LogitBias, timestep: number): number {
  if (typeof bias === "number") return bias;
  const reached = bias.filter(({ timestepAtLeast }) => timestep >= timestepAtLeast);
  return reached.sort((a, b) => b.timestepAtLeast - a.timestepAtLeast)[0]?.value ?? 0;
}
