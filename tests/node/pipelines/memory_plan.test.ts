// The estimate of a render's memory: in pieces where the attention plan is local, all at once otherwise.
import { expect, test } from "vitest";
import { dualScope, full } from "../../../src/attention/plan_constructors.ts";
import type { PassPerturbation } from "../../../src/guiders/guider.ts";
import { parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { memoryNotice, planCpuMemory, planMemory } from "../../../src/pipelines/memory_plan.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";

const config = parseWanTransformerConfig(readFixtureJson("wan_head128/transformer/config.json"));
const model = { config, weightBytes: 0, activationElementBytes: 4 };
const dim = config.num_attention_heads * config.attention_head_dim;
const bytes = (numFrames: number, attention = full()): number =>
  planMemory({ numFrames, height: 128, width: 128, attention }, model).activationBytes;

test("a local plan saves all but hidden states and latents in a long video, and nothing in a short one", () => {
  const local = dualScope({ window: 2, anchors: 4, anchorRule: "uniform" });
  expect(bytes(33, local)).toBe(bytes(33));
  const perLatentFrame = 64 * (4 * dim + 8 * 4 * config.in_channels * 4);
  const grown = (bytes(1025, local) - bytes(513, local)) / (128 * perLatentFrame);
  expect(Math.abs(grown - 1)).toBeLessThan(0.05);
  expect(bytes(1025)).toBeGreaterThan(2.3 * bytes(1025, local));
});

test("a perturbed pass keeps hidden states to begin with, and weakened heads undo pieces", () => {
  const attention = dualScope({ window: 2, anchors: 4, anchorRule: "uniform" });
  const size = { numFrames: 1025, height: 128, width: 128, attention };
  const memory = (perturbation?: PassPerturbation): number =>
    planMemory({ ...size, perturbedGuidance: perturbation && { scale: 1, perturbation } }, model)
      .activationBytes;
  const copy = 4 * dim * 257 * 64;
  expect(memory({ kind: "skipped_blocks", layers: [1] })).toBe(memory() + copy);
  expect(memory({ kind: "skipped_blocks", layers: [0, 1] })).toBe(memory());
  const heads = [{ layers: [1], strength: 0.5 }];
  expect(memory({ kind: "heads", heads })).toBe(bytes(1025) + copy);
});

test("a clip needs its own tokens and the keys that others send", () => {
  const attention = dualScope({ window: 2, anchors: 4, anchorRule: "uniform" });
  const size = { numFrames: 2305, height: 128, width: 128, attention };
  const whole = planMemory(size, model);
  const clip = planMemory({ ...size, clip: { start: 144, end: 288 } }, model);
  expect([whole.pieceFrames, clip.pieceFrames]).toEqual([16, 16]);
  expect(clip.activationBytes).toBeLessThan(0.4 * whole.activationBytes);
  const perFrame = 64 * (4 * dim + 8 * 4 * config.in_channels * 4);
  expect(whole.activationBytes - clip.activationBytes).toBeGreaterThan((577 - 144) * perFrame * 0.97);
  const all = { numFrames: 33, height: 128, width: 128, clip: { start: 0, end: 3 } };
  const remote =
    planMemory(all, model).activationBytes -
    planMemory({ ...all, numFrames: 9, clip: undefined }, model).activationBytes;
  expect(remote).toBe(3 * 4 * 6 * 64 * dim); // of six other frames
});

test("WebAssembly holds a piece at a time under a local plan", () => {
  const attention = dualScope({ window: 2, anchors: 4, anchorRule: "uniform" });
  const bytesOf = (numFrames: number, plan = attention): number =>
    planCpuMemory({ numFrames, height: 128, width: 128, attention: plan }, config).activationBytes;
  expect(bytesOf(2305) / bytesOf(513)).toBeCloseTo(1, 1);
  expect(bytesOf(2305, full())).toBeGreaterThan(4 * bytesOf(513));
});

test("what is said beforehand", () => {
  const size = { numFrames: 2305, height: 128, width: 128 };
  const plan = { weightBytes: 5e7, activationBytes: 1.2e8, largestBufferBytes: 1, place: "GPU memory" };
  expect(memoryNotice(size, { ...plan, pieceFrames: 16 })).toBe(
    "The transformer takes about 170 MB of GPU memory, 50 MB of it weights; it computes 16 latent frames at a time.",
  );
  expect(memoryNotice({ ...size, clip: { start: 0, end: 9 } }, { ...plan, pieceFrames: undefined })).toBe(
    "Each worker of these 2305 frames takes about 170 MB of GPU memory, 50 MB of it weights; it computes all at once.",
  );
});
