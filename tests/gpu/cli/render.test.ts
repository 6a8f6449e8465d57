// `weft render` with the embedded model, as users run it. Small and short: the machine may have no GPU.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { probe, readMetadata } from "../../../src/video/inspect.ts";
import { openCheckpointFile } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { runWeft, useFolder } from "./run_weft.ts";

const folder = useFolder();
const TINY = ["--frames", "5", "--height", "32", "--width", "32"];
const read = (name: string): Uint8Array => readFileSync(join(folder, name));

/** The tests' machine may have a GPU; these ask for the CPU. */
const ON_CPU = { computeEngine: "onnx", adapter: { name: expect.stringMatching(/^CPU, \d+ thread/) } };

interface Job {
  readonly settings: { readonly seed: number };
  readonly attention: { readonly name: string; readonly density: number };
  readonly seconds: { readonly load: number };
  readonly output: string;
}

test("writes an MP4 whose metadata make the same video again", async () => {
  const first = await runWeft(folder, [
    "render",
    "a red ball bounces on grass",
    ...TINY,
    "--seed",
    "7",
    "--preview",
    "--engine",
    "webgpu",
  ]);
  expect(first.stderr).toContain("denoising: step 4/4");
  expect(first).toMatchObject({ code: 0, stdout: "a-red-ball-bounces-on-grass-7.mp4\n" });
  const file = read("a-red-ball-bounces-on-grass-7.mp4");
  expect(probe(file)).toMatchObject({ codec: "h264", width: 32, height: 32, frames: 5, fps: 16 });
  expect(readMetadata(file)).toMatchObject({
    engine: "weft 0.1.0",
    prompt: "a red ball bounces on grass",
    seed: 7,
    model: "weft-nano",
    modelHash: expect.stringMatching(/^[0-9a-f]{16}$/),
    computeEngine: "webgpu",
    adapter: expect.any(String),
    numInferenceSteps: 4,
    scheduler: "euler",
  });
  const preview = probe(read("a-red-ball-bounces-on-grass-7.preview.png"));
  expect(preview).toMatchObject({ codec: "png", width: 2 * 32 + 2, height: 32 });

  const inspected = await runWeft(folder, ["inspect", "a-red-ball-bounces-on-grass-7.mp4"]);
  expect(inspected.stdout).toContain("mp4 (h264), 32x32, 5 frames at 16 fps");
  expect(inspected.stdout).toMatch(/prompt +a red ball bounces on grass/);
  expect(inspected.code).toBe(0);
});

test("renders a batch with the weights loaded once, and reports it as one JSON object", async () => {
  const jobs = [
    { prompt: "a red ball", out: "ball.gif", fps: 8, frames: 9, attention: "tile:1" },
    { prompt: "a zorply cube", out: "sheet.png" },
  ];
  writeFileSync(join(folder, "jobs.jsonl"), jobs.map((job) => JSON.stringify(job)).join("\n"));
  const { code, stdout, stderr } = await runWeft(folder, [
    "render",
    "--batch",
    "jobs.jsonl",
    ...TINY,
    "--json",
    "--engine",
    "onnx",
  ]);
  expect(code).toBe(0);
  expect(stderr).toContain('The model does not know "zorply"');
  const report = JSON.parse(stdout) as { jobs: [Job, Job]; bytes: Record<string, number> };
  expect(report.jobs.map(({ output }) => output)).toEqual(["ball.gif", "sheet.png"]);
  expect(report.jobs[1].seconds.load).toBeLessThan(report.jobs[0].seconds.load / 2);
  expect(report.bytes["weights"]).toBeGreaterThan(1e7);
  expect(report).toMatchObject(ON_CPU);
  expect(report.jobs.map(({ attention }) => attention)).toEqual([
    { name: "tile:1", density: expect.closeTo(7 / 9, 9) },
    { name: "full", density: 1 },
  ]);
  expect(readMetadata(read("ball.gif"))).toMatchObject({ prompt: "a red ball", attention: "tile:1" });
  expect(readMetadata(read("sheet.png"))).not.toHaveProperty("attention");
  expect(probe(read("ball.gif"))).toMatchObject({ codec: "gif", frames: 9 });
  expect(probe(read("sheet.png"))).toMatchObject({ codec: "png", width: 5 * 32 + 8, height: 32 });
  expect(readMetadata(read("sheet.png"))).toMatchObject({
    prompt: "a zorply cube",
    seed: report.jobs[1].settings.seed,
  });
});

describe("a dump of a decodable model", () => {
  test("holds the frames too, its noise starts the same video, and --quiet is quiet", async () => {
    const files = ["--out", "a.webm", "--dump", "a.safetensors"];
    const dump = await runWeft(folder, ["render", "a red ball", ...TINY, "--seed", "3", ...files, "--quiet"]);
    expect(dump).toMatchObject({ code: 0, stderr: "", stdout: "a.webm\na.safetensors\n" });
    const noise = ["--noise", "a.safetensors", "--out", "b.webm", "--dump", "b.safetensors"];
    const again = await runWeft(folder, ["render", "a red ball", ...noise]);
    expect(again.code).toBe(0);
    const [video, same] = await Promise.all(["a.safetensors", "b.safetensors"].map(videoOf));
    expect(video?.shape).toEqual([1, 5, 3, 32, 32]);
    expect(same?.data).toEqual(video?.data);
    expect(video?.data.every((value) => value >= 0 && value <= 1)).toBe(true);
    expect(new Set(video?.data).size).toBeGreaterThan(100);
    expect(probe(read("b.webm"))).toMatchObject({ codec: "vp9", width: 32, height: 32, frames: 5 });
    expect(readMetadata(read("b.webm"))).toMatchObject({ seed: null, noise: "a.safetensors" });
  });
});

test("both engines make the same latents", async () => {
  const dump = (engine: string): string[] => ["--engine", engine, "--dump", `${engine}.safetensors`];
  for (const engine of ["webgpu", "onnx"]) {
    const args = ["render", "a red ball", ...TINY, "--seed", "4", "--attention", "tile:1", ...dump(engine)];
    expect(await runWeft(folder, args)).toMatchObject({ code: 0 });
  }
  const [webgpu, onnx] = await Promise.all(
    ["webgpu", "onnx"].map(async (engine) => {
      const file = await openCheckpointFile(openFolderSource(folder), `${engine}.safetensors`);
      return await file.readF32("latents_per_step");
    }),
  );
  expect(relativeL2(onnx ?? [], webgpu ?? [])).toBeLessThan(1e-4);
});

test("brings its own software adapter where the environment has none", async () => {
  const env = { WEFT_SWIFTSHADER: undefined, VK_ICD_FILENAMES: undefined, LD_LIBRARY_PATH: undefined };
  const { code, stdout } = await runWeft(folder, ["info", "--json", "--engine", "webgpu"], { env });
  expect(code).toBe(0);
  const { adapter, versions } = JSON.parse(stdout) as {
    adapter: { maxBufferBytes: number };
    versions: object;
  };
  expect(adapter.maxBufferBytes).toBeGreaterThan(2 ** 27);
  expect(versions).toMatchObject({ weft: "0.1.0", webgpu: "0.6.2", "onnxruntime-web": "1.30.0" });
});

test("computes on the CPU where there is no adapter at all", async () => {
  const env = { WEFT_SWIFTSHADER: "1", VK_ICD_FILENAMES: "/nowhere.json", LD_LIBRARY_PATH: undefined };
  const { code, stdout } = await runWeft(folder, ["info", "--json"], { env });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject(ON_CPU);
});

async function videoOf(name: string): Promise<{ shape: readonly number[]; data: Float32Array }> {
  const file = await openCheckpointFile(openFolderSource(folder), name);
  expect(existsSync(join(folder, name))).toBe(true);
  return { shape: file.info("video").shape, data: await file.readF32("video") };
}
