// The guidance study renders several videos in one run; each must be what it is by itself.
import { afterAll, beforeAll, expect, test } from "vitest";
import { openOrtInNode } from "../../../src/onnx/ort_runtime_node.ts";
import { WanPipeline } from "../../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { denoiseTogether } from "../../bench/guidance/render_together.ts";
import type { Trial, TrialGuidance } from "../../bench/guidance/trial.ts";

let pipeline: WanPipeline;
beforeAll(async () => {
  const source = openFolderSource("models/weft-nano");
  pipeline = await WanPipeline.open({ source, openOrt: openOrtInNode });
});
afterAll(() => pipeline.dispose());

const heads = [{ layers: [3], heads: [0, 2], strength: 0.5 }];
const perturbed = { scale: 2, perturbation: { kind: "heads", heads } } as const;

test.for<[string, TrialGuidance]>([
  ["student, SoftPAG", { weights: "student", perturbed }],
  ["base, CFG + SoftPAG", { weights: "base", steps: 1, cfg: 2.5, perturbed }],
])("%s: videos together equal each alone", async ([, guidance]) => {
  const trials = [7, 1000].map((prompt): Trial => ({ guidance, numFrames: 5, prompt }));
  const together = await denoiseTogether(pipeline, trials);
  const [first, second] = together;
  expect(largest(second?.data, first?.data)).toBeGreaterThan(1);
  for (const [index, trial] of trials.entries()) {
    const [alone] = await denoiseTogether(pipeline, [trial]);
    expect(together[index]?.shape).toEqual(alone?.shape);
    expect(largest(together[index]?.data, alone?.data)).toBeLessThan(1e-4);
  }
});

/** The largest difference; NaN when something is missing. */
function largest(a: Float32Array | undefined, b: Float32Array | undefined): number {
  if (a === undefined || b === undefined) return NaN;
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? NaN))), 0);
}
