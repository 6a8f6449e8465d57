// `weft render --host chromium`: the command line's job in the page's worker, with the files and reports of `--host node`.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { openChromiumHost } from "../../src/cli/chromium_host.ts";
import { openNodeHost } from "../../src/cli/node_host.ts";
import { requestOf } from "../../src/cli/render_command.ts";
import { runRender } from "../../src/cli/render_run.ts";
import { probe, readMetadata } from "../../src/video/inspect.ts";
import { decodePng } from "../../src/video/png_image.ts";
import { writeSafetensors } from "../../src/weights/safetensors.ts";
import { openCheckpointFile } from "../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { relativeL2 } from "../reference/compare.ts";
import { fixturePath } from "../reference/fixture_tensors.ts";

type Flags = Parameters<typeof requestOf>[1];

const VAE = fixturePath("taehv_tiny/taehv.safetensors");
const TINY = {
  model: fixturePath("wan_tiny"),
  steps: 2,
  guidance: 1,
  seed: 5,
  maxSequenceLength: 32,
  json: true,
  quiet: true,
};
const SMALL = { frames: 5, width: 32, height: 32 };
const folder = mkdtempSync(join(tmpdir(), "weft-host-"));

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What `--json` prints. */
interface Report {
  readonly computeEngine: string;
  readonly bytes: { readonly weights: number; readonly peakGpu: number | null };
  readonly profile?: readonly { readonly label: string }[];
  readonly peaks?: unknown;
  readonly workers?: {
    readonly bytesSent: number;
    readonly bytesPredicted: number;
    readonly workersLost: number;
  };
}

async function renderOn(
  host: "node" | "chromium",
  flags: Omit<Flags, "model" | "host">,
  signal = new AbortController().signal,
): Promise<Report> {
  const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const request = await requestOf(["a red ball"], { ...TINY, ...flags, host });
  const opened =
    host === "chromium"
      ? await openChromiumHost(request, signal)
      : await openNodeHost(request, { type: "onnx" }, signal);
  await runRender(request, opened, signal);
  return JSON.parse(String(printed.mock.calls.at(-1)?.[0])) as Report;
}

function inFolder(name: string): string {
  return join(folder, name);
}

test("gives the files and the report of the other host, byte for byte", async () => {
  const noise = inFolder("noise.safetensors");
  const data = Float32Array.from({ length: 16 * 2 * 4 * 4 }, (_, i) => 2 * Math.sin(i * i));
  const tensor = { dtype: "F32", shape: [1, 16, 2, 4, 4], data } as const;
  writeFileSync(noise, writeSafetensors(new Map([["initial_noise", tensor]])));
  const job = { noise, vae: VAE, dumpForward: [737], preview: true, attention: "tile:1", crf: 50 };
  const files = (name: string) => ({ out: inFolder(`${name}.webm`), dump: inFolder(`${name}.safetensors`) });
  const node = await renderOn("node", { ...job, ...files("node"), engine: "onnx" });
  const page = await renderOn("chromium", { ...job, ...files("page"), engine: "onnx" });

  const [video, theirs] = [readFileSync(inFolder("page.webm")), readFileSync(inFolder("node.webm"))];
  expect(probe(video)).toMatchObject({ codec: "vp9" });
  expect(readMetadata(video)).toMatchObject({ seed: null, noise: "noise.safetensors", attention: "tile:1" });
  expect(readMetadata(video)).toEqual(readMetadata(theirs));
  expect(video.equals(theirs)).toBe(true);
  expect(readFileSync(inFolder("page.preview.png")).equals(readFileSync(inFolder("node.preview.png")))).toBe(
    true,
  );
  await compareDumps("page.safetensors", "node.safetensors");
  const nameless = { output: null, dump: null, preview: null, seconds: null };
  expect({ ...page, ...nameless }).toEqual({ ...node, ...nameless });
});

test("--weights, --max-memory and --profile reach the page's device; without a decoder there is the dump alone", async () => {
  const dump = inFolder("gpu.safetensors");
  const options = { ...SMALL, weights: "f16", arithmetic: "f32", profile: true, dump } as const;
  const report = await renderOn("chromium", { ...options, maxMemory: 2 ** 30 });
  expect(report).toMatchObject({ computeEngine: "webgpu", output: null, dump });
  expect(report.bytes.peakGpu).toBeGreaterThan(100_000);
  expect(report.profile?.some(({ label }) => /^linear.*storage=f16/.test(label))).toBe(true);
  expect(report.peaks).toBeDefined();
  await expect(renderOn("chromium", { ...options, maxMemory: 1000 })).rejects.toMatchObject({
    name: "GpuOutOfMemoryError",
    message: expect.stringMatching(/of GPU memory, but .* no size of this model fits/),
  });
});

test("two tabs give the frames of one process, in segments, and a report", async () => {
  const long = {
    ...SMALL,
    frames: 69,
    vae: VAE,
    steps: 1,
    attention: "dual-scope:2,2",
    engine: "onnx",
  } as const;
  const [one, two, trace] = ["one.png", "two.png", "trace.json"].map(inFolder) as [string, string, string];
  await renderOn("node", { ...long, out: one });
  const report = await renderOn("chromium", { ...long, tabs: 2, exchange: "f32", out: two, trace });
  expect(report.workers).toMatchObject({ workersLost: 0, bytesSent: report.workers?.bytesPredicted });
  expect(report.workers?.bytesSent).toBeGreaterThan(0);
  const { traceEvents } = JSON.parse(readFileSync(trace, "utf8")) as { traceEvents: { args?: object }[] };
  const names = traceEvents.map(({ args }) => (args as { name?: string } | undefined)?.name);
  expect(names).toEqual(expect.arrayContaining(["this tab", "tab 1"]));
  const [ofOne, ofTwo] = [await decodePng(readFileSync(one)), await decodePng(readFileSync(two))];
  expect(ofTwo.data.length).toBe(ofOne.data.length);
  const worst = ofOne.data.reduce((most, value, i) => Math.max(most, Math.abs(value - ofTwo.data[i]!)), 0);
  expect(worst).toBeLessThanOrEqual(2);
});

test("two tabs on WebGPU, with weights of their own kind: the latents of one process", async () => {
  const job = { ...SMALL, frames: 17, dumpForward: [500], weights: "f32", vae: VAE } as const;
  const files = (name: string) => ({ out: inFolder(`${name}.png`), dump: inFolder(`${name}.safetensors`) });
  await renderOn("node", { ...job, ...files("alone"), engine: "onnx" });
  const report = await renderOn("chromium", {
    ...job,
    ...files("tabs"),
    tabs: 2,
    exchange: "f32",
    engine: "webgpu",
  });
  expect(report.computeEngine).toBe("webgpu");
  expect(report.workers?.bytesSent).toBeGreaterThan(0);
  await compareDumps("tabs.safetensors", "alone.safetensors");
});

/** A stage of a run, the text on stderr that tells of it, and options that make it last. */
const STAGES = [
  ["the browser starts", undefined, {}],
  ["the model is loaded", /loading weights/, {}],
  ["two tabs denoise", /denoising: step/, { frames: 65, width: 64, height: 64, steps: 50, tabs: 2 }],
  ["the video is encoded", /encoding the video/, { out: inFolder("e.gif") }],
] as const;

test.each(STAGES)("an abort while %s leaves nothing within a second", async (_, text, more) => {
  vi.stubEnv("TMPDIR", folder); // where the browser's files would be
  const before = readdirSync(folder);
  const controller = new AbortController();
  let abortedAt = 0;
  let group: number | undefined;
  const abort = (): void => {
    if (abortedAt > 0) return;
    abortedAt = performance.now();
    group = browserProcesses()[0]?.group;
    controller.abort();
  };
  vi.spyOn(process.stderr, "write").mockImplementation((said) => {
    if (text?.test(String(said))) abort();
    return true;
  });
  const isStarting = (): boolean => readdirSync(folder).some((name) => name.startsWith("weft-chromium-"));
  const watch = setInterval(() => text === undefined && isStarting() && abort(), 1);
  const job = { ...SMALL, vae: VAE, quiet: false, out: inFolder("w.png"), dump: inFolder("w.safetensors") };
  await expect(renderOn("chromium", { ...job, ...more }, controller.signal)).rejects.toMatchObject({
    name: "AbortError",
  });
  clearInterval(watch);
  expect(performance.now() - abortedAt).toBeLessThan(1000);
  expect(readdirSync(folder)).toEqual(before);
  expect(group).toBeDefined();
  expect(processes().filter((each) => each.group === group)).toEqual([]);
});

test("a page that crashes ends the run with a sentence", async () => {
  vi.stubEnv("TMPDIR", folder);
  vi.spyOn(process.stderr, "write").mockImplementation((said) => {
    const isLoading = /loading weights/.test(String(said));
    for (const { id, line } of isLoading ? browserProcesses() : [])
      if (line.includes("--type=renderer")) process.kill(id, "SIGKILL");
    return true;
  });
  const job = { ...SMALL, vae: VAE, quiet: false, out: inFolder("c.png") };
  await expect(renderOn("chromium", job)).rejects.toThrow(/^The browser ended before the video was done/);
  expect(browserProcesses()).toEqual([]);
});

/** A process, as /proc tells of it. */
interface Process {
  readonly id: number;
  readonly line: string;
  readonly group: number;
}

/** All that live: the dead, which somebody has still to take note of, have no command line. */
function processes(): Process[] {
  return readdirSync("/proc").flatMap((name) => {
    try {
      const [line, stat] = ["cmdline", "stat"].map((file) => readFileSync(`/proc/${name}/${file}`, "utf8"));
      if (line === "") return [];
      return { id: Number(name), line: line!, group: Number(stat!.replace(/^.*\) /, "").split(" ")[2]) };
    } catch {
      return []; // no process, or it has ended meanwhile
    }
  });
}

/** Everything that belongs to the browser whose files are in this test's folder. */
function browserProcesses(): Process[] {
  const all = processes();
  const first = all.find(({ line }) => line.includes(`${folder}/weft-chromium-`));
  return all.filter(({ group }) => group === first?.group);
}

async function compareDumps(name: string, other: string): Promise<void> {
  const [mine, theirs] = await Promise.all(
    [name, other].map((each) => openCheckpointFile(openFolderSource(folder), each)),
  );
  expect(new Set(mine!.names)).toEqual(new Set(theirs!.names));
  for (const tensor of theirs!.names) {
    expect(mine!.info(tensor)).toMatchObject({ shape: theirs!.info(tensor).shape });
    if (tensor === "input_ids") continue;
    const error = relativeL2(await mine!.readF32(tensor), await theirs!.readF32(tensor));
    expect(error, tensor).toBeLessThanOrEqual(1e-4);
  }
}
