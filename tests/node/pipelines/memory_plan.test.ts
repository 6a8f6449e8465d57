// The estimate of a render's memory: in pieces where the attention plan is local, all at once otherwise.
import { expect, test } from "vitest";
import { dualScope, full } from "../../../src/attention/plan_constructors.ts";
import type { PassPerturbation } from "../../../src/guiders/guider.ts";
import { parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { planMemory } from "../../../src/pipelines/memory_plan.ts";
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
  const heads = [{ layers: [1], strength: 0.5 }];
  expect(memory({ kind: "heads", heads })).toBe(bytes(1025) + copy);
});
