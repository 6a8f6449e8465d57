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
  #usedBytes = 0;
  #peakBytes = 0;
  #freeBytes = 0;

  /** @param capBytes most bytes the pool allocates before it throws `GpuOutOfMemoryError`. */
  constructor(device: GPUDevice, capBytes: number) {
    this.#device = device;
    this.#capBytes = capBytes;
  }

  /** A storage buffer of at least `bytes`; its contents are undefined. Give it back with `release`. */
  acquire(bytes: number, label: string): GPUBuffer {
    const size = sizeClass(bytes);
    const buffer = this.#free.get(size)?.pop() ?? this.#create(size, label);
    if (buffer.label !== label) buffer.label = label;
    this.#used.add(buffer);
    this.#usedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
    return buffer;
  }

  /** Takes a buffer back for reuse by commands recorded later. */
  release(buffer: GPUBuffer): void {
    if (!this.#used.delete(buffer))
      throw new Error(`Buffer "${buffer.label}" is not in use; it was released twice.`);
    this.#usedBytes -= buffer.size;
    this.#freeBytes += buffer.size;
    const list = this.#free.get(buffer.size) ?? [];
    list.push(buffer);
    this.#free.set(buffer.size, list);
  }

  /** Destroys the buffers that wait for reuse. Only safe when no submitted work can still use them. */
  trim(): void {
    for (const list of this.#free.values()) for (const buffer of list) buffer.destroy();
    this.#free.clear();
    this.#freeBytes = 0;
  }

  /** Destroys everything, in use or not. */
  dispose(): void {
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

  #create(size: number, label: string): GPUBuffer {
    if (this.#usedBytes + this.#freeBytes + size > this.#capBytes) this.trim();
    if (this.#usedBytes + size > this.#capBytes) {
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
    return this.#device.createBuffer({ label, size, usage: STORAGE_USAGE });
  }
}

/** Rounds up so that near-equal sizes share buffers: at most 1/8 is wasted. */
function sizeClass(bytes: number): number {
  const granule = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 3));
  return Math.ceil(Math.max(bytes, 1) / granule) * granule;
}

function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 1 : 0)} MiB`;
}
