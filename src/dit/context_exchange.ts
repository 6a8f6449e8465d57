// How a clip of a video gets the keys and values of frames that others compute. The transformer knows this interface
// only; who the others are and how numbers reach them is src/parallel's business. One exchange serves one forward pass.

/** Keys, before rotary positions, and values of some frames, as they lie in GPU memory. */
export interface FrameKeys {
  /** Numbers in the video, ascending. */
  readonly frames: readonly number[];
  /** [frames * tokens of a frame, D]. */
  readonly k: Uint8Array;
  /** As k. */
  readonly v: Uint8Array;
}

/** The keys and values of one forward pass that go from clip to clip. */
export interface ContextExchange {
  /** Frames of this clip that others need in a layer, ascending. */
  sends(layer: number): readonly number[];
  /** Frames of other clips that this one needs in a layer, ascending. */
  needs(layer: number): readonly number[];
  /** Sends the frames of `sends` on; they are the callee's afterwards. Does not wait for receivers. */
  publish(layer: number, keys: FrameKeys): void;
  /**
   * Waits for all frames of `needs`; every part holds frames that follow each other in `needs`.
   *
   * @param computed resolves when everything that needs no remote keys is computed, for measuring what transfers cost
   */
  collect(layer: number, computed: Promise<void>): Promise<readonly FrameKeys[]>;
}
