// Benchmarks on a real GPU: `node dist/bench/bench.mjs [linear] [attention] [masks] [forward] [profile]`, or `families`,
// `long ...` (long_video.ts), `searched ...` (searched.ts), `guidance steps cpu|gpu` (guided_step.ts), `guidance quality ...`
// (guidance_quality.ts), `clips ...` (clips.ts) and `pins` (gpu_pinning.ts) on several cards. Prints tables, and writes those of the GPU as JSON to the file named by WEFT_BENCH_JSON.
import { writeFileSync } from "node:fs";
import { dualScope, radial, tile } from "../../src/attention/plan_constructors.ts";
import { releaseDawn, startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { hasMatrixUnits } from "../../src/ops/matrix_units.ts";
import { benchAttention } from "./attention.ts";
import { benchForward, type ForwardCase } from "./forward.ts";
import { benchLinear } from "./linear.ts";
import { benchClips, clipWorker } from "./clips.ts";
import { holdMemory, probePins } from "./gpu_pinning.ts";
import { guidanceQuality } from "./guidance_quality.ts";
import { guidedStepsOnCpu, guidedStepsOnGpu } from "./guided_step.ts";
import { longVideos } from "./long_video.ts";
import { benchMasks } from "./masks.ts";
import { searchedMasks } from "./searched.ts";

const FORWARD_CASES: readonly ForwardCase[] = [
  { numFrames: 33, height: 480, width: 832 },
  { numFrames: 81, height: 480, width: 832 },
];
const LINEAR_SHAPES = [
  [32_760, 1536, 1536],
  [32_760, 8960, 1536],
  [32_760, 1536, 8960],
] as const;

const wanted = process.argv.slice(2);
const has = (name: string): boolean => wanted.length === 0 || wanted.includes(name);
const report: Record<string, unknown> = {};

async function openGpu(profile = false): Promise<Gpu> {
  return await Gpu.open({ gpu: startDawn(), profile });
}

function print(title: string, rows: readonly object[]): void {
  report[title] = rows;
  const jsonPath = process.env["WEFT_BENCH_JSON"];
  if (jsonPath !== undefined) writeFileSync(jsonPath, JSON.stringify(report, null, 1));
  console.log(`\n${title}`);
  console.table(rows);
}

async function linearTable(): Promise<void> {
  const gpu = await openGpu(true);
  const rows = [];
  for (const shape of LINEAR_SHAPES) {
    rows.push(await benchLinear(gpu, shape, { variant: "tiled", dtype: "f32", repetitions: 5 }));
    if (gpu.capabilities.f16)
      rows.push(await benchLinear(gpu, shape, { variant: "f16", dtype: "f16", repetitions: 5 }));
    if (hasMatrixUnits(gpu.capabilities))
      rows.push(await benchLinear(gpu, shape, { variant: "subgroup_matrix", dtype: "f16", repetitions: 5 }));
  }
  gpu.dispose();
  print(
    "linear",
    rows.map((row) => ({ ...row, shape: row.shape.join(" x ") })),
  );
}

async function attentionTable(): Promise<void> {
  const gpu = await openGpu(true);
  const rows = [];
  for (const frames of [9, 21]) {
    rows.push(await benchAttention(gpu, frames, { variant: "tiled", dtype: "f32", repetitions: 5 }));
    if (gpu.capabilities.f16)
      rows.push(await benchAttention(gpu, frames, { variant: "f16", dtype: "f16", repetitions: 5 }));
    if (hasMatrixUnits(gpu.capabilities))
      rows.push(
        await benchAttention(gpu, frames, { variant: "subgroup_matrix", dtype: "f16", repetitions: 5 }),
      );
  }
  gpu.dispose();
  print("attention", rows);
}

async function masksTable(): Promise<void> {
  const gpu = await openGpu(true);
  const options = hasMatrixUnits(gpu.capabilities)
    ? ({ variant: "subgroup_matrix", dtype: "f16", repetitions: 5 } as const)
    : ({ variant: "tiled", dtype: "f32", repetitions: 3 } as const);
  const plans = [
    ...[1, 2, 3, 4, 5, 6].map((k) => [`tile ${k}`, tile(k)] as const),
    ["dual-scope 3, 4", dualScope({ window: 3, anchors: 4 })] as const,
    ["radial", radial()] as const,
  ];
  const rows = [];
  for (const frames of [9, 21]) {
    const dense = await benchAttention(gpu, frames, options);
    rows.push({ ...dense, timeOverDensity: 1 });
    for (const plan of plans) {
      const row = await benchAttention(gpu, frames, { ...options, plan });
      rows.push({ ...row, timeOverDensity: row.milliseconds / dense.milliseconds / row.density });
    }
  }
  gpu.dispose();
  print("masks", rows);
}

async function forwardTable(): Promise<void> {
  const combinations = [
    { dtype: "f16", storage: "f16" },
    { dtype: "f16", storage: "int8" },
    { dtype: "f32", storage: "f16" },
  ] as const;
  for (const { dtype, storage } of combinations) {
    const gpu = await openGpu();
    if (dtype === "f16" && !gpu.capabilities.f16) continue;
    const [cases, repetitions] = dtype === "f16" ? [FORWARD_CASES, 5] : [FORWARD_CASES.slice(0, 1), 2];
    print(
      `forward ${dtype}, ${storage} weights`,
      await benchForward(gpu, cases, { dtype, storage, repetitions }),
    );
    gpu.dispose();
  }
}

async function profileTable(): Promise<void> {
  const gpu = await openGpu(true);
  await benchForward(gpu, FORWARD_CASES.slice(1), {
    dtype: gpu.capabilities.f16 ? "f16" : "f32",
    storage: "f16",
    repetitions: 1,
  });
  print(
    "profile",
    (gpu.profiler?.rows ?? []).slice(0, 25).map((row) => ({
      label: row.label,
      count: row.count,
      ms: row.nanoseconds / 1e6,
      tflops: row.flops / row.nanoseconds / 1e3,
      gbs: row.bytes / row.nanoseconds,
    })),
  );
  gpu.dispose();
}

async function familiesTable(): Promise<void> {
  const gpu = await openGpu(true);
  const frames = (wanted[1] ?? "3,9,21,41,82").split(",").map(Number);
  const rows = await benchMasks(gpu, {
    frames,
    onlyFastest: 41,
    onRow: (row) => console.log(JSON.stringify(row)),
  });
  gpu.dispose();
  print("families", rows);
}

/** Opens a GPU only when it needs one. */
async function guidance([mode = "", ...args]: readonly string[]): Promise<void> {
  if (mode === "quality") return await guidanceQuality(args);
  print("guided steps", args[0] === "cpu" ? await guidedStepsOnCpu() : await guidedStepsOnGpu());
}

if (wanted[0] === "pin-probe") await holdMemory();
if (wanted[0] === "clip-worker") await clipWorker(wanted.slice(1));
if (wanted[0] === "pins") print("pins", await probePins());
if (wanted[0] === "clips") print("clips", await benchClips(wanted.slice(1)));
if (["pin-probe", "clip-worker", "pins", "clips"].includes(wanted[0] ?? "")) process.exit(0);
if (wanted[0] === "guidance") {
  await guidance(wanted.slice(1));
  process.exit(0);
}
const gpu = await openGpu();
console.log(JSON.stringify(gpu.capabilities));
report["capabilities"] = gpu.capabilities;
gpu.dispose();
if (has("linear")) await linearTable();
if (has("attention")) await attentionTable();
if (has("masks")) await masksTable();
if (has("forward")) await forwardTable();
if (has("profile")) await profileTable();
if (wanted[0] === "families") await familiesTable();
if (wanted[0] === "long") await longVideos(wanted.slice(1));
if (wanted[0] === "searched") await searchedMasks(wanted.slice(1));
releaseDawn();
process.exit(0);
