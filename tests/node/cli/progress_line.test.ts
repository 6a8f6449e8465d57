import { describe, expect, test } from "vitest";
import { createProgressLine, duration } from "../../../src/cli/progress_line.ts";
import type { PipelineEvent } from "../../../src/pipelines/events.ts";

/** Everything written, and a clock that the test sets. */
function harness(options: { isTTY: boolean; quiet?: boolean; columns?: number }): {
  text: () => string;
  at: (ms: number, event: PipelineEvent) => void;
  status: (ms: number, text: string) => void;
  end: () => void;
} {
  let written = "";
  let time = 0;
  const target = { ...options, write: (text: string) => (written += text) };
  const line = createProgressLine(target, { quiet: options.quiet ?? false, now: () => time });
  return {
    text: () => written,
    at: (ms, event) => {
      time = ms;
      line.onEvent(event);
    },
    status: (ms, words) => {
      time = ms;
      line.status(words);
    },
    end: () => line.end(),
  };
}

const step = (done: number): PipelineEvent => ({
  type: "progress",
  stage: "denoise",
  done,
  total: 4,
  unit: "steps",
});

describe("progress", () => {
  test("in a pipe is one plain line a stage and a step, with the time left", () => {
    const { at, text } = harness({ isTTY: false });
    at(0, { type: "stage", stage: "denoise" });
    at(1000, step(0.5));
    at(2000, step(1));
    at(2500, step(1.2));
    at(4000, step(2));
    at(16_000, step(2.5));
    at(20_000, step(4));
    expect(text()).toBe(
      "denoising\ndenoising: step 1/4, 6 s left\ndenoising: step 2/4, 4 s left\ndenoising: step 3/4, 10 s left\ndenoising: step 4/4\n",
    );
  });

  test("on a terminal is one line that is rewritten, and wiped at the end", () => {
    const { at, text, end } = harness({ isTTY: true, columns: 24 });
    at(0, { type: "stage", stage: "denoise" });
    at(1000, step(1));
    at(1010, step(1.1)); // too soon to redraw
    end();
    expect(text()).toBe("\r\x1b[2Kdenoising\r\x1b[2Kdenoising: step 1/4, 3 \r\x1b[2K");
  });

  test("shows notices as lines of their own", () => {
    const { at, text } = harness({ isTTY: true });
    at(0, { type: "stage", stage: "load" });
    at(1, { type: "notice", message: "Look out." });
    expect(text()).toBe("\r\x1b[2Kloading weights\r\x1b[2KLook out.\n");
  });

  test("says nothing when quiet", () => {
    const { at, text } = harness({ isTTY: false, quiet: true });
    at(0, { type: "stage", stage: "load" });
    at(1, { type: "notice", message: "Look out." });
    expect(text()).toBe("");
  });
});

test("duration() reads well", () => {
  expect(duration(100)).toBe("1 s");
  expect(duration(8000)).toBe("8 s");
  expect(duration(200_000)).toBe("3 min 20 s");
  expect(duration(7_500_000)).toBe("2 h 5 min");
});

describe("the status of other work", () => {
  test("is a plain line in a pipe, every ten seconds at most", () => {
    const { status, text } = harness({ isTTY: false });
    for (const ms of [0, 5000, 9999, 10_000]) status(ms, `at ${ms}`);
    expect(text()).toBe("at 0\nat 10000\n");
  });

  test("is rewritten on a terminal, and taken back at the end", () => {
    const { status, text, end } = harness({ isTTY: true, columns: 6 });
    for (const ms of [0, 50, 100]) status(ms, `at ${ms} ms`);
    end();
    expect(text()).toBe("\r\x1b[2Kat 0 \r\x1b[2Kat 10\r\x1b[2K");
  });

  test("is nothing when quiet", () => {
    const { status, text } = harness({ isTTY: true, quiet: true });
    status(0, "x");
    expect(text()).toBe("");
  });
});
