// How a clip of a video attends to frames that others compute: their keys come here, or its queries go there. The
// transformer knows this interface only; who the others are and how numbers reach them is src/parallel's business. One
// exchange serves one forward pass.

import type { FrameRange } from "../attention/frame_range.ts";

/** Keys, before rotary positions, and values of some frames, as they lie in GPU memory. */
export interface FrameKeys {
  /** Numbers in the video, ascending. */
  readonly frames: readonly number[];
  /** [frames * tokens of a frame, D]. */
  readonly k: Uint8Array;
  /** As k. */
  readonly v: Uint8Array;
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
  /** [query frames * tokens of a frame, D], as it lies in GPU memory. */
  readonly out: Uint8Array;
  /** f32 [heads, query frames * tokens of a frame]. */
  readonly lse: Uint8Array;
}

/**
 * What one forward pass sends from clip to clip. Nobody waits in a circle: in every layer a clip sends all keys and queries
 * before it waits for anything, and answers its guests before it waits for keys or for its own queries' results.
 */
export interface ContextExchange {
  /** Frames of this clip whose keys others need in a layer, ascending. */
  sends(layer: number): readonly number[];
  /** Frames of other clips whose keys this one needs in a layer, ascending. */
  needs(layer: number): readonly number[];
  /** Own queries that go elsewhere in a layer; there they see what they would see of those frames. */
  visits(layer: number): readonly Visit[];
  /** Queries of others that come here in a layer. */
  guests(layer: number): readonly Visit[];
  /** Sends the frames of `sends` on; they are the callee's afterwards. Does not wait for receivers. */
  publish(layer: number, keys: FrameKeys): void;
  /** Sends the queries of a visit, before rotary positions, [rows, D]. */
  sendQueries(layer: number, visit: Visit, q: Uint8Array): void;
  /** Waits for the queries of all guests, in their order. */
  collectQueries(layer: number, computed: Promise<void>): Promise<readonly Uint8Array[]>;
  /** Sends a guest what its queries came to. */
  sendResult(layer: number, guest: Visit, result: VisitResult): void;
  /**
   * Waits for all frames of `needs`; every part holds frames that follow each other in `needs`.
   *
   * @param computed resolves when everything that can be done without is computed, for measuring what transfers cost
   */
  collect(layer: number, computed: Promise<void>): Promise<readonly FrameKeys[]>;
  /** Waits for what the own visits came to, in their order. */
  collectResults(layer: number, computed: Promise<void>): Promise<readonly VisitResult[]>;
}
