// Records what a compiled plan says of a layer: rotate, attend pass by pass, merge, perturb.

import type { Recorder } from "../gpu/recorder.ts";
import { attention, type AttentionResult } from "../ops/attention.ts";
import { attentionMerge } from "../ops/attention_merge.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { LayerAttention } from "./compiled_plan.ts";
import { placeKey, type TemporalPlace } from "./positions.ts";

/** Queries or keys that were rotated before, for every place that a pass needs; not released. */
export interface RotatedRows {
  /** [rows, heads * head_dim]. */
  at(place: TemporalPlace): Tensor;
}

/** Operands of one layer's self-attention. */
export interface PlannedAttentionOperands {
  /** [tokens, heads * head_dim], before rotary positions; released. */
  readonly q: Tensor;
  /** As q, released with v; or rotated keys. */
  readonly k: Tensor | RotatedRows;
  /** As k. */
  readonly v: Tensor;
  readonly heads: number;
  readonly layer: LayerAttention;
  /** Records the rotation of q or k into a new tensor. */
  readonly rotate: (x: Tensor, place: TemporalPlace) => Tensor;
}

/** Records self-attention by plan, [tokens, heads * head_dim]. q and k are rotated once for every place they need. */
export function plannedAttention(recorder: Recorder, operands: PlannedAttentionOperands): Tensor {
  const { v, heads, layer, rotate } = operands;
  const [queryPlaces, keyPlaces] = placesOf(layer);
  const q = rotations(recorder, operands.q, { places: queryPlaces, rotate });
  const k =
    "at" in operands.k
      ? lent(operands.k, keyPlaces)
      : rotations(recorder, operands.k, { places: keyPlaces, rotate });
  const { out, lse } = attendPasses(recorder, { q, k, v, heads, layer, ownValues: v });
  if (!("at" in operands.k)) recorder.release(v.buffer);
  recorder.release(lse.buffer);
  return out;
}

/** Operands of attention over one of several groups of keys. Only `before` is released. */
export interface KeyGroupOperands extends Pick<PlannedAttentionOperands, "v" | "heads" | "layer"> {
  readonly q: RotatedRows;
  readonly k: RotatedRows;
  /** The queries' own values, which perturbed heads take; given with the last group only. */
  readonly ownValues?: Tensor | undefined;
  /** The groups before, merged. */
  readonly before?: AttentionResult | undefined;
}

/** Records attention over a group of keys, and merges it with the groups before. */
export function groupAttention(recorder: Recorder, { q, k, ...operands }: KeyGroupOperands): AttentionResult {
  const [queryPlaces, keyPlaces] = placesOf(operands.layer);
  return attendPasses(recorder, { ...operands, q: lent(q, queryPlaces), k: lent(k, keyPlaces) });
}

/** Of queries and of keys, pass by pass. */
function placesOf({ passes }: LayerAttention): [readonly TemporalPlace[], readonly TemporalPlace[]] {
  const positions = passes.map((pass) => pass.positions);
  return [positions.map(({ query }) => query), positions.map(({ key }) => key)];
}

interface PassesOperands extends Omit<KeyGroupOperands, "q" | "k"> {
  readonly q: Rotations;
  readonly k: Rotations;
}

/** Records attention pass by pass, and merges. */
function attendPasses(recorder: Recorder, operands: PassesOperands): AttentionResult {
  const { q, k, v, heads, ownValues, before } = operands;
  const { passes, strengths } = operands.layer;
  const use = passes.length === 1 && ownValues && !before ? "apply" : "skip";
  const perturbation = strengths && ({ strengths, use } as const);
  let total = before;
  passes.forEach(({ tiles }, index) => {
    const part = attention(recorder, { q: q.at(index), k: k.at(index), v, tiles, heads, perturbation });
    q.done(index);
    k.done(index);
    if (total === undefined) {
      total = part;
      return;
    }
    const isLast = index === passes.length - 1;
    const merged = attentionMerge(
      recorder,
      [total, part],
      isLast && strengths && ownValues ? { strengths, v: ownValues } : undefined,
    );
    for (const { out, lse } of [total, part]) for (const { buffer } of [out, lse]) recorder.release(buffer);
    total = merged;
  });
  if (total === undefined) throw new Error("Attention by plan needs at least one pass.");
  return total;
}

/** What passes need of q or k. */
interface Rotations {
  /** x as pass `index` needs it. */
  readonly at: (index: number) => Tensor;
  /** Pass `index` is recorded. */
  readonly done: (index: number) => void;
}

function lent(rows: RotatedRows, places: readonly TemporalPlace[]): Rotations {
  return {
    at(index) {
      const place = places[index];
      if (place === undefined) throw new Error(`There is no attention pass ${index}.`);
      return rows.at(place);
    },
    done: () => undefined,
  };
}

interface RotationOptions {
  readonly places: readonly TemporalPlace[];
  readonly rotate: PlannedAttentionOperands["rotate"];
}

/** Keeps every rotation of x from the first to the last pass that needs it, and x until no more are to be made. */
function rotations(recorder: Recorder, x: Tensor, { places, rotate }: RotationOptions): Rotations {
  const keys = places.map(placeKey);
  const missing = new Set(keys);
  const rotated = new Map<string, Tensor>();
  return {
    at(index) {
      const [place, key] = [places[index], keys[index]];
      if (place === undefined || key === undefined) throw new Error(`There is no attention pass ${index}.`);
      const known = rotated.get(key);
      if (known !== undefined) return known;
      const tensor = rotate(x, place);
      rotated.set(key, tensor);
      missing.delete(key);
      if (missing.size === 0) recorder.release(x.buffer);
      return tensor;
    },
    done(index) {
      const key = keys[index] ?? "";
      const tensor = rotated.get(key);
      if (tensor && !keys.includes(key, index + 1)) recorder.release(tensor.buffer);
    },
  };
}
