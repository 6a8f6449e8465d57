// `weft render --workers`: real processes, one of which is killed, give the latents of one process.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCheckpointFile } from "../../../src/weights/checkpoint.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { probe } from "../../../src/video/inspect.ts";
import { readFrames } from "../../../src/video/read_frames.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { fixturePath } from "../../reference/fixture_tensors.ts";
import { runWeft, useFolder, type WeftResult } from "./run_weft.ts";

const folder = useFolder();
const STEPS = 4;
/** 5 latent frames, with guidance and a scheduler that remembers. */
const RENDER = ["render", "a red ball bounces on grass", "--model", fixturePath("wan_tiny")].concat(
  `--frames 17 --height 64 --width 64 --steps ${STEPS} --guidance 4 --seed 7`.split(" "),
  "--max-sequence-length 32 --arithmetic f32 --engine webgpu".split(" "),
);

async function latents(dump: string): Promise<Float32Array> {
  const checkpoint = await openCheckpointFile(openFolderSource(folder), dump);
  return await checkpoint.readF32("latents_per_step");
}

beforeAll(async () => {
  const { code, stderr } = await runWeft(folder, [...RENDER, "--dump", "one.safetensors"]);
  expect(code, stderr).toBe(0);
});

const TWO = ["--workers", "2", "--guidance-workers", "1", "--exchange", "f32"];

describe("two workers", () => {
  let result: WeftResult;
  beforeAll(async () => {
    const workers = [...TWO, "--trace", "trace.json", "--preview"];
    result = await runWeft(folder, [...RENDER, ...workers, "--dump", "two.safetensors"]);
  });

  test("give one process's latents", async () => {
    expect(result.code, result.stderr).toBe(0);
    expect(relativeL2(await latents("two.safetensors"), await latents("one.safetensors"))).toBeLessThan(1e-4);
  });

  test("say who computed what, and sent as many bytes as predicted", () => {
    expect(result.stderr).toMatch(/Latent frames from step 1 on: worker \d 0 to \d, worker \d \d to 4\./);
    const [, sent, predicted] =
      /sent each other ([\d.]+ MB) \(([\d.]+ MB) predicted\)/.exec(result.stderr) ?? [];
    expect(sent).toBeDefined();
    expect(sent).toBe(predicted);
  });

  test("leave a preview of the last step", () => {
    const preview = readFileSync(join(folder, "two.preview.png"));
    expect(probe(preview)).toMatchObject({ container: "png", frames: 1 });
  });

  test("leave a timeline", () => {
    const { traceEvents } = JSON.parse(readFileSync(join(folder, "trace.json"), "utf8")) as {
      traceEvents: { name: string; ph: string; dur?: number }[];
    };
    const steps = traceEvents.filter(({ ph }) => ph === "X");
    expect(steps.map(({ name }) => name).sort()).toEqual(
      Array.from({ length: STEPS }, (_, i) => [`step ${i + 1}`, `step ${i + 1}`]).flat(),
    );
    expect(steps.every(({ dur = 0 }) => dur > 0)).toBe(true);
  });
});

test("two workers take a pass of the guidance each, unless told otherwise", async () => {
  const args = ["--workers", "2", "--dump", "passes.safetensors"];
  const { code, stderr } = await runWeft(folder, [...RENDER, ...args]);
  expect(code, stderr).toBe(0);
  expect(stderr).toMatch(
    /Latent frames from step 1 on: worker \d 0 to 4 \(conditional\), worker \d 0 to 4 \(unconditional\)\./,
  );
  // Predictions travel as f32, whatever keys do.
  expect(relativeL2(await latents("passes.safetensors"), await latents("one.safetensors"))).toBeLessThan(
    1e-5,
  );
});

test("two workers on the CPU give one process's latents too", async () => {
  const args = RENDER.map((arg) => (arg === "webgpu" ? "onnx" : arg));
  const { code, stderr } = await runWeft(folder, [...args, ...TWO, "--dump", "cpu.safetensors"]);
  expect(code, stderr).toBe(0);
  expect(relativeL2(await latents("cpu.safetensors"), await latents("one.safetensors"))).toBeLessThan(1e-4);
});

test("keys of the step before are near the exact latents, and the file says so", async () => {
  const args = RENDER.map((arg) => (arg === "webgpu" ? "onnx" : arg)).map((arg) => (arg === "4" ? "6" : arg));
  const guided = [...args, "--guidance", "4"];
  const exact = await runWeft(folder, [...guided, "--dump", "exact.safetensors"]);
  expect(exact.code, exact.stderr).toBe(0);
  const stale = await runWeft(folder, [...guided, ...TWO, "--stale", "2", "--dump", "stale.safetensors"]);
  expect(stale.code, stale.stderr).toBe(0);
  const error = relativeL2(await latents("stale.safetensors"), await latents("exact.safetensors"));
  expect(error).toBeGreaterThan(1e-5);
  expect(error).toBeLessThan(0.1);
  const dump = readFileSync(join(folder, "stale.safetensors"));
  const header = dump.subarray(8, 8 + Number(dump.readBigUInt64LE())).toString();
  const { weft } = (JSON.parse(header) as { __metadata__: { weft: string } }).__metadata__;
  expect(JSON.parse(weft)).toMatchObject({ stale: { after: 2, workers: 2 } });
});

/** Worker processes that descend from a process. */
function workersOf(pid: number): number[] {
  const parents = new Map(
    readdirSync("/proc").flatMap((name) => {
      if (!/^\d+$/.test(name)) return [];
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        return [[Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])] as const];
      } catch {
        return []; // it has ended meanwhile
      }
    }),
  );
  const descends = (child: number): boolean => {
    const parent = parents.get(child);
    return parent !== undefined && (parent === pid || descends(parent));
  };
  return [...parents.keys()].filter(
    (child) =>
      descends(child) && readFileSync(`/proc/${child}/cmdline`, "utf8").split("\0").includes("--join"),
  );
}

/** Ended processes may stand in /proc until somebody asks for their exit code. */
function isRunning(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return !stat.slice(stat.lastIndexOf(")")).startsWith(") Z");
}

test.runIf(process.platform === "linux")("a worker process that is killed costs a step at most", async () => {
  let workers: number[] = [];
  let victim: number | undefined;
  const { code, stderr } = await runWeft(folder, [...RENDER, ...TWO, "--dump", "killed.safetensors"], {
    onStderr: (text, child) => {
      if (victim !== undefined || !text.includes("step 2/4")) return;
      workers = workersOf(child.pid!);
      victim = workers.at(-1);
      if (victim !== undefined) process.kill(victim, "SIGKILL");
    },
  });
  expect(code, stderr).toBe(0);
  expect(victim, stderr).toBeDefined();
  expect(stderr).toMatch(/worker \d was lost: it has gone\./);
  expect(stderr).toMatch(/Latent frames from step [34] on: worker \d 0 to 4\./);
  expect(relativeL2(await latents("killed.safetensors"), await latents("one.safetensors"))).toBeLessThan(
    1e-4,
  );
  expect(workers).toHaveLength(2);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(workers.filter(isRunning)).toEqual([]);
});

describe("a video of two segments", () => {
  const LONG = ["render", "a red ball bounces on grass", "--model", fixturePath("wan_tiny")].concat(
    "--frames 69 --height 64 --width 64 --steps 1 --seed 7 --max-sequence-length 32".split(" "),
    "--engine onnx --attention dual-scope:2,2 --quiet --vae".split(" "),
    fixturePath("taehv_tiny/taehv.safetensors"),
  );
  const WORKERS = ["--workers", "2", "--exchange", "f32"];
  const ffmpeg = createNodeFfmpeg();
  afterAll(() => ffmpeg.dispose());

  async function framesOf(name: string): Promise<Uint8Array[]> {
    const frames: Uint8Array[] = [];
    const bytes = await readFile(join(folder, name));
    for await (const { data } of readFrames(ffmpeg, bytes)) frames.push(data.slice());
    return frames;
  }

  test("is one process's, frame by frame", async () => {
    for (const [name, workers] of [
      ["one.mp4", []],
      ["two.mp4", WORKERS],
    ] as const) {
      const args = [...LONG, ...workers, "--out", name];
      expect(await runWeft(folder, args)).toMatchObject({ code: 0, stderr: "" });
    }
    const file = await readFile(join(folder, "two.mp4"));
    expect(probe(file)).toMatchObject({ frames: 69, duration: 69 / 16 });
    const [mine, theirs] = [await framesOf("two.mp4"), await framesOf("one.mp4")].map((each) =>
      Buffer.concat(each),
    );
    expect(mine).toHaveLength(69 * 64 * 64 * 4);
    // Frames differ by 2e-7 (keys are added up in another order), hence a few pixels by a level, and by 1.2e-3 once encoded.
    expect(relativeL2(Float32Array.from(mine!), Float32Array.from(theirs!))).toBeLessThan(2e-3);
  });

  test.runIf(process.platform === "linux")(
    "a worker that is killed while decoding costs nothing but time: the same file",
    async () => {
      let victim: number | undefined;
      const talking = LONG.filter((arg) => arg !== "--quiet");
      const { code, stderr } = await runWeft(folder, [...talking, ...WORKERS, "--out", "killed.mp4"], {
        onStderr: (text, child) => {
          if (victim !== undefined || !text.includes("decoding")) return;
          victim = workersOf(child.pid!).at(-1);
          if (victim !== undefined) process.kill(victim, "SIGKILL");
        },
      });
      expect(code, stderr).toBe(0);
      expect(stderr).toMatch(/worker \d was lost while decoding: it has gone\./);
      const [killed, two] = await Promise.all(
        ["killed.mp4", "two.mp4"].map((name) => readFile(join(folder, name))),
      );
      expect(Buffer.compare(killed!, two!)).toBe(0);
    },
  );
});

describe("what workers cannot do is refused", () => {
  test.each([
    [["--workers", "0"], "--workers must be from 1 to 64, not 0"],
    [
      ["--workers", "2", "--guidance-workers", "3"],
      "--guidance-workers must be from 1 to the 2 of --workers",
    ],
    [["--workers", "2", "--guidance-workers", "2"], "more than there are forward passes in a step"],
    [["--guidance-workers", "2"], "--guidance-workers needs --workers"],
    [["--stale"], "--stale needs --workers"],
    [["--workers", "1", "--stale"], "--stale needs at least 2 workers"],
    [["--workers", "2", "--stale"], "this render takes 4. Take the base model with more steps"],
    [
      ["--workers", "2", "--stale", "30", "--steps", "30", "--guidance", "4"],
      "--stale 30 leaves none of the 30 steps",
    ],
    [["--workers", "2", "--guidance", "4", "--guidance-rescale", "0.5"], "--guidance-rescale looks at"],
    [["--workers", "2", "--host", "chromium"], "with --host chromium use --tabs N"],
  ])("%s", async (args, message) => {
    const { code, stderr } = await runWeft(folder, ["render", "a ball", ...args]);
    expect(stderr).toContain(message);
    expect(code).not.toBe(0);
  });
});
