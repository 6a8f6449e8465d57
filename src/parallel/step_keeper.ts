// The state of the whole video, step by step: put together from the states of the first lane's parts, cut into clips
// again. What was kept last is where a job goes on when workers come or go.

import type { DenoiseState } from "../pipelines/denoise.ts";
import type { StateSlot } from "../schedulers/scheduler.ts";
import { type Division, placesOf } from "./division.ts";
import { type LatentShape, putFrames, sliceFrames } from "./latent_frames.ts";

/** Latent-sized tensors by slot. */
export type Slots = ReadonlyMap<StateSlot, Float32Array<ArrayBuffer>>;

/** Keeps the last whole state and the parts of the step under way. */
export class StepKeeper {
  readonly #shape: LatentShape;
  readonly #parts = new Map<number, Slots>();
  #state: DenoiseState;

  /** @param shape of the whole video */
  constructor(shape: LatentShape, start: DenoiseState) {
    this.#shape = shape;
    this.#state = start;
  }

  /** After the last step that all clips have taken. */
  get state(): DenoiseState {
    return this.#state;
  }

  /** A clip's part of the state. */
  cut({
    start,
    end,
  }: {
    readonly start: number;
    readonly end: number;
  }): Map<StateSlot, Float32Array<ArrayBuffer>> {
    return new Map(
      [...this.#state.slots].map(([slot, data]) => [slot, sliceFrames(data, this.#shape, { start, end })]),
    );
  }

  /**
   * Takes a part's state after the step under way; of lanes but the first only that they have taken it. Throws for
   * tensors of another size.
   */
  put(division: Division, part: number, slots: Slots): void {
    const { lane = 0, clip = 0 } = placesOf(division)[part] ?? {};
    const { start, end } = division[lane]?.clips[clip] ?? { start: 0, end: 0 };
    const [channels, , height, width] = this.#shape;
    const elements = channels * (end - start) * height * width;
    for (const [slot, { length }] of slots) {
      if (length !== elements) {
        throw new Error(`Clip ${clip} came with ${length} numbers of ${slot}, not ${elements}.`);
      }
    }
    if (lane === 0 && !slots.has("sample")) throw new Error(`Clip ${clip} came without its sample.`);
    this.#parts.set(part, slots);
  }

  /** Whether a part's step is taken. */
  has(part: number): boolean {
    return this.#parts.has(part);
  }

  /** Once all parts are there: makes the first lane's the whole state, one step further. */
  commit(division: Division): DenoiseState | undefined {
    if (placesOf(division).some((_, part) => !this.#parts.has(part))) return undefined;
    const clips = division[0]?.clips ?? [];
    const slots = new Map<StateSlot, Float32Array>();
    const names = new Set(clips.flatMap((_, clip) => [...(this.#parts.get(clip)?.keys() ?? [])]));
    for (const slot of names) {
      const whole = new Float32Array(this.#shape.reduce((product, size) => product * size, 1));
      for (const [clip, range] of clips.entries()) {
        const data = this.#parts.get(clip)?.get(slot);
        if (data === undefined) throw new Error(`Clip ${clip} came without ${slot}, which others have.`);
        putFrames(whole, this.#shape, { ...range, data });
      }
      slots.set(slot, whole);
    }
    this.#parts.clear();
    this.#state = { step: this.#state.step + 1, slots };
    return this.#state;
  }

  /** Forgets the parts of the step under way. */
  discard(): void {
    this.#parts.clear();
  }
}
