// A long recording in segments: each is submitted while the next is made, with pauses in between to wait for others'
// numbers. Tensors that live across a cut are named there.

import type { Gpu } from "../gpu/gpu.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Segments of one computation. Ends with `finish`, or with `discard` when something failed. */
export class Segments {
  readonly #gpu: Gpu;
  readonly #label: string;
  readonly #signal: AbortSignal | undefined;
  readonly #pending: Promise<unknown>[] = [];
  readonly #failed: Promise<never>;
  #fail: (reason: unknown) => void = () => undefined;
  #recorder: Recorder;

  constructor(gpu: Gpu, label: string, signal: AbortSignal | undefined) {
    this.#gpu = gpu;
    this.#label = label;
    this.#signal = signal;
    this.#recorder = new Recorder(gpu, label);
    this.#failed = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => undefined);
  }

  /** The segment that is being recorded; another one after every cut. */
  get recorder(): Recorder {
    return this.#recorder;
  }

  /**
   * Submits the segment and begins the next one.
   *
   * @param alive temporaries of this segment that the next one uses
   * @returns resolves when the segment and all before it are computed
   */
  cut(alive: readonly Tensor[]): Promise<void> {
    const before = this.#recorder;
    const buffers = new Set(alive.map(({ buffer }) => buffer));
    for (const buffer of buffers) before.keep(buffer);
    const submitted = before.submit({ signal: this.#signal });
    this.#recorder = new Recorder(this.#gpu, this.#label);
    for (const buffer of buffers) this.#recorder.adopt(buffer);
    return this.track(submitted);
  }

  /** Lets `finish` wait for something, and fail with it. */
  track<T>(work: Promise<T>): Promise<T> {
    work.catch((reason: unknown) => this.#fail(reason));
    this.#pending.push(work);
    return work;
  }

  /** Waits for others, but no longer than everything tracked goes well. */
  async whileRunning<T>(wait: Promise<T>): Promise<T> {
    return await Promise.race([wait, this.#failed]);
  }

  /** Submits the last segment and waits for everything tracked. */
  async finish(): Promise<void> {
    await this.cut([]);
    await Promise.all(this.#pending);
  }

  /** Gives up the segment that is being recorded. */
  discard(): void {
    this.#recorder.discard();
  }
}
