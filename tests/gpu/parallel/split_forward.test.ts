// One forward pass in clips, which send each other rows in memory, against the whole pass.
import { describe, expect, test } from "vitest";
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { dualScope, full, radial, tile } from "../../../src/attention/plan_constructors.ts";
import type { PromptSchedule } from "../../../src/dit/prompt_schedule.ts";
import { exchangeBytes, exchangePlan, type Partition } from "../../../src/parallel/exchange_plan.ts";
import type { ExchangeStatistics } from "../../../src/parallel/exchange_statistics.ts";
import type { PayloadType } from "../../../src/parallel/key_codec.ts";
import { sliceFrames } from "../../../src/parallel/latent_frames.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { randomPrompt, SMALL_WAN } from "../../reference/small_wan.ts";
import { useGpu } from "../device.ts";
import {
  clipsOf,
  MOMENT,
  type Problem,
  problemOf,
  runClips,
  runWhole,
  useDevices,
  usedBytes,
  worstClip,
} from "./split_runs.ts";

useGpu(); // holds WebGPU open for this file
const devices = useDevices(4);

const PARTITIONS: readonly [string, Partition][] = [
  ["one", clipsOf(7)],
  ["two", clipsOf(3, 7)],
  ["three, uneven", clipsOf(1, 5, 7)],
  ["four", clipsOf(2, 4, 6, 7)],
];

const PLANS: readonly [string, AttentionPlan][] = [
  ["full", full()],
  ["dual-scope", dualScope({ window: 1, anchors: 2 })],
  ["tile", tile(2)],
];

const MODES = ["keys", "hidden_states"] as const;

describe.each(PLANS)("%s attention", (_name, plan) => {
  test.each(PARTITIONS)("%s clips, f32", async (_clips, partition) => {
    const problem = { ...problemOf(plan), mode: "hidden_states" } as const;
    expect(await worstClip(problem, partition)).toBeLessThan(1e-5);
  });

  test("three clips, keys as f32", async () => {
    expect(await worstClip(problemOf(plan), clipsOf(1, 5, 7))).toBeLessThan(1e-5);
  });

  test.each(MODES)("three clips, %s as f16 and int8", async (mode) => {
    const errors = [];
    for (const payload of ["f16", "int8"] as const) {
      errors.push(await worstClip({ ...problemOf(plan), mode, payload }, clipsOf(1, 5, 7)));
    }
    expect(errors[0]).toBeLessThan(2e-4);
    expect(errors[0]).toBeGreaterThan(1e-7); // it did travel as f16
    expect(errors[1]).toBeLessThan(3e-3);
    expect(errors[1]).toBeGreaterThan(1e-4); // and it as int8
  });
});

describe("queries are answered where the keys are", () => {
  /** Reference frames 0, 3 and 6 of 7 look at everything. */
  const plan = tile(3);

  test.each(PARTITIONS)("%s clips, f32", async (_clips, partition) => {
    expect(await worstClip({ ...problemOf(plan), mode: "fewest" }, partition)).toBeLessThan(1e-5);
  });

  test("rows that stay at home are computed before, and read their own texts", async () => {
    const prompt = {
      prompts: [
        { embeds: randomPrompt(3), fromFrame: 0 },
        { embeds: randomPrompt(4, 7), fromFrame: 4 },
      ],
      blendFrames: 2,
    };
    const problem = { ...problemOf(tile(2)), prompt, mode: "fewest" } as const;
    expect(await worstClip(problem, clipsOf(3, 7))).toBeLessThan(1e-5);
  });

  test("two clips, f16 and int8", async () => {
    const problem = { ...problemOf(plan), mode: "fewest" } as const;
    const error = (payload: PayloadType): Promise<number> =>
      worstClip({ ...problem, payload }, clipsOf(3, 7));
    expect(await error("f16")).toBeLessThan(2e-4);
    expect(await error("int8")).toBeLessThan(3e-3);
  });
});

describe("everything a plan may say", () => {
  const heads: AttentionPlan = {
    ...full(),
    rules: { ...full().rules, ...tile(1).rules, ...dualScope({ window: 0, anchors: 1 }).rules },
    overrides: [
      { layers: [1], heads: [0], rule: "tile_1" },
      { layers: [2], rule: "dual_scope" },
    ],
  };
  const CASES: readonly [string, Problem][] = [
    ["rules by head and layer", problemOf(heads)],
    [
      "biases and compressed positions",
      problemOf(
        dualScope({
          window: 1,
          anchors: 2,
          globalBias: 3,
          switchTimestep: 500,
          anchorPositions: { kind: "clamped", max: 2 },
        }),
      ),
    ],
    ["another frequency", problemOf(full({ positions: { kind: "riflex", frequency: 3 } }))],
    ["frames of two tiles, seen in part", problemOf(radial({ density: 0.5 }), { size: 18, frames: 5 })],
    [
      "perturbed heads",
      problemOf({
        ...full(),
        perturbations: [
          { layers: [0], heads: [1], strength: 0.7 },
          { layers: [1], strength: 1 },
        ],
      }),
    ],
    [
      "prompts that change",
      {
        ...problemOf(tile(1)),
        prompt: {
          prompts: [
            { embeds: randomPrompt(3), fromFrame: 0 },
            { embeds: randomPrompt(4, 7), fromFrame: 4 },
          ],
          blendFrames: 2,
        },
      },
    ],
  ];

  test.each(CASES)("%s", async (_name, problem) => {
    const partition = problem.shape[1] === 5 ? clipsOf(2, 5) : clipsOf(2, 3, 7);
    expect(await worstClip(problem, partition)).toBeLessThan(1e-5);
  });

  // One clip sends some frames only, which read other texts than the rest, the others all of theirs.
  test.each(CASES)("%s, hidden states", async (_name, problem) => {
    const partition = problem.shape[1] === 5 ? clipsOf(3, 5) : clipsOf(5, 6, 7);
    expect(await worstClip({ ...problem, mode: "hidden_states" }, partition)).toBeLessThan(1e-5);
  });

  // Clips of very different length: the short one's queries are fewer than the long one's keys under any plan.
  test.each(CASES)("%s, with queries", async (_name, problem) => {
    const partition = problem.shape[1] === 5 ? clipsOf(1, 5) : clipsOf(1, 7);
    expect(await worstClip({ ...problem, mode: "fewest" }, partition)).toBeLessThan(1e-5);
  });
});

describe("long clips in pieces", () => {
  const LONG: readonly [string, AttentionPlan][] = [
    ["uniform anchors", dualScope({ window: 1, anchors: 2, anchorRule: "uniform" })],
    ["anchors by layer", dualScope({ window: 1, anchors: 2, anchorRule: "coverage", steps: 4, layers: 3 })],
    [
      "anchors at other times",
      dualScope({ window: 1, anchors: 2, anchorPositions: { kind: "clamped", max: 3 }, globalBias: 2 }),
    ],
    ["no window", dualScope({ window: 0, anchors: 3, anchorRule: "uniform" })],
  ];
  const partition = clipsOf(17, 36, 40);

  test.each(LONG)("%s", async (_name, plan) => {
    const prompt: PromptSchedule = {
      prompts: [
        { embeds: randomPrompt(3), fromFrame: 0 },
        { embeds: randomPrompt(4, 7), fromFrame: 20 },
      ],
      blendFrames: 2,
    };
    const problem = { ...problemOf(plan, { frames: 40 }), prompt, pieceTokens: 64 };
    const whole = await runWhole(problem);
    for (const mode of MODES) {
      const clips = await runClips({ ...problem, mode }, partition);
      expect(clips.map(({ numPieces }) => numPieces)).toEqual([5, 5, 1]);
      for (const [index, { velocity }] of clips.entries()) {
        const expected = sliceFrames(whole, problem.shape, partition[index]!);
        expect(relativeL2(velocity, expected), mode).toBeLessThan(1e-5);
      }
    }
  });

  test("send and take int8", async () => {
    const plan = dualScope({ window: 1, anchors: 2 });
    const problem = { ...problemOf(plan, { frames: 40 }), pieceTokens: 64, payload: "int8" } as const;
    expect(await worstClip({ ...problem, mode: "hidden_states" }, partition)).toBeLessThan(3e-3);
  });

  test("take less memory, and give it back", async () => {
    const { gpu } = devices()[0]!;
    const before = gpu.memory.use.usedBytes;
    const plan = dualScope({ window: 1, anchors: 2 });
    const peak = async (pieceTokens: number): Promise<number> => {
      gpu.memory.resetPeak();
      await runClips({ ...problemOf(plan, { frames: 40 }), pieceTokens }, clipsOf(40));
      return gpu.memory.use.peakBytes - before;
    };
    expect(await peak(64)).toBeLessThan(0.6 * (await peak(Infinity)));
    expect(gpu.memory.use.usedBytes).toBe(before);
  });
});

test.each([
  ["dual-scope, keys as f16", dualScope({ window: 1, anchors: 2 }), "keys", "f16"],
  ["dual-scope, keys as int8", dualScope({ window: 1, anchors: 2 }), "keys", "int8"],
  ["dual-scope, hidden states as f16", dualScope({ window: 1, anchors: 2 }), "hidden_states", "f16"],
  ["tile as f16", tile(3), "fewest", "f16"],
  ["tile as int8", tile(3), "fewest", "int8"],
] as const)(
  "%s: as many bytes travel as the plan says, and all memory comes back",
  async (_name, plan, mode, payload) => {
    const before = usedBytes();
    const partition = clipsOf(1, 5, 7);
    const clips = await runClips({ ...problemOf(plan), payload, mode }, partition);
    const { num_attention_heads: heads, attention_head_dim: headDim, num_layers: layers } = SMALL_WAN;
    const transfers = Array.from({ length: layers }, (_, layer) =>
      exchangePlan(plan, partition, { ...MOMENT, tokensPerFrame: 16, heads, layer }, mode),
    ).flat();
    expect(transfers.some(({ kind }) => kind === "results")).toBe(mode === "fewest");
    const predicted = exchangeBytes(transfers, { heads, headDim, tokensPerFrame: 16 }, payload);
    const sum = (value: (each: ExchangeStatistics) => number): number =>
      clips.reduce((total, { statistics }) => total + value(statistics), 0);
    expect(sum(({ bytesSent }) => bytesSent)).toBe(predicted);
    expect(sum(({ bytesReceived }) => bytesReceived)).toBe(predicted);
    expect(usedBytes()).toBe(before);
  },
);
