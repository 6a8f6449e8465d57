// Counts what becomes of the workgroups of attention_subgroup_matrix.wgsl, by layer.
import { type SampledAttention, sampledWorkgroup } from "../reference/attention_sample.ts";

/** Which attention: over the video's own tokens or over the text. */
export interface AttentionPlace {
  readonly kind: "self" | "text";
  readonly layer: number;
}

/** What was counted in one layer, or in all; excess in logits over the largest sampled one. */
export interface RestartRow {
  readonly kind: AttentionPlace["kind"];
  readonly layer: number | "all";
  readonly workgroups: number;
  readonly startAgain: number;
  /** Of those, how many of each head. */
  readonly byHead: string;
  readonly queries: number;
  /** Share of queries whose largest logit is not in the sample. */
  readonly missed: number;
  readonly median: number;
  readonly percentile99: number;
  readonly largest: number;
}

interface Counts {
  workgroups: number;
  /** By head. */
  readonly startAgain: number[];
  readonly excess: number[];
}

/** The counts of any number of passes. */
export class RestartTally {
  readonly #every: number;
  readonly #counts = new Map<AttentionPlace["kind"], Map<number, Counts>>();

  /** @param every counts each nth query tile only */
  constructor(every: number) {
    this.#every = every;
  }

  /** Counts one dispatch. */
  add({ kind, layer }: AttentionPlace, operands: SampledAttention): void {
    const layers = this.#counts.get(kind) ?? new Map<number, Counts>();
    const counts = layers.get(layer) ?? { workgroups: 0, startAgain: [], excess: [] };
    this.#counts.set(kind, layers.set(layer, counts));
    for (let head = 0; head < operands.heads; head++) {
      for (let tile = head % this.#every; tile < operands.numQueryTiles; tile += this.#every) {
        const { excess, startsAgain } = sampledWorkgroup(operands, { head, tile });
        counts.workgroups++;
        counts.startAgain[head] = (counts.startAgain[head] ?? 0) + Number(startsAgain);
        counts.excess.push(...excess);
      }
    }
  }

  /** By kind: its layers, then all of them. */
  rows(): RestartRow[] {
    return [...this.#counts].flatMap(([kind, layers]) => [
      ...[...layers].map(([layer, counts]) => rowOf({ kind, layer }, [counts])),
      rowOf({ kind, layer: "all" }, [...layers.values()]),
    ]);
  }

  /** One line. */
  summary(): string {
    const totals = this.rows().filter(({ layer }) => layer === "all");
    return totals
      .map(
        ({ kind, startAgain, workgroups, largest }) =>
          `${kind} ${startAgain} of ${workgroups} start again, largest excess ${largest}`,
      )
      .join("; ");
  }
}

function rowOf(place: Pick<RestartRow, "kind" | "layer">, all: readonly Counts[]): RestartRow {
  const sum = (count: (counts: Counts) => number): number =>
    all.reduce((total, one) => total + count(one), 0);
  const excess = Float64Array.from(all.flatMap((counts) => counts.excess)).sort();
  const quantile = (share: number): number =>
    Number((excess[Math.ceil(share * excess.length) - 1] ?? 0).toFixed(2));
  return {
    ...place,
    workgroups: sum((counts) => counts.workgroups),
    startAgain: sum(({ startAgain }) => startAgain.reduce((total, count) => total + count, 0)),
    byHead: all.length === 1 ? (all[0]?.startAgain.join(" ") ?? "") : "",
    queries: excess.length,
    missed: Number((excess.filter((value) => value > 0).length / excess.length).toFixed(4)),
    median: quantile(0.5),
    percentile99: quantile(0.99),
    largest: quantile(1),
  };
}
