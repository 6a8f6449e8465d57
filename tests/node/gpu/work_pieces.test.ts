import { describe, expect, test } from "vitest";
import type { Command } from "../../../src/gpu/command.ts";
import { MAX_DISPATCHES_PER_PIECE } from "../../../src/gpu/uniform_arena.ts";
import { nextPiece, PieceTimer } from "../../../src/gpu/work_pieces.ts";

/** Only the flops of a command matter here. */
const work = (...flops: number[]): Command[] =>
  flops.map((count) => ({ type: "dispatch", descriptor: { flops: count } }) as Command);

/** A speed of 1 GFLOP/s: 100 ms are 1e8 operations. */
const timer = (): PieceTimer => new PieceTimer(1e6);

describe("nextPiece", () => {
  test("fills a piece up to its budget", () => {
    const commands = work(4e6, 4e6, 4e6, 4e6);
    expect(nextPiece(commands, 0, 1e7)).toBe(2);
    expect(nextPiece(commands, 2, 1e7)).toBe(4);
    expect(nextPiece(commands, 0, 1e9)).toBe(4);
  });

  test("always takes one command", () => {
    expect(nextPiece(work(1e12, 1e12), 0, 1)).toBe(1);
    expect(nextPiece(work(1e12, 1e12), 1, 1)).toBe(2);
  });

  test("counts a launch as work, so that tiny kernels do not pile up", () => {
    expect(nextPiece(work(...Array<number>(500).fill(0)), 0, 1e7)).toBe(100);
  });

  test("stays within what one submission's parameters can hold", () => {
    const commands = work(...Array<number>(MAX_DISPATCHES_PER_PIECE + 5).fill(0));
    expect(nextPiece(commands, 0, Infinity)).toBe(MAX_DISPATCHES_PER_PIECE);
  });
});

describe("PieceTimer", () => {
  test("learns the speed from full pieces, at most twofold at a time", () => {
    const learner = timer();
    learner.learn(1e8, 80);
    expect(learner.budgetFlops).toBeCloseTo(1.25e8, -3);
    learner.learn(1.25e8, 1);
    expect(learner.budgetFlops).toBeCloseTo(2.5e8, -3);
    learner.learn(2.5e8, 150);
    expect(learner.budgetFlops).toBeCloseTo((2.5e8 * 2) / 3, -3);
    learner.learn(1e8, 1e9);
    expect(learner.budgetFlops).toBeCloseTo(2.5e8 / 3, -3);
  });

  test("learns nothing from pieces that are small and quick, however many", () => {
    const learner = timer();
    for (let i = 0; i < 1000; i++) {
      learner.learn(1e5, 0.2);
      learner.learn(1e5, 60);
    }
    expect(learner.budgetFlops).toBe(1e8);
  });

  test("becomes careful when even a small piece takes too long", () => {
    const learner = timer();
    learner.learn(1e7, 400);
    expect(learner.budgetFlops).toBe(5e7);
  });

  test("finds its way back from a wrong guess", () => {
    const learner = new PieceTimer(1);
    for (let i = 0; i < 40; i++) learner.learn(learner.budgetFlops, learner.budgetFlops / 1e9);
    expect(learner.budgetFlops).toBeCloseTo(1e11, -9);
  });

  test("times what it runs", async () => {
    const learner = timer();
    const before = learner.budgetFlops;
    await learner.measure(work(9e7), async () => undefined);
    expect(learner.budgetFlops).toBeCloseTo(2 * before, -3);
  });
});
