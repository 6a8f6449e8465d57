// `--attention` with weft-nano (12 layers of 4 heads, 4 steps): plans that jobs are planned with.
import { expect, test } from "vitest";
import { tile } from "../../../src/attention/plan_constructors.ts";
import { type JobPlan, modelSource, planJobs } from "../../../src/cli/render_plan.ts";
import type { RenderJob } from "../../../src/cli/render_request.ts";
import { openModel } from "../../../src/pipelines/model_files.ts";
import { repoPath } from "../../repo_path.ts";

const model = repoPath("models/weft-nano");
const files = await openModel(modelSource(model));

async function planOf(job: Partial<RenderJob>): Promise<JobPlan> {
  const run = {
    host: "node",
    engine: "auto",
    model,
    tuning: true,
    preview: false,
    json: false,
    quiet: false,
    profile: false,
  } as const;
  const request = { run, jobs: [{ prompt: "a red ball", seed: 1, ...job }] };
  const [plan] = await planJobs(request, files, new AbortController().signal);
  return plan!;
}

test("planJobs() puts the named plan into the settings, and counts its density", async () => {
  const { settings, attention } = await planOf({ attention: "tile:2" });
  expect(settings.attention).toEqual(tile(2));
  expect(attention).toEqual({ name: "tile:2", density: expect.closeTo((9 ** 2 - 7 ** 2 + 7) / 9 ** 2, 9) });
});

test("planJobs() fills a dual-scope plan with the model's frames and the render's steps", async () => {
  const anchors = async (job: Partial<RenderJob>): Promise<unknown> => {
    const { settings } = await planOf({ frames: 65, attention: "dual-scope", ...job });
    return settings.attention?.rules["dual_scope"]?.groups[1]?.frames;
  };
  const trained = (Math.max(...files.settings.trainedFrames) - 1) / 4 + 1;
  const frames = { kind: "coverage", count: trained - 7, steps: 4, layers: 12 };
  expect(await anchors({})).toMatchObject({ kind: "anchors", frames });
  expect(await anchors({ guidance: 4, steps: 20 })).toMatchObject({ frames: { ...frames, steps: 20 } });
});

test("planJobs() leaves the attention of other jobs alone", async () => {
  const { settings, attention } = await planOf({});
  expect(settings).not.toHaveProperty("attention");
  expect(attention).toBeUndefined();
});

test("planJobs() gives videos longer than the model knows the long-video plan, and says so with its coverage", async () => {
  const { settings, attention, notices } = await planOf({ frames: 513 });
  const asked = await planOf({ frames: 513, attention: "dual-scope" });
  expect(settings.attention).toEqual(asked.settings.attention);
  expect(attention).toEqual(asked.attention);
  expect(notices).toEqual([
    expect.stringMatching(
      /^129 latent frames are more than the 13 .* every frame is an anchor at least \w+.*"full"/,
    ),
  ]);
  expect(asked.notices).toEqual([]);
  expect((await planOf({ frames: 513, attention: "full" })).attention).toEqual({ name: "full", density: 1 });
});

test.each([
  ["sparse", /There is no attention plan "sparse": give a JSON file/],
  ["tile", /numbers that tile does not take/],
  ["tile:0", /must be a whole number of at least 1, not 0/],
  ["radial:-1", /density must be a number above 0, not -1/],
])("planJobs() refuses --attention %s", async (attention, message) => {
  await expect(planOf({ attention })).rejects.toThrow(message);
});
