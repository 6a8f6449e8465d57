// The diffusers fixture through the public command line: every number it dumps is diffusers' number.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openCheckpointFile } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { writeSafetensors } from "../../../src/weights/safetensors.ts";
import { fixturePath, readFixtureJson } from "../../reference/fixture_tensors.ts";
import { expectedTensors } from "../../reference/model_fixture.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { runWeft, useFolder, type WeftResult } from "./run_weft.ts";

const folder = useFolder();
const expected = expectedTensors("wan_tiny");
const { meta } = readFixtureJson("wan_tiny/expected.json") as {
  meta: {
    prompts: string[];
    num_inference_steps: number;
    guidance_scale: number;
    max_sequence_length: number;
    negative_prompt: string;
  };
};
const MODEL = ["--model", fixturePath("wan_tiny")];
let result: WeftResult;

beforeAll(async () => {
  const lines = meta.prompts.map((prompt, k) => {
    const { shape, data } = expected(`p${k}.initial_noise`);
    const noise = writeSafetensors(new Map([["initial_noise", { dtype: "F32", shape, data }]]));
    writeFileSync(join(folder, `noise${k}.safetensors`), noise);
    return JSON.stringify({ prompt, noise: `noise${k}.safetensors`, dump: `dump${k}.safetensors` });
  });
  writeFileSync(join(folder, "jobs.jsonl"), lines.join("\n"));
  const options = {
    "--batch": "jobs.jsonl",
    "--dump-forward": "737",
    "--negative": meta.negative_prompt,
    "--steps": String(meta.num_inference_steps),
    "--guidance": String(meta.guidance_scale),
    "--max-sequence-length": String(meta.max_sequence_length),
    "--arithmetic": "f32",
  };
  result = await runWeft(folder, ["render", ...MODEL, ...Object.entries(options).flat()]);
});

test("weft render --dump works where the decoder is not supported, and says what is missing", () => {
  expect(result.stderr).toContain("decoder is AutoencoderKLWan, which Weft does not run yet");
  expect(result.stderr).toContain("no video is written");
  expect(result.code).toBe(0);
  expect(result.stdout).toBe("dump0.safetensors\ndump1.safetensors\n");
});

describe.each(meta.prompts.map((prompt, k) => ({ prompt, k })))('dump of "$prompt"', ({ k }) => {
  // Issue tolerances of the f32 path, relative L2.
  test.each([
    ["input_ids", 0],
    ["initial_noise", 0],
    ["prompt_embeds", 1e-4],
    ["negative_prompt_embeds", 1e-4],
    ["timesteps", 1e-5],
    ["sigmas", 1e-5],
    ["forward_t737", 1e-4],
  ])("%s equals diffusers'", async (name, tolerance) => {
    const { shape, data } = await dumped(k, name);
    const wanted = expected(`p${k}.${name}`);
    expect(shape).toEqual(wanted.shape);
    expect(relativeL2(data, wanted.data)).toBeLessThanOrEqual(tolerance);
  });

  test("latents_per_step equal diffusers' after every step", async () => {
    const { shape, data } = await dumped(k, "latents_per_step");
    const wanted = expected(`p${k}.latents_per_step`);
    expect(shape).toEqual(wanted.shape);
    const [steps = 0] = shape;
    const size = data.length / steps;
    for (let step = 0; step < steps; step++) {
      const part = [step * size, (step + 1) * size] as const;
      const error = relativeL2(data.subarray(...part), wanted.data.subarray(...part));
      expect(error, `step ${step + 1}`).toBeLessThanOrEqual(1e-3);
    }
  });
});

test("a dump without a stated length says how far the text is padded", async () => {
  const size = ["--frames", "1", "--height", "16", "--width", "16", "--steps", "1", "--guidance", "1"];
  const { stderr, code } = await runWeft(folder, [
    "render",
    "a cat",
    ...MODEL,
    ...size,
    "--dump",
    "x.safetensors",
  ]);
  expect(stderr).toContain("padded to 512 tokens, diffusers' default");
  expect(code).toBe(0);
  expect(result.stderr).not.toContain("padded");
});

test("weft render without --dump refuses the fixture before any work", async () => {
  const { code, stderr } = await runWeft(folder, ["render", "a cat", ...MODEL]);
  expect(stderr).toContain("decoder is AutoencoderKLWan");
  expect(stderr).toContain("--dump FILE.safetensors");
  expect(stderr).not.toContain("loading");
  expect(code).toBe(2);
});

/** A tensor of a dump, as f64-safe numbers. */
async function dumped(k: number, name: string): Promise<{ shape: readonly number[]; data: Float32Array }> {
  const file = await openCheckpointFile(openFolderSource(folder), `dump${k}.safetensors`);
  const { shape, dtype } = file.info(name);
  const data = dtype === "I32" ? Float32Array.from(await file.readIntegers(name)) : await file.readF32(name);
  return { shape, data };
}
