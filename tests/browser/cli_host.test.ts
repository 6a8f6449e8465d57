// `weft render --host chromium`: the command line's job in the page's worker, and the file it writes.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { runInChromium } from "../../src/cli/chromium_run.ts";
import { requestOf } from "../../src/cli/render_command.ts";
import { probe, readMetadata } from "../../src/video/inspect.ts";

const MODEL = fileURLToPath(new URL("../../models/weft-nano", import.meta.url));
const TINY = { model: MODEL, host: "chromium", frames: 5, width: 32, height: 32, quiet: true } as const;
const folder = mkdtempSync(join(tmpdir(), "weft-host-"));

beforeAll(() => build({ logLevel: "error" }));
afterAll(() => rmSync(folder, { recursive: true }));

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
