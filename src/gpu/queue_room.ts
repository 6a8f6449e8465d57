// How much of a device's work is on its queue.

import type { Gpu } from "./gpu.ts";

/** Pieces that may be there: one is computed, one waits behind it. A third made clips on two H200 no faster. */
const MAX_PIECES = 2;

const rooms = new WeakMap<Gpu, QueueRoom>();

/** Counts the pieces on a device's queue. */
export class QueueRoom {
  readonly #pieces = new Set<Promise<void>>();

  /** The device's. */
  static of(gpu: Gpu): QueueRoom {
    const known = rooms.get(gpu) ?? new QueueRoom();
    rooms.set(gpu, known);
    return known;
  }

  /** Whether one more piece may be handed over. */
  get isFree(): boolean {
    return this.#pieces.size < MAX_PIECES;
  }

  /** Waits until one more piece may be handed over. */
  async free(): Promise<void> {
    while (!this.isFree) await Promise.race(this.#pieces);
  }

  /** Counts a piece until it is computed, or fails. */
  take(computed: Promise<void>): void {
    const leave = (): void => void this.#pieces.delete(piece);
    const piece = computed.then(leave, leave);
    this.#pieces.add(piece);
  }
}
