// Times every dispatch with timestamp queries and adds the times up by profile row (the dispatch's label).
// Costs one compute pass per dispatch, so it is off unless asked for.

const MAX_QUERIES = 4096;

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

/** A dispatch as the profiler sees it. */
export interface ProfiledDispatch {
  readonly label: string;
  readonly flops: number;
  readonly bytes: number;
}

/** Collects GPU times per label. */
export class Profiler {
  readonly #device: GPUDevice;
  readonly #querySet: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #rows = new Map<string, ProfileRow>();
  #pending: ProfiledDispatch[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
    this.#querySet = device.createQuerySet({ label: "profiler", type: "timestamp", count: MAX_QUERIES });
    this.#resolved = device.createBuffer({
      label: "profiler",
      size: MAX_QUERIES * 8,
      usage: 0x200 | 0x04, // QUERY_RESOLVE | COPY_SRC
    });
  }

  /** Dispatches that fit before `finish` must be called. */
  readonly capacity = MAX_QUERIES / 2;

  /** Timestamps for the next dispatch's pass. */
  passWrites(dispatch: ProfiledDispatch): GPUComputePassTimestampWrites {
    const index = this.#pending.push(dispatch) - 1;
    return {
      querySet: this.#querySet,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    };
  }

  /** Encodes the copy of the pending timestamps into a fresh mappable buffer; undefined when nothing is pending. */
  encodeResolve(encoder: GPUCommandEncoder): GPUBuffer | undefined {
    const count = 2 * this.#pending.length;
    if (count === 0) return undefined;
    const staging = this.#device.createBuffer({
      label: "profiler staging",
      size: count * 8,
      usage: 0x01 | 0x08,
    });
    encoder.resolveQuerySet(this.#querySet, 0, count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, staging, 0, count * 8);
    return staging;
  }

  /** Adds the times of the dispatches since the last call. @param ticks begin and end of each, in nanoseconds. */
  add(ticks: BigUint64Array): void {
    this.#pending.forEach(({ label, flops, bytes }, index) => {
      const row = this.#rows.get(label) ?? { label, count: 0, nanoseconds: 0, flops: 0, bytes: 0 };
      row.count += 1;
      row.nanoseconds += Number((ticks[2 * index + 1] ?? 0n) - (ticks[2 * index] ?? 0n));
      row.flops += flops;
      row.bytes += bytes;
      this.#rows.set(label, row);
    });
    this.#pending = [];
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
