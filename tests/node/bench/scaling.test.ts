// Scaling on paper: what it is made of, and what it comes to where that is known.
import { describe, expect, test } from "vitest";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { cardSpeed, scaling, type ScalingInputs } from "../../bench/clips/scaling.ts";
import { WAN_1_3B } from "../../bench/random_checkpoint.ts";

const FREE: ScalingInputs = {
  config: { ...WAN_1_3B, num_layers: 2 },
  numFrames: 24,
  tokensPerFrame: 1560,
  speed: { perFrame: 0.02, perPair: 0.002 },
  linkGbs: Infinity,
  latencyMs: 0,
  copyGbs: Infinity,
  teraflops: Infinity,
};
const FRAME_BYTES = 1560 * 1536 * 2;

test("a card's speed goes through both measurements", () => {
  const { perFrame, perPair } = cardSpeed({ pairs: 441, seconds: 1.4 }, { pairs: 200, seconds: 0.9 }, 21);
  expect(21 * perFrame + 441 * perPair).toBeCloseTo(1.4);
  expect(21 * perFrame + 200 * perPair).toBeCloseTo(0.9);
});

describe("scaling", () => {
  test("where nothing costs anything full attention is divided evenly", () => {
    for (const workers of [1, 2, 4, 8]) {
      const row = scaling(full(), workers, FREE);
      expect(row.speedup).toBeCloseTo(workers);
      expect(row.overhead).toBeCloseTo(0);
      expect(row.megabytesALayer).toBeCloseTo((workers === 1 ? 0 : 24 - 24 / workers) * (FRAME_BYTES / 1e6));
    }
  });

  test("int8 takes half of it, and a scale of four bytes for every 128 numbers", () => {
    const { megabytesALayer } = scaling(full(), 2, { ...FREE, payload: "int8" });
    expect(megabytesALayer).toBeCloseTo((12 * FRAME_BYTES * (1 / 2 + 4 / 256)) / 1e6);
  });

  test("a slow link shows as far as nothing hides it", () => {
    const slow = scaling(full(), 2, { ...FREE, linkGbs: 1, latencyMs: 2 });
    expect(slow.transferMs).toBeCloseTo(2 + (12 * FRAME_BYTES) / 1e6);
    const own = (1000 * (12 * 12 * 0.002)) / 2;
    const projections = (1000 * 12 * 0.02) / 2 / ((6 * 1536 + 2 * 8960) / (3 * 1536));
    expect(slow.windowMs).toBeCloseTo(own + projections);
    const hidden = scaling(full(), 2, { ...FREE, linkGbs: 1 });
    expect(hidden.exposedMs).toBe(0);
    expect(hidden.speedup).toBeCloseTo(2);
    const exposed = scaling(full(), 2, { ...FREE, linkGbs: 0.1 });
    expect(exposed.exposedMs).toBeCloseTo(exposed.transferMs - exposed.windowMs);
    expect(exposed.speedup).toBeLessThan(2);
  });

  test("frames that nobody waits for hide what is sent, but for the first layer's", () => {
    const plan = dualScope({ window: 1, anchors: 1 });
    const windowOf = (layers: number): number => {
      const config = { ...FREE.config, num_layers: layers };
      return layers * scaling(plan, 2, { ...FREE, config }).windowMs;
    };
    // The slower clip has 12 frames and sends the one at the border. Of a token's products three are before attention.
    const [before, after] = [3 * 1536, 3 * 1536 + 2 * 8960];
    const perFrame = ((1000 * FREE.speed.perFrame) / 2) * (after / (before + after));
    expect((windowOf(2) - windowOf(1)) / perFrame).toBeCloseTo(11);
  });

  test("answers move work, and none is lost", () => {
    const rows = [2, 4, 8].map((workers) => scaling(tile(4), workers, FREE));
    for (const { workers, speedup, megabytesALayer } of rows) {
      expect(speedup).toBeGreaterThan(0.5 * workers);
      expect(speedup).toBeLessThanOrEqual(workers + 1e-9);
      expect(megabytesALayer).toBeLessThan(scaling(full(), workers, FREE).megabytesALayer);
    }
  });

  test("making keys and copying take time of their own", () => {
    const plan = dualScope({ window: 3, anchors: 4 });
    const free = scaling(plan, 2, FREE).secondsPerStep;
    expect(scaling(plan, 2, { ...FREE, teraflops: 230 }).secondsPerStep).toBeGreaterThan(free);
    expect(scaling(plan, 2, { ...FREE, copyGbs: 25 }).secondsPerStep).toBeGreaterThan(free);
  });
});
