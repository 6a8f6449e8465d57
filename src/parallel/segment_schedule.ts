// Which segment a worker makes next. A decoder that goes on where it ended saves filling its memories, so workers go on;
// who cannot begins in the middle of the longest stretch that is left.

/** The segments of a video that nobody makes yet. */
export class SegmentSchedule {
  readonly #free: Set<number>;

  constructor(count: number) {
    this.#free = new Set(Array.from({ length: count }, (_, index) => index));
  }

  /** Segments that nobody makes. */
  get free(): number {
    return this.#free.size;
  }

  /**
   * Gives out a segment; undefined when none is left.
   *
   * @param after the one that the worker has got before
   * @param others the ones that others got last, and will go on from
   */
  take(after: number | undefined, others: readonly number[]): number | undefined {
    const next = after === undefined ? undefined : after + 1;
    const chosen = next !== undefined && this.#free.has(next) ? next : this.#begin(others);
    if (chosen !== undefined) this.#free.delete(chosen);
    return chosen;
  }

  /** Takes a segment back that was not made. */
  giveBack(index: number): void {
    this.#free.add(index);
  }

  #begin(others: readonly number[]): number | undefined {
    let longest: { start: number; length: number } | undefined;
    for (const start of this.#free) {
      if (this.#free.has(start - 1)) continue;
      let length = 1;
      while (this.#free.has(start + length)) length++;
      if (longest === undefined || length > longest.length) longest = { start, length };
    }
    if (longest === undefined) return undefined;
    const { start, length } = longest;
    return others.includes(start - 1) ? start + Math.floor(length / 2) : start;
  }
}
