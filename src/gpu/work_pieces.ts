// Cuts a recording into pieces of about 100 ms: long enough to keep the GPU busy, short enough for the driver's
// watchdog and for Cancel. The speed is learnt from the pieces themselves.

import type { OnSpan } from "../util/span.ts";
import { wallClock } from "../util/wall_clock.ts";
import type { Gpu } from "./gpu.ts";
import type { Command } from "./command.ts";
import { MAX_DISPATCHES_PER_PIECE } from "./uniform_arena.ts";

const TARGET_MS = 100;
/** Cost of a launch, in the arithmetic that fits in the same time; keeps pieces of tiny kernels bounded. */
const LAUNCH_FLOPS = 100_000;

const timers = new WeakMap<Gpu, PieceTimer>();

/** Learns how much work fits into one piece on a device. */
export class PieceTimer {
  #flopsPerMs: number;
  /** When the last piece ended: one that was on the queue before has waited until then. */
  #lastEnd = -Infinity;
  readonly #onSpan: OnSpan | undefined;

  /** The device's timer. */
  static of(gpu: Gpu): PieceTimer {
    const known = timers.get(gpu) ?? new PieceTimer(gpu.capabilities.software ? 2e6 : 1e9, gpu.onSpan);
    timers.set(gpu, known);
    return known;
  }

  /** @param flopsPerMs first estimate of the device's speed. */
  constructor(flopsPerMs: number, onSpan?: OnSpan) {
    this.#flopsPerMs = flopsPerMs;
    this.#onSpan = onSpan;
  }

  /** Work for one piece, in floating-point operations. */
  get budgetFlops(): number {
    return this.#flopsPerMs * TARGET_MS;
  }

  /** Runs a piece and learns from its duration. */
  async measure(commands: readonly Command[], run: () => Promise<void>): Promise<void> {
    const submitted = wallClock();
    await run();
    const end = wallClock();
    const start = Math.max(submitted, this.#lastEnd);
    this.#lastEnd = end;
    this.learn(commandsFlops(commands), end - start);
    this.#onSpan?.({ name: "gpu", start, end });
  }

  /**
   * Learns from a piece of `flops` that took `milliseconds`. A small piece says more about latency than about speed, so
   * only one that filled most of the budget can raise the estimate, and only one that took too long can lower it.
   */
  learn(flops: number, milliseconds: number): void {
    const isFull = flops >= this.budgetFlops / 2;
    if (!isFull && milliseconds <= TARGET_MS) return;
    const ratio = flops / Math.max(milliseconds, 0.1) / this.#flopsPerMs;
    this.#flopsPerMs *= Math.min(isFull ? 2 : 1, Math.max(0.5, ratio));
  }
}

/** Index after the last command of the piece that begins at `start`: at least one command. */
export function nextPiece(commands: readonly Command[], start: number, budgetFlops: number): number {
  let flops = 0;
  let end = start;
  while (end < commands.length && end - start < MAX_DISPATCHES_PER_PIECE) {
    const command = commands[end];
    if (command === undefined) break;
    flops += commandFlops(command);
    if (end > start && flops > budgetFlops) break;
    end++;
  }
  return end;
}

/** Work of some commands, in floating-point operations. */
export function commandsFlops(commands: readonly Command[]): number {
  return commands.reduce((sum, command) => sum + commandFlops(command), 0);
}

function commandFlops(command: Command): number {
  return LAUNCH_FLOPS + (command.type === "dispatch" ? command.descriptor.flops : 0);
}
