// Hidden states of a clip between two blocks: in the parts that one block left, to be put in the order of the next.

import type { Recorder } from "../gpu/recorder.ts";
import { copyRows } from "../ops/copy_rows.ts";
import { type Tensor, temporaryTensor } from "../tensor/tensor.ts";
import { gathered } from "./frame_rows.ts";

/** f32 [tokens of some frames, D], one frame behind the other. */
export interface HiddenPart {
  readonly frames: readonly number[];
  readonly tensor: Tensor;
}

/** Hidden states in another order. */
export interface OrderedFrames {
  readonly frames: readonly number[];
  readonly tokensPerFrame: number;
}

/** The hidden states of all frames in one tensor, in the order given; takes the parts over. */
export function inOrder(recorder: Recorder, parts: readonly HiddenPart[], order: OrderedFrames): Tensor {
  const [only, ...others] = parts;
  if (only && others.length === 0 && only.frames.join() === order.frames.join()) return only.tensor;
  const whole = copyInOrder(recorder, parts, order);
  for (const { tensor } of parts) recorder.release(tensor.buffer);
  return whole;
}

/** Records a copy of the hidden states of all frames in one tensor. */
export function copyInOrder(
  recorder: Recorder,
  parts: readonly HiddenPart[],
  { frames, tokensPerFrame }: OrderedFrames,
): Tensor {
  const [columns = 0] = parts.map(({ tensor }) => tensor.shape[1] ?? 0);
  const shape = [frames.length * tokensPerFrame, columns];
  const out = temporaryTensor(recorder, { label: "hidden_states", dtype: "f32", shape });
  for (const part of parts) {
    const places = part.frames.map((frame) => frames.indexOf(frame));
    const runs = gathered({ places, tokensPerFrame });
    copyRows(
      recorder,
      part.tensor,
      out,
      runs.map(({ row, gatheredRow, count }) => ({ from: gatheredRow, to: row, count })),
    );
  }
  return out;
}
