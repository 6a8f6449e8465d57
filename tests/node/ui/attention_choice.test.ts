// The page's choice of attention: automatic by length, plans by name, and what a choice costs.
import { expect, test } from "vitest";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { readModelAttention } from "../../../src/pipelines/model_attention.ts";
import { openModel } from "../../../src/pipelines/model_files.ts";
import { type AttentionModel, attentionChoices, chooseAttention } from "../../../src/ui/attention_choice.ts";
import { defaultValues, type FormValues } from "../../../src/ui/form_values.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { repoPath } from "../../repo_path.ts";

const files = await openModel(openFolderSource(repoPath("models/weft-nano")));
const model: AttentionModel = {
  settings: files.settings,
  attention: { ...(await readModelAttention(files)), searched: { ...tile(1), numLatentFrames: 9 } },
  schedulerConfig: files.schedulerConfig,
};
const choose = (values: Partial<FormValues>) =>
  chooseAttention({ ...defaultValues(files.settings), ...values }, model);

test("automatic is full attention up to the trained length, and leaves the choice to the pipeline beyond", () => {
  expect(choose({})).toMatchObject({ name: "full", plan: full(), density: 1, requested: undefined });
  const long = choose({ numFrames: 129 });
  const plan = dualScope({ window: 3, anchors: 6, anchorRule: "coverage", steps: 4, layers: 12 });
  expect(long).toMatchObject({ name: "dual-scope", plan, requested: undefined, numFrames: 33 });
  expect(long.density).toBeLessThan(0.5);
});

test("named plans are asked for, the searched one only for its length", () => {
  expect(choose({ attention: "tile:2" }).requested).toEqual(tile(2));
  expect(choose({ attention: "full", numFrames: 129 }).requested).toEqual(full());
  expect(choose({ attention: "searched" }).density).toBeCloseTo((81 - 64 + 8) / 81, 12);
  expect(() => choose({ attention: "searched", numFrames: 17 })).toThrow("is for 9 latent frames");
});

test("timesteps are those of the variant", () => {
  expect(choose({}).timesteps).toEqual([1000, 900, 750, 500]);
  expect(choose({ variant: "base" }).timesteps).toHaveLength(30);
  expect(() => choose({ fps: Number.NaN })).toThrow(/frames per second/);
});

test("a model without a searched plan does not offer it", () => {
  const values = (from: AttentionModel): string[] => attentionChoices(from).map(([value]) => value);
  expect(values(model)).toContain("searched");
  const without = { ...model, attention: { ...model.attention, searched: undefined } };
  expect(values(without)).not.toContain("searched");
});
