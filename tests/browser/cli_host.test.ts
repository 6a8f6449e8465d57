// `weft render --host chromium`: the command line's job in the page's worker, and the file it writes.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { runInChromium } from "../../src/cli/chromium_run.ts";
import { requestOf } from "../../src/cli/render_command.ts";
import { checkWorkers } from "../../src/cli/workers_option.ts";
import { createNodeFfmpeg } from "../../src/video/ffmpeg_node.ts";
import { probe, readMetadata } from "../../src/video/inspect.ts";
import { readFrames } from "../../src/video/read_frames.ts";

const MODEL = fileURLToPath(new URL("../../models/weft-nano", import.meta.url));
const TINY = { model: MODEL, host: "chromium", frames: 5, width: 32, height: 32, quiet: true } as const;
const folder = mkdtempSync(join(tmpdir(), "weft-host-"));
const ffmpeg = createNodeFfmpeg();

beforeAll(() => build({ logLevel: "error" }));
afterAll(() => {
  rmSync(folder, { recursive: true });
  ffmpeg.dispose();
});

test("renders in a page and writes the file and the report", async () => {
  const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const out = join(folder, "x.webm");
  const request = await requestOf(["a red ball"], {
    ...TINY,
    frames: 9,
    seed: 5,
    crf: 50,
    attention: "tile:1",
    out,
    json: true,
  });
  await runInChromium(request, new AbortController().signal);
  const report = JSON.parse(String(printed.mock.calls.at(-1)?.[0])) as object;
  printed.mockRestore();
  expect(report).toMatchObject({
    output: out,
    settings: { seed: 5, numFrames: 9 },
    attention: { name: "tile:1", density: expect.closeTo(7 / 9, 9) },
    computeEngine: "onnx",
    adapter: { name: expect.stringMatching(/^CPU, \d+ thread/) },
  });
  const file = readFileSync(out);
  expect(probe(file)).toMatchObject({ codec: "vp9", width: 32, height: 32, frames: 9 });
  expect(readMetadata(file)).toMatchObject({
    prompt: "a red ball",
    seed: 5,
    numInferenceSteps: 4,
    attention: "tile:1",
  });
});

test.each(["onnx", "webgpu"] as const)(
  "two tabs, engine %s: the frames of one, and a report",
  async (engine) => {
    const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    // The longer one is decoded in segments, by both.
    const render = { ...TINY, frames: engine === "onnx" ? 129 : 17, seed: 5, engine };
    const [one, two, trace] = ["one.mp4", "two.mp4", "trace.json"].map((name) => join(folder, engine + name));
    const alone = await requestOf(["a red ball"], { ...render, out: one });
    await runInChromium(alone, new AbortController().signal);
    const options = { tabs: 2, exchange: "f32", json: true } as const;
    const shared = await requestOf(["a red ball"], { ...render, ...options, out: two, trace });
    await runInChromium(shared, new AbortController().signal);
    const report = JSON.parse(String(printed.mock.calls.at(-1)?.[0])) as {
      computeEngine: string;
      workers: { bytesSent: number; bytesPredicted: number; workersLost: number };
    };
    printed.mockRestore();
    expect(report.computeEngine).toBe(engine);
    expect(report.workers.workersLost).toBe(0);
    expect(report.workers.bytesSent).toBeGreaterThan(0);
    expect(report.workers.bytesSent).toBe(report.workers.bytesPredicted);
    const { traceEvents } = JSON.parse(readFileSync(trace!, "utf8")) as { traceEvents: { args?: object }[] };
    const names = traceEvents.map(({ args }) => (args as { name?: string } | undefined)?.name);
    expect(names).toEqual(expect.arrayContaining(["this tab", "tab 1"]));
    const [ofOne, ofTwo] = [await framesOf(one!), await framesOf(two!)];
    const worst = ofOne.reduce((most, value, i) => Math.max(most, Math.abs(value - ofTwo[i]!)), 0);
    expect(ofTwo.length).toBe(ofOne.length);
    expect(worst).toBeLessThanOrEqual(2);
  },
);

test("Ctrl-C ends all tabs, and writes nothing", async () => {
  const before = readdirSync(folder);
  const controller = new AbortController();
  const long = { ...TINY, frames: 257, width: 128, height: 128, tabs: 3, out: join(folder, "w.mp4") };
  const request = await requestOf(["a red ball"], long);
  setTimeout(() => controller.abort(), 5000);
  const start = performance.now();
  await expect(runInChromium(request, controller.signal)).rejects.toMatchObject({ name: "AbortError" });
  expect(performance.now() - start).toBeLessThan(8000);
  expect(readdirSync(folder)).toEqual(before);
});

test("passes the page's sentences on, with their class", async () => {
  const request = await requestOf(["a red ball"], { ...TINY, frames: 16, out: join(folder, "y.mp4") });
  await expect(runInChromium(request, new AbortController().signal)).rejects.toMatchObject({
    name: "InputError",
    message: "The number of frames must be 4k+1, not 16: use 13 or 17.",
  });
});

test("ends with the signal and writes nothing", async () => {
  const before = readdirSync(folder);
  const controller = new AbortController();
  const long = { ...TINY, frames: 257, width: 128, height: 128 }; // a minute, so that the signal comes in the middle
  const request = await requestOf(["a red ball"], { ...long, out: join(folder, "z.mp4") });
  setTimeout(() => controller.abort(), 3000);
  await expect(runInChromium(request, controller.signal)).rejects.toMatchObject({ name: "AbortError" });
  expect(readdirSync(folder)).toEqual(before);
});

test("refuses options that only this process can carry out", async () => {
  const request = await requestOf(["a"], { ...TINY, dump: "d.safetensors", weights: "f16" });
  await expect(runInChromium(request, new AbortController().signal)).rejects.toThrow(
    "--weights, --dump cannot be used with --host chromium.",
  );
});

test.each([
  [{ tabs: 2, host: "node" }, /^--tabs opens tabs of a browser: it needs --host chromium/],
  [{ workers: 2 }, /^--workers starts processes: with --host chromium use --tabs N/],
  [{ workers: 2, tabs: 2 }, /choose one of them/],
  [{ tabs: 0 }, /^--tabs must be from 1 to 64, not 0/],
  [{ tabs: 2, guidanceWorkers: 3 }, /^--guidance-workers must be from 1 to the 2 of --tabs, not 3/],
  [{ trace: "t.json" }, /^--trace cannot be used with --host chromium/],
] as const)("refuses %o", async (flags, message) => {
  const refuse = async (): Promise<void> => {
    const request = await requestOf(["a"], { ...TINY, ...flags });
    checkWorkers(request.run);
    await runInChromium(request, new AbortController().signal);
  };
  await expect(refuse()).rejects.toThrow(message);
});

async function framesOf(path: string): Promise<Uint8Array> {
  const batches: Uint8Array[] = [];
  for await (const { data } of readFrames(ffmpeg, readFileSync(path))) batches.push(data);
  return Buffer.concat(batches);
}
