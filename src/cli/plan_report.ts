// What a plan does in a model at one step, as numbers and as a table for people.

import { type AttentionCost, maskCost, totalCost } from "../attention/plan_cost.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import { full } from "../attention/plan_constructors.ts";
import { describePlaces, distinctMasks, type PlanOverview } from "../attention/plan_image.ts";

/** Heads that share a mask. */
interface PlanRow extends AttentionCost {
  readonly places: string;
  readonly rule: string;
  readonly perturbation: number;
}

/** A plan's costs at one step. */
export interface PlanReport {
  readonly rows: readonly PlanRow[];
  readonly total: AttentionCost;
  /** What full attention costs. */
  readonly full: AttentionCost;
}

/** Counts the costs of a plan. */
export function reportPlan(plan: AttentionPlan, overview: PlanOverview, headDim: number): PlanReport {
  const size = { ...overview, headDim };
  const rows = distinctMasks(plan, overview).map((distinct) => ({
    places: describePlaces(distinct, overview),
    rule: distinct.rule,
    perturbation: distinct.perturbation,
    ...maskCost(distinct, size),
  }));
  const dense = distinctMasks(full(), overview).map((distinct) => maskCost(distinct, size));
  return { rows, total: totalCost(rows), full: totalCost(dense) };
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

function costCells({ heads, density, flops, bytes }: AttentionCost): string[] {
  return [
    String(heads),
    `${(100 * density).toFixed(1)} %`,
    (flops / 1e9).toFixed(2),
    (bytes / 1e6).toFixed(1),
  ];
}
