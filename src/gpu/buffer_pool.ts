// Every GPU buffer of a device is made here, so that memory is counted once and held under one stated cap.
// Temporaries are recycled: commands run in the order they are recorded, so a buffer released while recording may
// be handed out again at once.

import { GpuOutOfMemoryError } from "../errors.ts";

const STORAGE_USAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST; Node has no flag constants before a device exists.

/** What the pool holds, in bytes. */
export interface MemoryUse {
  /** Buffers in use now. */
  readonly usedBytes: number;
  /** The most that was ever in use. */
  readonly peakBytes: number;
  /** In use or kept for reuse. */
  readonly allocatedBytes: number;
  readonly capBytes: number;
}

/** Creates, recycles and counts a device's storage buffers. */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #capBytes: number;
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #used = new Set<GPUBuffer>();
  readonly #holds = new Map<GPUBuffer, number>();
  readonly #invalid = new WeakSet<GPUBuffer>();
  #checks: Promise<void>[] = [];
  #failure: GpuOutOfMemoryError | undefined;
  #isDisposed = false;
  #usedBytes = 0;
  #peakBytes = 0;
  #freeBytes = 0;

  /** @param capBytes most bytes the pool allocates before it throws `GpuOutOfMemoryError`. */
  constructor(device: GPUDevice, capBytes: number) {
    this.#device = device;
    this.#capBytes = capBytes;
  }

  /**
   * A storage buffer of at least `bytes`; its contents are undefined. Give it back with `release`. One that the CPU is
   * to write at once must be `idle`: the queue runs that write before all commands that are recorded by then, and some
   * of those may still use a recycled buffer.
   */
  acquire(bytes: number, label: string, { idle = false }: { idle?: boolean } = {}): GPUBuffer {
    const size = sizeClass(bytes, this.#device.limits.maxBufferSize);
    const recycled = this.#recycle(size, idle);
    if (recycled !== undefined) this.#freeBytes -= size;
    const buffer = recycled ?? this.#create(size, label);
    if (buffer.label !== label) buffer.label = label;
    this.#used.add(buffer);
    this.#usedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
    return buffer;
  }

  /** Takes a buffer back for reuse by commands recorded later. After `dispose`, which took all, it does nothing. */
  release(buffer: GPUBuffer): void {
    if (this.#isDisposed) return;
    if (!this.#used.delete(buffer))
      throw new Error(`Buffer "${buffer.label}" is not in use; it was released twice.`);
    this.#usedBytes -= buffer.size;
    if (this.#invalid.has(buffer)) return;
    this.#freeBytes += buffer.size;
    const list = this.#free.get(buffer.size) ?? [];
    list.push(buffer);
    this.#free.set(buffer.size, list);
  }

  /** Says that commands not yet executed name the buffer: it may be recycled, but `trim` must not destroy it. */
  hold(buffer: GPUBuffer): void {
    this.#holds.set(buffer, (this.#holds.get(buffer) ?? 0) + 1);
  }

  /** Takes one `hold` back. */
  unhold(buffer: GPUBuffer): void {
    const holds = (this.#holds.get(buffer) ?? 0) - 1;
    if (holds > 0) this.#holds.set(buffer, holds);
    else this.#holds.delete(buffer);
  }

  /** Destroys the buffers that wait for reuse, except those that recorded commands still name. */
  trim(): void {
    for (const [size, list] of this.#free) {
      const kept = list.filter((buffer) => this.#holds.has(buffer));
      for (const buffer of list) if (!this.#holds.has(buffer)) buffer.destroy();
      this.#freeBytes -= (list.length - kept.length) * size;
      this.#free.set(size, kept);
    }
  }

  /** Waits until the device has said whether all buffers exist; throws `GpuOutOfMemoryError` when one does not. */
  async ready(): Promise<void> {
    await Promise.all(this.#checks.splice(0));
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Destroys everything, in use or not. */
  dispose(): void {
    this.#isDisposed = true;
    this.#holds.clear();
    this.trim();
    for (const buffer of this.#used) buffer.destroy();
    this.#used.clear();
    this.#usedBytes = 0;
  }

  /** Starts a new peak measurement. */
  resetPeak(): void {
    this.#peakBytes = this.#usedBytes;
  }

  get use(): MemoryUse {
    return {
      usedBytes: this.#usedBytes,
      peakBytes: this.#peakBytes,
      allocatedBytes: this.#usedBytes + this.#freeBytes,
      capBytes: this.#capBytes,
    };
  }

  #recycle(size: number, idle: boolean): GPUBuffer | undefined {
    const free = this.#free.get(size) ?? [];
    if (!idle) return free.pop();
    const at = free.findLastIndex((buffer) => !this.#holds.has(buffer));
    return at < 0 ? undefined : free.splice(at, 1)[0];
  }

  #create(size: number, label: string): GPUBuffer {
    if (this.#usedBytes + this.#freeBytes + size > this.#capBytes) this.trim();
    if (this.#usedBytes + this.#freeBytes + size > this.#capBytes) {
      throw new GpuOutOfMemoryError(
        `${label} needs ${megabytes(size)} more, but ${megabytes(this.#usedBytes)} of the ${megabytes(this.#capBytes)} ` +
          "this adapter may use are taken; render fewer frames or a smaller size.",
      );
    }
    if (size > this.#device.limits.maxBufferSize) {
      throw new GpuOutOfMemoryError(
        `${label} needs a buffer of ${megabytes(size)}, but this adapter's largest is ` +
          `${megabytes(this.#device.limits.maxBufferSize)}; render fewer frames or a smaller size.`,
      );
    }
    // The device answers later; `ready` passes it on.
    this.#device.pushErrorScope("out-of-memory");
    const buffer = this.#device.createBuffer({ label, size, usage: STORAGE_USAGE });
    this.#checks.push(this.#device.popErrorScope().then((error) => this.#check(buffer, error)));
    return buffer;
  }

  #check(buffer: GPUBuffer, error: GPUError | null): void {
    if (error === null) return;
    this.#invalid.add(buffer);
    this.#failure ??= new GpuOutOfMemoryError(
      `The adapter has no ${megabytes(buffer.size)} left for ${buffer.label}, with ${megabytes(this.#usedBytes)} in use; ` +
        "render fewer frames or a smaller size, or close other programs that use the GPU.",
    );
  }
}

/** Rounds up so that near-equal sizes share buffers: at most 1/8 is wasted, and nothing is pushed over the limit. */
function sizeClass(bytes: number, maxBytes: number): number {
  const granule = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 3));
  const size = Math.ceil(Math.max(bytes, 1) / granule) * granule;
  return size > maxBytes ? Math.ceil(bytes / 256) * 256 : size;
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 1 : 0)} MiB`;
}
