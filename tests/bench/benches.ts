// The benches that `npm run bench` runs, in order. Studies, which print their own tables, are in studies.ts.
import { benchAttention } from "./attention.ts";
import type { BenchEngine, BenchRun } from "./bench_run.ts";
import { benchForward, benchProfile } from "./forward.ts";
import { benchLinear } from "./linear.ts";
import { benchMasks, type MaskBenchRow } from "./masks.ts";
import { benchNanoForward, benchRender } from "./nano.ts";
import { benchPeers } from "./peers/peers.ts";
import { benchTiles } from "./tune.ts";

/** A named bench. */
export interface Bench {
  readonly name: string;
  readonly description: string;
  /** What it takes on an H200 and on two CPU cores; a bench without a time for an engine does not run there. */
  readonly seconds: { readonly webgpu?: number; readonly onnx?: number };
  /** Whether it runs when nobody names a bench. */
  readonly isDefault: boolean;
  readonly measure: (run: BenchRun) => Promise<void>;
}

/** All of them. */
export const BENCHES: readonly Bench[] = [
  {
    name: "linear",
    description: "linear layers of the 1.3B transformer and of weft-nano, every kernel",
    seconds: { webgpu: 60 },
    isDefault: true,
    measure: benchLinear,
  },
  {
    name: "attention",
    description: "dense attention of both, every kernel",
    seconds: { webgpu: 25 },
    isDefault: true,
    measure: benchAttention,
  },
  {
    name: "tune",
    description: "every tile of every kernel of linear layers at the largest shape of the 1.3B transformer",
    seconds: { webgpu: 60 },
    isDefault: false,
    measure: benchTiles,
  },
  {
    name: "masks",
    description: "mask families x 4,680 to 127,920 tokens x kernels, and time against density",
    seconds: { webgpu: 270 },
    isDefault: true,
    measure: measureMasks,
  },
  {
    name: "forward",
    description: "one forward pass: 1.3B with random weights; on the CPU weft-nano by plan",
    seconds: { webgpu: 90, onnx: 60 },
    isDefault: true,
    measure: async (run) =>
      run.engine.name === "webgpu" ? await benchForward(run) : await benchNanoForward(run),
  },
  {
    name: "profile",
    description: "GPU time of one 1.3B pass at 81 frames by kernel",
    seconds: { webgpu: 20 },
    isDefault: true,
    measure: benchProfile,
  },
  {
    name: "render",
    description: "whole renders of weft-nano, by stage",
    seconds: { webgpu: 15, onnx: 40 },
    isDefault: true,
    measure: benchRender,
  },
  {
    name: "peers",
    description: "onnxruntime-web's WebGPU kernels on the same device and operands, beside ours",
    seconds: { webgpu: 150 },
    isDefault: true,
    measure: benchPeers,
  },
];

/** The benches of these names that run on an engine; without names the default ones. Throws for unknown names. */
export function chooseBenches(names: readonly string[], engine: BenchEngine["name"]): Bench[] {
  const unknown = names.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) {
    const known = BENCHES.map(({ name }) => name).join(", ");
    throw new Error(`There is no bench ${unknown.join(", ")}; there are ${known}.`);
  }
  return BENCHES.filter(({ name, isDefault, seconds }) => {
    const isWanted = names.length === 0 ? isDefault : names.includes(name);
    return isWanted && (names.length > 0 || seconds[engine] !== undefined);
  });
}

async function measureMasks(run: BenchRun): Promise<void> {
  const { tiny, repetitions, fastest, frames = tiny ? [3] : [3, 9, 21, 41, 82] } = run.options;
  await run.withGpu(async (gpu) => {
    await benchMasks(gpu, {
      frames,
      onlyFastest: fastest,
      repetitions,
      ...(tiny && { tokensPerFrame: 20, heads: 2, headDim: 32 }),
      hasTime: () => run.hasTime,
      onRow: (row) => run.add(maskRow(row, repetitions)),
    });
  });
}

function maskRow(row: MaskBenchRow, repetitions: number): Parameters<BenchRun["add"]>[0] {
  const { tokens, kernel, mask, milliseconds, teraflops, relativeError } = row;
  const [variant = "", dtype] = kernel.split(" ");
  return {
    work: `masked attention, ${tokens} tokens, ${mask}`,
    by: "weft",
    variant,
    precision: dtype === "f16" ? "f16" : "f32",
    clock: "gpu",
    milliseconds,
    repetitions,
    teraflops,
    relativeError,
    details: {
      density: `${(100 * row.density).toFixed(1)} %`,
      GB: row.gigabytes.toFixed(1),
      "time / density": row.timeOverDensity.toFixed(2),
    },
  };
}
