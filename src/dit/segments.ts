// A long recording in segments: each is submitted while the next is made. A segment may wait for others' numbers, and what
// comes behind them is recorded meanwhile. Tensors that live across a cut are named there.

import type { BufferRange } from "../gpu/command.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { recordRead } from "../gpu/readback.ts";
import { Recorder } from "../gpu/recorder.ts";
import { recordUpload } from "../gpu/upload.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { nextTask } from "../util/next_task.ts";

/** Segments of one computation. Ends with `finish`, or with `discard` when something failed. */
export class Segments {
  readonly #gpu: Gpu;
  readonly #label: string;
  readonly #signal: AbortSignal | undefined;
  readonly #pending: Promise<unknown>[] = [];
  readonly #failed: Promise<never>;
  #fail: (reason: unknown) => void = () => undefined;
  #recorder: Recorder;
  /** What the segment under way waits for, and what earlier ones did. */
  #ready: Promise<unknown>[] = [];
  #earlier: Promise<unknown>[] = [];

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
    const waits = this.#ready;
    const ready = waits.length > 0 ? Promise.all(waits) : undefined;
    ready?.catch(() => undefined); // a recording that is given up before does not wait for it
    const submitted = before.enqueue({ signal: this.#signal, ready });
    this.#recorder = new Recorder(this.#gpu, this.#label);
    for (const buffer of buffers) this.#recorder.adopt(buffer);
    this.#earlier.push(...waits);
    this.#ready = [];
    return this.track(submitted);
  }

  /** Records an upload (`recordUpload`) that the segment waits for. */
  upload(
    targets: readonly (BufferRange & { readonly size: number })[],
    fill: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
  ): void {
    this.#ready.push(this.track(recordUpload(this.#recorder, targets, fill)));
  }

  /** Records a read (`recordRead`) and gives what was read to `use`, whose memory it is until it resolves. */
  read(
    ranges: readonly (BufferRange & { readonly size: number })[],
    use: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>,
  ): void {
    const used = recordRead(this.#recorder, ranges).then(async ({ bytes, release }) => {
      await use(bytes).finally(release);
    });
    void this.track(used);
  }

  /**
   * Waits until all that earlier segments waited for has come: so recording is one exchange ahead, and memory is bounded.
   * No longer than everything tracked goes well. Recording keeps this thread for milliseconds, so parcels have their turn first.
   */
  async caughtUp(): Promise<void> {
    await Promise.race([Promise.all(this.#earlier.splice(0)), this.#failed]);
    await nextTask();
  }

  /** Lets `finish` wait for something, and fail with it. */
  track<T>(work: Promise<T>): Promise<T> {
    work.catch((reason: unknown) => this.#fail(reason));
    this.#pending.push(work);
    return work;
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
