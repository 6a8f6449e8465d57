// The searched plan that weft-nano ships: for its default length, and what it promises.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { planStatistics } from "../../../src/attention/plan_statistics.ts";
import { validatePlan } from "../../../src/attention/validate_plan.ts";
import { readModelAttention } from "../../../src/pipelines/model_attention.ts";
import { openModel } from "../../../src/pipelines/model_files.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { repoPath } from "../../repo_path.ts";

test("weft-nano's searched plan fits its default render, and is as dense as its report says", async () => {
  const files = await openModel(openFolderSource(repoPath("models/weft-nano")));
  const { fewstep: shape, searched: plan } = await readModelAttention(files);
  if (!plan || !shape) throw new Error("weft-nano ships a few-step model and a searched plan.");
  const numFrames = (files.settings.numFrames - 1) / 4 + 1;
  validatePlan(plan, { numFrames, ...shape });
  const { density, byLayer } = planStatistics(plan, { ...shape, numFrames, tokensPerFrame: 64, steps: 1 });
  const { search } = JSON.parse(readFileSync(repoPath("models/weft-nano/attention/searched.json"), "utf8"));
  expect(density).toBeCloseTo(search.density, 3);
  byLayer.forEach((layer, index) => expect(layer.density).toBeCloseTo(search.byLayer[index].density, 3));
  for (const { error, headErrors } of search.byLayer)
    expect(Math.max(error, ...headErrors)).toBeLessThanOrEqual(search.threshold);
});
