// Mask family x tokens x kernel, in the shape of LongCA-bench: TFLOP/s, bytes asked for, error against f64, and time
// against dense time in proportion to density. 12 heads x 128, frames of 1,560 tokens (480 x 832), as the 1.3B model's.
import { resolveRule } from "../../src/attention/frame_rules.ts";
import { type AttentionPlan, ruleOf } from "../../src/attention/plan.ts";
import { dualScope, full, radial, tile } from "../../src/attention/plan_constructors.ts";
import { passLists } from "../../src/attention/rule_lists.ts";
import {
  freeTileLists,
  keyRowCount,
  scoreCount,
  type TileLists,
  uploadTileLists,
} from "../../src/attention/tile_lists.ts";
import type { Gpu } from "../../src/gpu/gpu.ts";
import { readBuffer } from "../../src/gpu/readback.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { attention, type AttentionVariant } from "../../src/ops/attention.ts";
import { hasMatrixUnits } from "../../src/ops/matrix_units.ts";
import { createTensor, dtypeBytes, freeTensor, type Tensor, uploadTensor } from "../../src/tensor/tensor.ts";
import { f16ArrayFromF32, f32ArrayFromF16 } from "../../src/util/half.ts";
import { medianGpuTime, warmUp } from "./median.ts";

/** A measured mask. */
export interface MaskBenchRow {
  readonly tokens: number;
  readonly kernel: string;
  readonly mask: string;
  /** Computed share of all logits. */
  readonly density: number;
  readonly milliseconds: number;
  readonly teraflops: number;
  /** What the query tiles ask for: q and out once, k and v once for each query tile. */
  readonly gigabytes: number;
  /** Of sampled rows against f64. */
  readonly relativeError: number;
  /** Time over (density x time of full attention): 1 is perfect skipping. */
  readonly timeOverDensity: number;
}

/** How much to measure. */
export interface MaskBenchOptions {
  /** Latent frames of each size. */
  readonly frames: readonly number[];
  /** Only the adapter's fastest kernel. */
  readonly onlyFastest: boolean;
  readonly tokensPerFrame?: number;
  readonly heads?: number;
  readonly headDim?: number;
  /** Default 5. */
  readonly repetitions?: number;
  /** Asked before every row; default always. */
  readonly hasTime?: () => boolean;
  readonly onRow?: (row: MaskBenchRow) => void;
}

interface Kernel {
  readonly variant: AttentionVariant;
  readonly dtype: "f32" | "f16";
}

interface Problem extends Required<Pick<MaskBenchOptions, "tokensPerFrame" | "heads" | "headDim">> {
  readonly frames: number;
}

/** Every kernel's masks at a size, in order; "full" comes once more, to show that the clocks were steady. */
const MASKS: readonly (readonly [string, AttentionPlan])[] = [
  ["full", full()],
  ["tile 1", tile(1)],
  ["tile 2", tile(2)],
  ["tile 3", tile(3)],
  ["tile 4", tile(4)],
  ["tile 5", tile(5)],
  ["tile 6", tile(6)],
  ["dual-scope 3, 4", dualScope({ window: 3, anchors: 4 })],
  ["dual-scope 2, 4", dualScope({ window: 2, anchors: 4 })],
  ["radial", radial()],
  ["radial 0.5", radial({ density: 0.5 })],
  ["full again", full()],
];
/** Frames of different numbers; longer videos repeat them, which costs nothing to make and changes no time. */
const DISTINCT_FRAMES = 3;
const SAMPLES = 6;
/** Before a kernel's first mask: a GPU that idled while JavaScript made its operands needs that long for its clocks. */
const WARM_UP_MS = 2000;

/** Times all masks at all sizes, kernel by kernel. The GPU must have been opened with `profile`. */
export async function benchMasks(gpu: Gpu, options: MaskBenchOptions): Promise<MaskBenchRow[]> {
  const { tokensPerFrame = 1560, heads = 12, headDim = 128, repetitions = 5, hasTime, onRow } = options;
  const rows: MaskBenchRow[] = [];
  const kernels = options.onlyFastest ? kernelsOf(gpu).slice(0, 1) : kernelsOf(gpu);
  for (const kernel of kernels) {
    for (const frames of options.frames) {
      if (hasTime?.() === false) return rows;
      const operands = new Operands(gpu, { frames, tokensPerFrame, heads, headDim }, kernel.dtype);
      let dense: MaskBenchRow | undefined;
      for (const mask of MASKS) {
        if (hasTime?.() === false) break;
        const row = await timeMask(gpu, operands, { mask, kernel, dense, repetitions });
        dense ??= row;
        rows.push(row);
        onRow?.(row);
      }
      operands.dispose();
    }
  }
  return rows;
}

/** The adapter's kernels, the fastest first and the one with f16 products last. */
function kernelsOf({ capabilities }: Gpu): Kernel[] {
  const variant = capabilities.software ? "direct" : "tiled";
  return [
    ...(hasMatrixUnits(capabilities) ? [{ variant: "subgroup_matrix", dtype: "f16" } as const] : []),
    { variant, dtype: "f32" },
    ...(capabilities.f16
      ? [{ variant: capabilities.software ? "direct" : "f16", dtype: "f16" } as const]
      : []),
  ];
}

async function timeMask(
  gpu: Gpu,
  operands: Operands,
  {
    mask: [mask, plan],
    kernel,
    dense,
    repetitions,
  }: {
    mask: readonly [string, AttentionPlan];
    kernel: Kernel;
    dense: MaskBenchRow | undefined;
    repetitions: number;
  },
): Promise<MaskBenchRow> {
  const { problem } = operands;
  const { frames, tokensPerFrame, heads, headDim } = problem;
  const lists = listsOf(plan, problem);
  const tiles = uploadTileLists(gpu, lists, "bench");
  const tokens = frames * tokensPerFrame;
  const launch = async (use?: (out: Tensor) => Promise<void>): Promise<void> => {
    const recorder = new Recorder(gpu, mask);
    const { out } = attention(recorder, { ...operands.tensors, tiles, heads, variant: kernel.variant });
    recorder.keep(out.buffer);
    await recorder.submit();
    await use?.(out);
    freeTensor(gpu, out);
  };
  let relativeError = NaN;
  await launch(async (out) => {
    relativeError = await operands.sampleError(out, lists);
  });
  if (dense === undefined) await warmUp(launch, WARM_UP_MS);
  const milliseconds = await medianGpuTime(gpu, repetitions, launch);
  freeTileLists(gpu, tiles);
  const density = scoreCount(lists) / tokens ** 2;
  const bytes = (2 * tokens + 2 * keyRowCount(lists)) * heads * headDim * dtypeBytes(kernel.dtype);
  return {
    tokens,
    kernel: `${kernel.variant} ${kernel.dtype}`,
    mask,
    density,
    milliseconds,
    teraflops: (4 * heads * headDim * density * tokens ** 2) / milliseconds / 1e9,
    gigabytes: bytes / 1e9,
    relativeError,
    timeOverDensity: dense === undefined ? 1 : milliseconds / dense.milliseconds / density,
  };
}

/** The plan's lists in the middle of a render, one for all heads. */
function listsOf(plan: AttentionPlan, { frames: numFrames, tokensPerFrame }: Problem): TileLists {
  const moment = { numFrames, layer: 0, step: 1, timestep: 700 };
  const rule = resolveRule(ruleOf(plan, { layer: 0, head: 0 }), moment);
  const [pass] = passLists([rule], { numFrames, tokensPerFrame });
  if (pass === undefined) throw new Error("The plan has no pass.");
  return pass.tiles;
}

/** q, k and v: a few frames of noise, repeated on the GPU. */
class Operands {
  readonly problem: Problem;
  readonly tensors: { readonly q: Tensor; readonly k: Tensor; readonly v: Tensor };
  readonly #gpu: Gpu;
  readonly #values: Readonly<Record<"q" | "k" | "v", Float32Array>>;
  readonly #sources: Tensor[] = [];
  readonly #ready: Promise<void>;

  constructor(gpu: Gpu, problem: Problem, dtype: "f32" | "f16") {
    this.#gpu = gpu;
    this.problem = problem;
    const width = problem.heads * problem.headDim;
    const count = DISTINCT_FRAMES * problem.tokensPerFrame * width;
    const make = (seed: number): Float32Array => {
      const values = noise(count, seed);
      return dtype === "f16" ? f32ArrayFromF16(f16ArrayFromF32(values)) : values;
    };
    this.#values = { q: make(1), k: make(2), v: make(3) };
    const recorder = new Recorder(gpu, "operands");
    const spread = (label: "q" | "k" | "v"): Tensor => {
      const spec = { label, dtype, shape: [problem.frames * problem.tokensPerFrame, width] };
      const shape = [DISTINCT_FRAMES * problem.tokensPerFrame, width];
      const source = uploadTensor(gpu, { label, dtype, shape }, this.#values[label]);
      const target = createTensor(gpu, spec);
      const frameBytes = problem.tokensPerFrame * width * dtypeBytes(dtype);
      for (let frame = 0; frame < problem.frames; frame++) {
        const offset = (frame % DISTINCT_FRAMES) * frameBytes;
        recorder.copy(
          { buffer: source.buffer, offset, size: frameBytes },
          { buffer: target.buffer, offset: frame * frameBytes },
        );
      }
      this.#sources.push(source);
      return target;
    };
    this.tensors = { q: spread("q"), k: spread("k"), v: spread("v") };
    this.#ready = recorder.submit();
  }

  dispose(): void {
    for (const tensor of [...Object.values(this.tensors), ...this.#sources]) freeTensor(this.#gpu, tensor);
    this.#gpu.memory.trim();
  }

  /** Relative L2 error of sampled rows and heads of `out` against f64 over the keys of their lists. */
  async sampleError(out: Tensor, { queries, lists }: TileLists): Promise<number> {
    await this.#ready;
    const { heads, headDim } = this.problem;
    let [difference, norm] = [0, 0];
    for (let sample = 0; sample < SAMPLES; sample++) {
      const tileIndex = (sample * 7919) % queries.length;
      const query = (queries[tileIndex]?.start ?? 0) + (sample % (queries[tileIndex]?.rows ?? 1));
      const head = sample % heads;
      const wanted = this.#attend(query, head, lists[0]?.[tileIndex] ?? []);
      const offset = (query * heads + head) * headDim * dtypeBytes(out.dtype);
      const bytes = await readBuffer(this.#gpu, {
        buffer: out.buffer,
        offset,
        size: headDim * dtypeBytes(out.dtype),
      });
      const found = out.dtype === "f16" ? f32ArrayFromF16(new Uint16Array(bytes)) : new Float32Array(bytes);
      wanted.forEach((value, d) => {
        difference += ((found[d] ?? NaN) - value) ** 2;
        norm += value ** 2;
      });
    }
    return Math.sqrt(difference / norm);
  }

  #attend(query: number, head: number, keys: readonly { start: number; rows: number }[]): Float64Array {
    const { headDim } = this.problem;
    const q = this.#row("q", query, head);
    const rows = keys.flatMap(({ start, rows: count }) => Array.from({ length: count }, (_, i) => start + i));
    const logits = rows.map((row) => {
      const k = this.#row("k", row, head);
      let sum = 0;
      for (let d = 0; d < headDim; d++) sum += (q[d] ?? 0) * (k[d] ?? 0);
      return sum / Math.sqrt(headDim);
    });
    const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const out = new Float64Array(headDim);
    let total = 0;
    rows.forEach((row, index) => {
      const weight = Math.exp((logits[index] ?? 0) - largest);
      total += weight;
      const v = this.#row("v", row, head);
      for (let d = 0; d < headDim; d++) out[d] = (out[d] ?? 0) + weight * (v[d] ?? 0);
    });
    return out.map((value) => value / total);
  }

  /** A head's row of the noise that lies there. */
  #row(name: "q" | "k" | "v", row: number, head: number): Float32Array {
    const { heads, headDim, tokensPerFrame } = this.problem;
    const start = ((row % (DISTINCT_FRAMES * tokensPerFrame)) * heads + head) * headDim;
    return this.#values[name].subarray(start, start + headDim);
  }
}

function noise(length: number, seed: number): Float32Array {
  const data = new Float32Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    data[i] = 1.7 * (state / 2 ** 31 - 1);
  }
  return data;
}
