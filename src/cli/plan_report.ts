// What a plan does in a model at one step, as numbers and as a table for people.

import { resolveRule } from "../attention/frame_rules.ts";
import { type AttentionPlan, ruleOf } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import {
  describePlaces,
  type DistinctMask,
  distinctMasks,
  type PlanOverview,
} from "../attention/plan_image.ts";
import { headCost, type PlanCost } from "../attention/plan_statistics.ts";

/** Costs of several heads in one forward pass; the density is their mean. */
interface HeadsCost extends PlanCost {
  /** Layers times heads. */
  readonly heads: number;
}

/** Heads that share a mask. */
interface PlanRow extends HeadsCost {
  readonly places: string;
  readonly rule: string;
  readonly perturbation: number;
}

/** A plan's costs at one step. */
export interface PlanReport {
  readonly rows: readonly PlanRow[];
  readonly total: HeadsCost;
  /** What full attention costs. */
  readonly full: HeadsCost;
}

/** Counts the costs of a plan at the overview's step. */
export function reportPlan(plan: AttentionPlan, overview: PlanOverview, headDim: number): PlanReport {
  const size = { ...overview, headDim };
  const rows = distinctMasks(plan, overview).map((distinct) => ({
    places: describePlaces(distinct, overview),
    rule: distinct.rule,
    perturbation: distinct.perturbation,
    ...sharedCost(plan, distinct, size),
  }));
  const dense = distinctMasks(full(), overview).map((distinct) => sharedCost(full(), distinct, size));
  return { rows, total: totalOf(rows), full: totalOf(dense) };
}

/** What the heads with a mask cost: its first head, times their number. */
function sharedCost(
  plan: AttentionPlan,
  { places, perturbation }: DistinctMask,
  size: PlanOverview & { readonly headDim: number },
): HeadsCost {
  const [[layer, [head = 0]] = [0, []]] = places;
  const heads = [...places.values()].reduce((sum, list) => sum + list.length, 0);
  const rule = resolveRule(ruleOf(plan, { layer, head }), { ...size, layer });
  const { density, flops, bytes } = headCost({ rule, perturbation }, size);
  return { heads, density, flops: heads * flops, bytes: heads * bytes };
}
function totalOf(costs: readonly HeadsCost[]): HeadsCost {
  const sum = (value: (cost: HeadsCost) => number): number =>
    costs.reduce((total, cost) => total + value(cost), 0);
  const heads = sum((cost) => cost.heads);
  return {
    heads,
    density: sum((cost) => cost.heads * cost.density) / heads,
    flops: sum((cost) => cost.flops),
    bytes: sum((cost) => cost.bytes),
  };
}

/** The report as lines of text. */
export function planTable({ rows, total, full: dense }: PlanReport): string {
  const head = ["heads", "density", "GFLOP", "MB read", "rule", "where"];
  const cells = rows.map((row) => {
    const perturbed = row.perturbation > 0 ? `, perturbed by ${row.perturbation}` : "";
    return [...costCells(row), row.rule, `${row.places}${perturbed}`];
  });
  const sums = [
    [...costCells(total), "", "all together"],
    [...costCells(dense), "", "full attention"],
  ];
  const table = [head, ...cells, ...sums];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  return table
    .map((row) =>
      row
        .map((cell, i) => (i < 4 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function costCells({ heads, density, flops, bytes }: HeadsCost): string[] {
  return [
    String(heads),
    `${(100 * density).toFixed(1)} %`,
    (flops / 1e9).toFixed(2),
    (bytes / 1e6).toFixed(1),
  ];
}
