// The state of the whole video, step by step: put together from the clips' states, cut into clips again. What was kept
// last is where a job goes on when workers come or go.

import type { DenoiseState } from "../pipelines/denoise.ts";
import type { StateSlot } from "../schedulers/scheduler.ts";
import type { Partition } from "./exchange_plan.ts";
import { type LatentShape, putFrames, sliceFrames } from "./latent_frames.ts";

/** Latent-sized tensors by slot. */
export type Slots = ReadonlyMap<StateSlot, Float32Array<ArrayBuffer>>;

/** Keeps the last whole state and the clips of the step under way. */
export class StepKeeper {
  readonly #shape: LatentShape;
  readonly #clips = new Map<number, Slots>();
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

  /** Takes a clip's state after the step under way. Throws for tensors of another size. */
  put(partition: Partition, clip: number, slots: Slots): void {
    const { start, end } = partition[clip] ?? { start: 0, end: 0 };
    const [channels, , height, width] = this.#shape;
    const elements = channels * (end - start) * height * width;
    for (const [slot, { length }] of slots) {
      if (length !== elements) {
        throw new Error(`Clip ${clip} came with ${length} numbers of ${slot}, not ${elements}.`);
      }
    }
    if (!slots.has("sample")) throw new Error(`Clip ${clip} came without its sample.`);
    this.#clips.set(clip, slots);
  }

  /** Whether a clip's state is there. */
  has(clip: number): boolean {
    return this.#clips.has(clip);
  }

  /** Once all clips are there: makes them the whole state, one step further. */
  commit(partition: Partition): DenoiseState | undefined {
    if (partition.some((_, clip) => !this.#clips.has(clip))) return undefined;
    const slots = new Map<StateSlot, Float32Array>();
    const names = new Set([...this.#clips.values()].flatMap((each) => [...each.keys()]));
    for (const slot of names) {
      const whole = new Float32Array(this.#shape.reduce((product, size) => product * size, 1));
      for (const [clip, range] of partition.entries()) {
        const data = this.#clips.get(clip)?.get(slot);
        if (data === undefined) throw new Error(`Clip ${clip} came without ${slot}, which others have.`);
        putFrames(whole, this.#shape, { ...range, data });
      }
      slots.set(slot, whole);
    }
    this.#clips.clear();
    this.#state = { step: this.#state.step + 1, slots };
    return this.#state;
  }

  /** Forgets the clips of the step under way. */
  discard(): void {
    this.#clips.clear();
  }
}
