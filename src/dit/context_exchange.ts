// How a clip of a video attends to frames that others compute: what keys are made of comes here, or its own queries are
// answered there. The transformer knows this interface only; who the others are and how numbers reach them is
// src/parallel's business. One exchange serves one forward pass.

import type { FrameRange } from "../attention/frame_range.ts";

/**
 * What travels of a frame. "hidden_states": self-attention's normalised input, of which the receiver makes keys, values and
 * queries. "keys": keys, before rotary positions, and values; twice as many bytes.
 */
export type FrameRowsKind = "hidden_states" | "keys";

/** Rows of some frames, as `ContextExchange.int8Group` says. */
export interface FrameRows {
  /** Numbers in the video, ascending. */
  readonly frames: readonly number[];
  /** [frames * tokens of a frame, D] each, frame by frame: hidden states; or keys, then values. */
  readonly parts: readonly Uint8Array[];
}

/** Queries of some frames of one clip that attend to the frames of another one there. */
export interface Visit {
  /** The other clip: the one that keeps the keys for those who send queries, and the other way round. */
  readonly clip: number;
  /** Query frames, ascending. */
  readonly queries: readonly number[];
  /** All frames of the clip that keeps the keys. */
  readonly keys: FrameRange;
}

/** What a visit brings home. */
export interface VisitResult {
  /** [query frames * tokens of a frame, D], as `ContextExchange.int8Group` says. */
  readonly out: Uint8Array;
  /** f32 [heads, query frames * tokens of a frame]. */
  readonly lse: Uint8Array;
}

/**
 * What one forward pass sends from clip to clip. Nobody waits in a circle: in every layer a clip sends all rows before it
 * waits for anything, and answers its guests before it waits for its own queries' results.
 */
export interface ContextExchange {
  /** Visits take hidden states. */
  readonly rows: FrameRowsKind;
  /**
   * Undefined: rows are given and wanted in the transformer's own element type. Else as int8 (int8_frames.ts), and so many
   * neighbours in a row share a scale.
   */
  readonly int8Group: number | undefined;
  /** Frames of this clip whose rows others need in a layer, ascending. */
  sends(layer: number): readonly number[];
  /** Frames of other clips whose rows come here in a layer, ascending. */
  needs(layer: number): readonly number[];
  /** Those of `needs` whose keys the own queries attend to here. */
  keys(layer: number): readonly number[];
  /** Own queries that are answered elsewhere in a layer; there they see what they would see of those frames. */
  visits(layer: number): readonly Visit[];
  /** Queries of others that are answered here in a layer; their frames are among `needs`. */
  guests(layer: number): readonly Visit[];
  /** Sends the frames of `sends` on. Does not wait for receivers; resolves when the memory may be used again. */
  publish(layer: number, rows: FrameRows): Promise<void>;
  /** Sends a guest what its queries came to; as `publish`. */
  sendResult(layer: number, guest: Visit, result: VisitResult): Promise<void>;
  /**
   * Waits for all frames of `needs`.
   *
   * @param into filled: as `FrameRows.parts`, all frames one after the other
   * @param computed resolves when everything that can be done without is computed, for measuring what transfers cost
   */
  collect(layer: number, into: readonly Uint8Array[], computed: Promise<void>): Promise<void>;
  /** Waits for what the own visits came to; fills `into`, in the order of the visits. */
  collectResults(layer: number, into: readonly VisitResult[], computed: Promise<void>): Promise<void>;
}
