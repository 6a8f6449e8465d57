// Queries or keys with rotary positions, made once for every temporal place and kept for several attentions.

import type { RotatedRows } from "../attention/planned_attention.ts";
import { placeKey, type TemporalPlace } from "../attention/positions.ts";
import type { Recorder } from "../gpu/recorder.ts";
import { sliceRows, type Tensor } from "../tensor/tensor.ts";

/** Rotations of x [tokens, D]. */
export class KeptRotations implements RotatedRows {
  readonly #x: Tensor;
  readonly #rotate: (x: Tensor, place: TemporalPlace) => Tensor;
  readonly #rotated = new Map<string, Tensor>();

  /** @param rotate records the rotation of x into a new tensor */
  constructor(x: Tensor, rotate: (x: Tensor, place: TemporalPlace) => Tensor) {
    this.#x = x;
    this.#rotate = rotate;
  }

  /** All that has to live as long as they are used. */
  get tensors(): readonly Tensor[] {
    return [this.#x, ...this.#rotated.values()];
  }

  /** x rotated for a place. */
  at(place: TemporalPlace): Tensor {
    const rotated = this.#rotated.get(placeKey(place)) ?? this.#rotate(this.#x, place);
    this.#rotated.set(placeKey(place), rotated);
    return rotated;
  }

  /** Some rows of them. */
  rows({ start, end }: { readonly start: number; readonly end: number }): RotatedRows {
    return { at: (place) => sliceRows(this.at(place), start, end) };
  }

  /** Gives back x and its rotations. */
  release(recorder: Recorder): void {
    for (const { buffer } of this.tensors) recorder.release(buffer);
  }
}
