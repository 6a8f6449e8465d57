// Rows of some frames of one layer on their way from clip to clip.

import type { PayloadType, RowsKind } from "./key_codec.ts";

/** Keys and values, queries or results of some frames. */
export interface RowsMessage {
  readonly type: "rows";
  readonly kind: RowsKind;
  /** Which division of the job it belongs to. */
  readonly epoch: number;
  readonly step: number;
  /** The forward pass of the step. */
  readonly pass: string;
  readonly layer: number;
  readonly frames: readonly number[];
  readonly payload: PayloadType;
  /** Keys, then values; queries; or results, then f32 log-sum-exps: as `encodeKeys` makes them. */
  readonly parts: readonly Uint8Array<ArrayBuffer>[];
  /** Milliseconds since 1970. */
  readonly sentAt: number;
}

/** Whose rows, of when: a letter's address. */
export function rowsAddress(
  { kind, step, pass, layer }: Pick<RowsMessage, "kind" | "step" | "pass" | "layer">,
  from: number,
): string {
  return `${kind} ${step} ${pass} ${layer} ${from}`;
}
