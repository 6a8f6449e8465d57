// What goes wrong, through the command line: one sentence, the right exit code, no stack, no half-written file.
import { cpSync, readdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { tile } from "../../../src/attention/plan_constructors.ts";
import { planToJson } from "../../../src/attention/plan_json.ts";
import { writeSafetensors } from "../../../src/weights/safetensors.ts";
import { fixturePath } from "../../reference/fixture_tensors.ts";
import { runWeft, useFolder } from "./run_weft.ts";

const folder = useFolder();

beforeAll(() => {
  const noise = { dtype: "F32", shape: [1, 16, 2, 4, 4], data: new Float32Array(512) } as const;
  writeFileSync(join(folder, "noise.safetensors"), writeSafetensors(new Map([["initial_noise", noise]])));
  writeFileSync(join(folder, "other.safetensors"), writeSafetensors(new Map([["latents", noise]])));
  writeFileSync(join(folder, "plan.json"), planToJson({ ...tile(1), numLatentFrames: 3 }));
  writeFileSync(join(folder, "prompts.txt"), "0 a red ball\n40 a blue cube");
  writeFileSync(join(folder, "jobs.jsonl"), '{"prompt": "a"}\n{"prompt": "b", "framse": 5}');
  cpSync(fixturePath("wan_tiny"), join(folder, "torn"), { recursive: true });
  const weights = join(folder, "torn", "transformer", "diffusion_pytorch_model.safetensors");
  truncateSync(weights, statSync(weights).size - 1000);
});

describe("weft says in a sentence what is wrong with", () => {
  test.each([
    ["an unknown command", ["rendr"], 2, "Did you mean render?"],
    ["an unknown option", ["render", "x", "--framse", "5"], 2, "Did you mean --frames?"],
    ["a word for a number", ["render", "x", "--frames", "many"], 2, "Expected a whole number."],
    ["no prompt", ["render"], 2, "There is no prompt"],
    ["an empty prompt", ["render", "  "], 2, "The prompt is empty"],
    ["frames that are not 4k+1", ["render", "x", "--frames", "16"], 2, "must be 4k+1, not 16: use 13 or 17."],
    ["a height that is no multiple of 16", ["render", "x", "--height", "100"], 2, "use 96 or 112."],
    ["steps the few-step model has not", ["render", "x", "--steps", "7"], 2, "has exactly 4 steps"],
    ["an unknown scheduler", ["render", "x", "--scheduler", "ddim"], 2, 'choose "unipc" or "euler"'],
    ["a negative seed", ["render", "x", "--seed", "-1"], 2, "The seed must be a whole number"],
    ["an output folder that is not there", ["render", "x", "--out", "no/x.mp4"], 2, "mkdir -p no"],
    ["an unknown format", ["render", "x", "--out", "x.avi"], 2, "must end in .mp4, .webm, .gif or .png"],
    [
      "a quality that GIF has not",
      ["render", "x", "--out", "x.gif", "--crf", "9"],
      2,
      "crf does not apply to gif",
    ],
    [
      "a model that is not there",
      ["render", "x", "--model", "nowhere"],
      2,
      'There is no model folder "nowhere"',
    ],
    ["a folder that is no model", ["render", "x", "--model", "."], 1, "model_index.json is missing"],
    ["truncated weights", ["render", "x", "--model", "torn", "--dump", "d.safetensors"], 1, "truncated"],
    [
      "noise of another size",
      ["render", "x", "--noise", "noise.safetensors", "--width", "64"],
      2,
      "width is 64",
    ],
    ["a file without noise", ["render", "x", "--noise", "other.safetensors"], 2, "it has latents"],
    ["a folder for a file", ["render", "x", "--noise", "."], 2, ". is a folder"],
    ["a file for a model", ["render", "x", "--model", "noise.safetensors"], 2, "noise.safetensors is a file"],
    [
      "a decoder that is none",
      ["render", "x", "--vae", "noise.safetensors"],
      1,
      "expected a TAEHV checkpoint",
    ],
    ["one file for two things", ["render", "x", "--out", "x.gif", "--dump", "x.gif"], 2, "both name x.gif"],
    [
      "more frames than can be planned",
      ["render", "x", "--frames", "99999999999999999999"],
      2,
      "at most 16385",
    ],
    ["a thousand workers", ["render", "x", "--workers", "1000"], 2, "from 1 to 64, not 1000"],
    ["a dump without a file", ["render", "x", "--dump-forward", "5"], 2, "needs --dump FILE.safetensors"],
    [
      "a bad line of a batch",
      ["render", "--batch", "jobs.jsonl"],
      2,
      'jobs.jsonl, line 2: there is no option "framse"',
    ],
    ["an unknown attention plan", ["render", "x", "--attention", "tiles"], 2, 'no attention plan "tiles"'],
    ["a plan for another length", ["render", "x", "--attention", "plan.json"], 2, "for 3 latent frames"],
    ["prompts beyond the video", ["render", "--prompts", "prompts.txt"], 2, "from 1 to 32"],
    ["too little memory", ["render", "x", "--max-memory", "57MB"], 1, "what fits is"],
    [
      "a file to inspect that is no video",
      ["inspect", "noise.safetensors"],
      2,
      "expected MP4, WebM, GIF or PNG",
    ],
    ["a port that is none", ["serve", "--port", "99999"], 2, "The port must be from 0 to 65535"],
  ] as const)("%s", async (_, args, expectedCode, sentence) => {
    const before = readdirSync(folder);
    const { code, stdout, stderr } = await runWeft(folder, args);
    expect(stderr).toContain(sentence);
    expect(stderr).not.toMatch(/^\s+at .*\d+:\d+\)?$/m);
    expect(stdout).toBe("");
    expect(code).toBe(expectedCode);
    expect(readdirSync(folder)).toEqual(before);
  });

  const noAdapter = { WEFT_SWIFTSHADER: "1", VK_ICD_FILENAMES: "/nowhere.json", LD_LIBRARY_PATH: undefined };

  test("WebGPU on a machine without any adapter", async () => {
    const args = ["render", "x", "--engine", "webgpu"];
    const { code, stderr } = await runWeft(folder, args, { env: noAdapter });
    expect(stderr).toContain("No graphics adapter answers");
    expect(code).toBe(1);
  });

  test("options of the GPU for the CPU", async () => {
    const args = ["render", "x", "--engine", "onnx", "--max-memory", "1GB", "--weights", "int8"];
    const { code, stderr } = await runWeft(folder, args);
    expect(stderr).toContain("--weights int8, --max-memory cannot be used with --engine onnx");
    expect(code).toBe(2);
  });
});

test.each([
  ["denoising", "webgpu"],
  ["denoising", "onnx"],
  ["decoding", "onnx"],
])("Ctrl-C while %s with %s ends within a second and leaves no file", async (stage, engine) => {
  const before = readdirSync(folder);
  let pressedAt = 0;
  // The restarted process, through the one the user knows of: decoding keeps its thread busy, and it hears nothing.
  const env = { WEFT_SWIFTSHADER: undefined };
  const args = [
    "render",
    "a red ball",
    "--frames",
    "33",
    "--height",
    "48",
    "--width",
    "48",
    "--out",
    "x.mp4",
    "--engine",
    engine,
  ];
  const { code, stderr } = await runWeft(folder, args, {
    env,
    onStderr(text, child) {
      if (pressedAt > 0 || !text.includes(stage)) return;
      pressedAt = performance.now();
      child.kill("SIGINT");
    },
  });
  const took = performance.now() - pressedAt;
  expect(pressedAt).toBeGreaterThan(0);
  expect(stderr).toContain("Interrupted; no unfinished file was left.");
  expect(code).toBe(130);
  expect(took).toBeLessThan(1000);
  expect(readdirSync(folder)).toEqual(before);
});
