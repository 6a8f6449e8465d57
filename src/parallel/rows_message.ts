// Rows of some frames of one layer on their way from clip to clip.

import type { DistantBytes } from "./distant_bytes.ts";
import type { PayloadType, RowsKind } from "./key_codec.ts";

/** Hidden states, keys and values, or results of some frames. */
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
  /** Hidden states; keys, then values; or results, then f32 log-sum-exps: as `encodeKeys` makes them. */
  readonly parts: readonly (Uint8Array<ArrayBuffer> | DistantBytes)[];
  /** Milliseconds since 1970. */
  readonly sentAt: number;
}

/** What is sent: never distant. */
export interface SentRows extends RowsMessage {
  readonly parts: readonly Uint8Array<ArrayBuffer>[];
}

/** Whose rows, of when: a letter's address. */
export function rowsAddress(
  { kind, step, pass, layer }: Pick<RowsMessage, "kind" | "step" | "pass" | "layer">,
  from: number,
): string {
  return `${kind} ${step} ${pass} ${layer} ${from}`;
}
