// Forward passes of a step that others compute: for guidance whose passes run on several workers. The loop knows this
// interface only; who the others are is src/parallel's business.

import type { ForwardPass } from "../guiders/guider.ts";

/** A pass of a step. */
export interface SharedPass {
  readonly step: number;
  readonly pass: ForwardPass;
}

/** Which passes are computed here, and how predictions come and go; f32 [channels, T, h, w] of the own frames. */
export interface PassSharing {
  /** Whether it is computed here. */
  isOwn(pass: ForwardPass): boolean;
  /** Sends the prediction of an own pass on; does not wait for receivers. */
  publish(pass: SharedPass, prediction: Float32Array): void;
  /** Waits for the prediction of a pass of others. */
  collect(pass: SharedPass): Promise<Float32Array>;
}
