// The measures of videos with known answers: what moves, what stands still, what repeats, what flickers, what changes.
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { VideoMeter, type VideoMetrics } from "../../../src/metrics/video_meter.ts";
import type { FrameBatch } from "../../../src/video/frame_batch.ts";
import { cut, moving, noise, paint, type Painter, texture, textured } from "./constructed.ts";

function measure(...batches: FrameBatch[]): VideoMetrics {
  const meter = new VideoMeter();
  for (const batch of batches) meter.write(batch);
  return meter.finish();
}

/** A disc on the texture, along a path. */
function disc(path: (t: number) => readonly [number, number], radius = 10): Painter {
  return (x, y, t) => {
    const [cx, cy] = path(t);
    return Math.hypot(x - cx, y - cy) < radius ? [220, 30, 30] : textured(x, y, t);
  };
}

describe("a frozen video", () => {
  const frozen = measure(paint(40, textured));

  test("has no motion, and that is said", () => {
    expect(frozen.dynamic).toEqual({ difference: 0, flow: 0, fastFlow: 0, stillShare: 1 });
  });

  test("has the worst loop score there is", () => {
    expect(frozen.loop).toEqual({
      score: 0,
      cycle: 1,
      duplicates: 1,
      flowPeriodicity: 1,
      autocorrelation: 1,
    });
  });

  test("has no flicker and no drift", () => {
    expect(frozen.flicker).toBe(0);
    expect(frozen.drift?.mean).toBeCloseTo(0, 6);
    expect(frozen.drift?.last).toBeCloseTo(0, 6);
    expect(frozen.sharpnessKept).toBeCloseTo(1, 9);
  });
});

describe("a video that moves by whole pixels", () => {
  test.for([
    [1, 0],
    [0, 3],
    [-4, 2],
    [5, -5],
    [8, 0],
  ] as const)("%s, %s per frame: the flow is its speed", ([dx, dy]) => {
    const { dynamic } = measure(paint(4, moving(textured, dx, dy)));
    expect(dynamic?.flow).toBeCloseTo(Math.hypot(dx, dy), 1);
    expect(dynamic?.fastFlow).toBeCloseTo(Math.hypot(dx, dy), 0);
    expect(dynamic?.stillShare).toBe(0);
  });

  test("between pixels it is right to a quarter of a pixel", () => {
    for (const speed of [0.5, 1.5, 2.3]) {
      const flow = measure(paint(4, moving(textured, speed, 0))).dynamic?.flow;
      expect(Math.abs((flow ?? 0) - speed)).toBeLessThan(0.25);
    }
  });

  test("on larger frames the flow still counts pixels of the video", () => {
    const wide: Painter = (x, y, t) => textured(x / 2 - 2 * t, y / 2, t);
    expect(measure(paint(4, wide, 256, 192)).dynamic?.flow).toBeCloseTo(4, 0);
  });

  test("has no flicker", () => {
    expect(measure(paint(4, moving(textured, 3, 1))).flicker).toBeLessThan(0.05);
  });

  test("difference equals the mean absolute difference of the frames", () => {
    const grey = (t: number): number => [100, 110, 90][t] ?? 0;
    const video = paint(3, (_x, _y, t) => [grey(t), grey(t) + 3 * t, 7]);
    expect(measure(video).dynamic?.difference).toBeCloseTo((10 + 13 + 0 + 20 + 17 + 0) / 6, 6);
  });
});

test("a small object in a still picture shows in fastFlow, hardly in flow", () => {
  const { dynamic } = measure(
    paint(
      8,
      disc((t) => [30 + 4 * t, 48]),
    ),
  );
  expect(dynamic?.fastFlow).toBeGreaterThan(2);
  expect(dynamic?.flow).toBeLessThan(0.8);
  expect(dynamic?.stillShare).toBe(0);
});

describe("loop score", () => {
  /** A walk that never comes back, with uneven steps. */
  const walk = (t: number): number => 3 * t + 6 * Math.sin(0.11 * t * t);

  test("is high for a video that goes on, near 0 for one that repeats", () => {
    const on = measure(paint(64, moving(textured, 1.7, 0.9), 48, 48)).loop;
    const looping = measure(paint(64, (x, y, t) => textured(x - walk(t % 16), y, t), 48, 48)).loop;
    expect(on?.score).toBeGreaterThan(90);
    expect(looping?.score).toBeLessThan(10);
    expect(looping).toMatchObject({ cycle: 1, duplicates: 1 });
    expect(looping?.autocorrelation).toBeGreaterThan(0.9);
    expect(looping?.flowPeriodicity).toBeGreaterThan(0.9);
  });

  test("falls with the share of the video that repeats", () => {
    const scores = [0, 16, 32, 48].map((repeated) => {
      const painter: Painter = (x, y, t) => textured(x - walk(t < repeated ? t % 8 : t), y, t);
      const video = paint(64, painter, 32, 32);
      return measure(video).loop?.score ?? 0;
    });
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect((scores[0] ?? 0) - (scores[3] ?? 0)).toBeGreaterThan(40);
  });

  test("does not hold noise for a loop", () => {
    expect(measure(noise(32, 40)).loop?.flowPeriodicity).toBeLessThan(0.3);
  });

  test("the pulse of a decoder that makes 4 frames of one is no rhythm", () => {
    const pulsing = (t: number): number => 2 * t + (t % 4 === 0 ? 0 : 1);
    const { loop } = measure(paint(33, (x, y, t) => textured(x - pulsing(t), y, t), 48, 48));
    expect(loop?.flowPeriodicity).toBeLessThan(0.1);
  });

  test("steady motion has no rhythm, a bounce has one", () => {
    expect(measure(paint(48, moving(textured, 2, 0))).loop?.flowPeriodicity).toBe(0);
    const bounce = measure(
      paint(
        48,
        disc((t) => [32, 48 - 30 * Math.abs(Math.sin((Math.PI * t) / 8))]),
      ),
    );
    expect(bounce.loop?.flowPeriodicity).toBeGreaterThan(0.6);
  });
});

describe("flicker", () => {
  test("alternating by +-a is 2a, whatever moves", () => {
    for (const speed of [0, 3]) {
      const base = moving(textured, speed, 0);
      const video = paint(6, (x, y, t) => {
        const offset = t % 2 === 0 ? 5 : -5;
        const [red, green, blue] = base(x, y, t);
        return [red + offset, green + offset, blue + offset];
      });
      expect(measure(video).flicker).toBeCloseTo(10, 0);
    }
  });

  test("a steady fade has none, a step has half its height in two frames", () => {
    const flat = (grey: (t: number) => number): FrameBatch =>
      paint(10, (_x, _y, t) => [grey(t), grey(t), grey(t)]);
    expect(measure(flat((t) => 100 + 4 * t)).flicker).toBeCloseTo(0, 3);
    expect(measure(flat((t) => (t < 5 ? 100 : 120))).flicker).toBeCloseTo((2 * 10) / 8, 3);
  });

  test("grows with noise", () => {
    const levels = [0, 2, 5, 10, 20].map((sigma) => measure(noise(5, sigma, 3, textured)).flicker ?? 0);
    for (const [i, level] of levels.entries()) {
      if (i > 0) expect(level).toBeGreaterThan((levels[i - 1] ?? 0) * 1.5);
    }
  });
});

describe("drift", () => {
  test("motion alone is none, another colour or texture is", () => {
    const still =
      measure(
        paint(
          48,
          disc((t) => [14 + 0.7 * t, 32]),
        ),
      ).drift?.last ?? 1;
    const recoloured = measure(
      paint(48, (x, y, t) => {
        const inside = Math.hypot(x - 14 - 0.7 * t, y - 32) < 10;
        return inside ? (t < 20 ? [220, 30, 30] : [30, 30, 220]) : textured(x, y, t);
      }),
    ).drift?.last;
    const blurred = measure(paint(48, (x, y, t) => textured(x / (1 + t / 16), y / (1 + t / 16), t))).drift
      ?.last;
    expect(still).toBeLessThan(0.06);
    expect(recoloured).toBeGreaterThan(2 * still);
    expect(blurred).toBeGreaterThan(2 * still);
  });

  test("grows the farther the video goes from its first window", () => {
    const { windows } = measure(
      paint(80, (x, y, t) => {
        const grey = texture(x, y);
        return [grey + t, grey, grey - t];
      }),
    );
    const drifts = windows.map(({ drift }) => drift);
    expect(drifts[0]).toBeCloseTo(0, 6);
    expect(drifts).toEqual(drifts.toSorted((a, b) => a - b));
    expect(drifts).toHaveLength(5);
  });
});

test("sharpness is the Laplacian's variance: 64 a² for a chessboard of +-a, less when blurred", () => {
  const board = measure(paint(1, (x, y) => ((x + y) % 2 === 0 ? [138, 138, 138] : [118, 118, 118])));
  expect(board.sharpness).toBeCloseTo(64 * 100, 0); // Laplacian is -8 times the deviation of 10
  const coarse = measure(paint(1, (x, y) => textured(x / 2, y / 2, 0)));
  expect(coarse.sharpness).toBeLessThan(measure(paint(1, textured)).sharpness / 4);
});

test("portions do not matter", () => {
  const video = paint(
    37,
    disc((t) => [12 + t, 30 + (t % 5)]),
  );
  expect(measure(cut(video, 0, 1), cut(video, 1, 1), cut(video, 1, 20), cut(video, 20, 37))).toEqual(
    measure(video),
  );
});

test("a mirrored video has the same numbers but for rounding", () => {
  const painter = disc((t) => [12 + t, 30 + (t % 5)]);
  const [a, b] = [painter, (x: number, y: number, t: number) => painter(63 - x, y, t)].map((p) =>
    measure(paint(20, p)),
  );
  expect(b?.dynamic?.difference).toBeCloseTo(a?.dynamic?.difference ?? 0, 6);
  expect(b?.sharpness).toBeCloseTo(a?.sharpness ?? 0, 2);
  expect(b?.dynamic?.flow).toBeCloseTo(a?.dynamic?.flow ?? 0, 1);
  expect(b?.loop?.score).toBeCloseTo(a?.loop?.score ?? 0, 0);
});

test("what a short video cannot tell is null", () => {
  const one = measure(paint(1, textured));
  expect(one).toMatchObject({
    frames: 1,
    dynamic: null,
    flicker: null,
    loop: null,
    drift: null,
    sharpnessKept: null,
  });
  expect(measure(paint(2, textured)).dynamic).not.toBeNull();
  expect(measure(paint(7, textured)).loop).toBeNull();
});

test("windows are of 16 frames, a short rest is left out", () => {
  const spans = (frames: number): number[][] =>
    measure(paint(frames, textured, 24, 24)).windows.map(({ start, end }) => [start, end]);
  expect(spans(33)).toEqual([[0, 16], [16, 32]]); // prettier-ignore
  expect(spans(40)).toEqual([[0, 16], [16, 32], [32, 40]]); // prettier-ignore
  expect(spans(5)).toEqual([[0, 5]]);
});

test("frames that cannot be measured are refused", () => {
  expect(() => measure(paint(1, textured, 20, 64))).toThrow(/20x64.*24x24 or more/);
  expect(() => measure(paint(1, textured), paint(1, textured, 48, 64))).toThrow(InputError);
  expect(() => new VideoMeter().finish()).toThrow(/no frames/);
});

test("a long video is measured in bounded time", { timeout: 60_000 }, () => {
  const meter = new VideoMeter();
  const part = paint(70, moving(textured, 1, 0), 24, 24);
  for (let i = 0; i < 64; i++) meter.write(part); // 4480 frames: more than the loop score keeps
  const { frames, loop } = meter.finish();
  expect(frames).toBe(4480);
  expect(loop).toMatchObject({ cycle: 1, duplicates: 1 });
});
