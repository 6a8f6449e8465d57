// `weft eval` on files written here.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { addEvalCommand } from "../../../src/cli/eval_command.ts";
import { summaryTable, videoTable } from "../../../src/cli/eval_table.ts";
import type { Evaluation } from "../../../src/cli/eval_video.ts";
import { VideoMeter } from "../../../src/metrics/video_meter.ts";
import { createNodeFfmpeg } from "../../../src/video/ffmpeg_node.ts";
import { createVideoEncoder } from "../../../src/video/video_encoder.ts";
import { moving, paint, type Painter, textured } from "../metrics/constructed.ts";
import { runCommand } from "./run_command.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const folder = mkdtempSync(join(tmpdir(), "weft-eval-"));
const path = (name: string): string => join(folder, name);
const evaluate = (...args: string[]): Promise<string> => runCommand(addEvalCommand, ["eval", ...args]);

beforeAll(async () => {
  const ffmpeg = createNodeFfmpeg();
  const write = async (name: string, painter: Painter, frames: number): Promise<void> => {
    const metadata = { prompt: "a texture" };
    const encoder = createVideoEncoder({
      format: "mp4",
      width: 48,
      height: 32,
      fps: 16,
      runtime: ffmpeg,
      metadata,
    });
    await encoder.write(paint(frames, painter, 48, 32));
    writeFileSync(path(name), await encoder.finish());
  };
  await write("moving.mp4", moving(textured, 2, 1), 24);
  await write("still.mp4", textured, 24);
  await write("short.mp4", textured, 5);
  ffmpeg.dispose();
});
afterAll(() => rmSync(folder, { recursive: true }));

test("tells a moving video from a still one", async () => {
  const { videos, summary } = JSON.parse(await evaluate("--json", path("moving.mp4"), path("still.mp4")));
  const [moves, still] = videos;
  expect(moves).toMatchObject({
    file: path("moving.mp4"),
    prompt: "a texture",
    frames: 24,
    width: 48,
    height: 32,
  });
  expect(moves.dynamic.flow).toBeCloseTo(Math.hypot(2, 1), 0);
  expect(moves.dynamic.stillShare).toBe(0);
  expect(moves.loop.score).toBeGreaterThan(80);
  expect(still.dynamic.stillShare).toBe(1);
  expect(still.loop.score).toBeLessThan(25);
  expect(moves).not.toHaveProperty("score"); // weft-nano's judge does not look at 48x32
  expect(moves).not.toHaveProperty("reference");
  expect(summary.stillShare).toEqual({ count: 2, mean: 0.5, standardError: 0.5 });
});

test("compares with a reference, frame by frame", async () => {
  const reference = ["--reference", path("still.mp4")];
  const same = await evaluate(path("still.mp4"), ...reference);
  expect(same).toMatch(/PSNR +equal/);
  expect(same).toMatch(/SSIM +1\.0000/);
  const { videos } = JSON.parse(await evaluate(path("moving.mp4"), ...reference, "--json"));
  expect(videos[0].reference.frames).toBe(24);
  expect(videos[0].reference.psnr).toBeLessThan(30);
  await expect(evaluate(path("short.mp4"), ...reference)).rejects.toThrow(
    /short.mp4 has 5 frames of 48x32, its reference .*still.mp4 has 24 frames/,
  );
});

test("compares the borders of clips with other places", async () => {
  const files = [path("moving.mp4"), path("still.mp4")];
  const text = await evaluate(...files, "--borders", "3,5");
  expect(text).toContain("4 clip borders, 6 other latent borders, 34 pairs within latent frames");
  expect(text).toMatch(/flow +\d\.\d\d \(.*\) +[01]\.\d{3} +\d\.\d\d\n/);
  const { borders, videos } = JSON.parse(await evaluate(...files, "--borders", "3,5", "--json"));
  expect(borders.flow.clipBorders.count).toBe(4);
  expect(borders.flow.pValue).toBeGreaterThan(0.05);
  expect(videos[0]).not.toHaveProperty("pairs");
  await expect(evaluate(...files, "--borders", "9")).rejects.toThrow(/No clip border of --borders 9/);
});

test("says which file cannot be read", async () => {
  await expect(evaluate(path("none.mp4"))).rejects.toThrow(/none.mp4 cannot be read/);
  writeFileSync(path("text.mp4"), "no video");
  await expect(evaluate(path("text.mp4"))).rejects.toThrow(/no video file we know/);
});

test("prints a list for each video and then the mean", async () => {
  const text = await evaluate(path("moving.mp4"), path("short.mp4"));
  expect(text).toMatch(/moving.mp4: 24 frames of 48x32\n {2}"a texture"\n {2}difference/);
  expect(text).toMatch(/mean of 2 videos ± standard error\n/);
  expect(text).toMatch(/loop score +[\d.]+ \(1 videos\)/);
  expect(text).not.toMatch(/PSNR|prompt says|undefined|NaN/);
});

test("a judge's verdict has its lines", () => {
  const meter = new VideoMeter();
  meter.write(paint(2, textured));
  const score = { clips: 1, attributes: { shape: 0.25, sky: null }, total: 0.5 };
  const evaluation: Evaluation = { file: "a.mp4", prompt: null, metrics: meter.finish(), score };
  expect(videoTable(evaluation)).toMatch(/fits prompt +50\.0 %/);
  expect(videoTable(evaluation)).toMatch(/shape +25\.0 %/);
  expect(videoTable(evaluation)).not.toContain("sky");
  const better = { ...evaluation, score: { ...score, attributes: { shape: 0.75, sky: 1 } } };
  expect(summaryTable([evaluation, better])).toMatch(/shape +50\.0 ± 25\.0 %/);
});
