// Times every dispatch and every copy with timestamp queries and adds the times up by profile row (the dispatch's label).
// Costs one compute pass per dispatch and two per copy, so it is off unless asked for.

import { MAX_DISPATCHES_PER_PIECE } from "./uniform_arena.ts";

const MAX_QUERIES = 2 * MAX_DISPATCHES_PER_PIECE;

/** One row of a profile. */
export interface ProfileRow {
  readonly label: string;
  count: number;
  /** GPU time in nanoseconds, all dispatches together. */
  nanoseconds: number;
  /** What the ops said they would do: floating-point operations and bytes of memory traffic. */
  flops: number;
  bytes: number;
}

/** A dispatch, or a copy, as the profiler sees it. */
export interface ProfiledDispatch {
  readonly label: string;
  readonly flops: number;
  readonly bytes: number;
}

/** Timestamps of one submission on their way to the CPU. */
export interface PendingTimes {
  /** Mappable; begin and end of every dispatch as u64 nanoseconds. */
  readonly staging: GPUBuffer;
  readonly dispatches: readonly ProfiledDispatch[];
}

/** Sees every submission's dispatches and their begins and ends, in nanoseconds of the GPU's own clock. */
export type TimesListener = (dispatches: readonly ProfiledDispatch[], ticks: BigUint64Array) => void;

/** Collects GPU times per label. */
export class Profiler {
  readonly #device: GPUDevice;
  readonly #querySet: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #rows = new Map<string, ProfileRow>();
  readonly #listeners: TimesListener[] = [];
  #encoded: ProfiledDispatch[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#querySet = device.createQuerySet({ label: "profiler", type: "timestamp", count: MAX_QUERIES });
    this.#resolved = device.createBuffer({
      label: "profiler",
      size: MAX_QUERIES * 8,
      usage: 0x200 | 0x04, // QUERY_RESOLVE | COPY_SRC
    });
  }

  /** Timestamps for the next dispatch's pass, or around a copy. */
  passWrites(dispatch: ProfiledDispatch): Required<GPUComputePassTimestampWrites> {
    const index = this.#encoded.push(dispatch) - 1;
    return {
      querySet: this.#querySet,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    };
  }

  /**
   * Ends a submission: encodes the copy of its timestamps into a fresh mappable buffer. The queries are free again,
   * as the queue runs this copy before the next submission's writes. Undefined when no dispatch was encoded.
   */
  encodeResolve(encoder: GPUCommandEncoder): PendingTimes | undefined {
    const dispatches = this.#encoded;
    this.#encoded = [];
    if (dispatches.length === 0) return undefined;
    const count = 2 * dispatches.length;
    const staging = this.#device.createBuffer({
      label: "profiler staging",
      size: count * 8,
      usage: 0x01 | 0x08, // MAP_READ | COPY_DST
    });
    encoder.resolveQuerySet(this.#querySet, 0, count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, count * 8);
    return { staging, dispatches };
  }

  /** Adds a submission's times to the rows. @param ticks what was read from its staging buffer. */
  add({ dispatches }: PendingTimes, ticks: BigUint64Array): void {
    dispatches.forEach(({ label, flops, bytes }, index) => {
      const row = this.#rows.get(label) ?? { label, count: 0, nanoseconds: 0, flops: 0, bytes: 0 };
      row.count += 1;
      row.nanoseconds += Number((ticks[2 * index + 1] ?? 0n) - (ticks[2 * index] ?? 0n));
      row.flops += flops;
      row.bytes += bytes;
      this.#rows.set(label, row);
    });
    for (const listener of this.#listeners) listener(dispatches, ticks);
  }

  /** Tells `listener` of all submissions from now on. */
  listen(listener: TimesListener): void {
    this.#listeners.push(listener);
  }

  /** All rows so far, slowest first. */
  get rows(): ProfileRow[] {
    return [...this.#rows.values()].toSorted((a, b) => b.nanoseconds - a.nanoseconds);
  }

  /** Forgets all rows. */
  reset(): void {
    this.#rows.clear();
  }
}
