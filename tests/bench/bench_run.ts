// One run of the benches: what they compute on, how long they may take, and where their figures go.
import { Gpu } from "../../src/gpu/gpu.ts";
import type { BenchRow, BenchTable } from "./bench_row.ts";

/** What the command line says to all benches. */
export interface BenchOptions {
  /** At least 5 for a figure that is worth publishing. */
  readonly repetitions: number;
  /** Sizes that a CPU computes in a moment: to try the benches, not for figures. */
  readonly tiny: boolean;
  /** Latent frames of `masks`; default what the bench says. */
  readonly frames?: readonly number[] | undefined;
  /** `masks` times only the fastest kernel. */
  readonly fastest: boolean;
  /** Each bench begins no new row after this time. */
  readonly limitSeconds: number;
}

/** What benches are run on. */
export type BenchEngine = { readonly name: "webgpu"; readonly gpu: GPU } | { readonly name: "onnx" };

/** Collects rows; each is told as soon as it is there, so that a run that is cut has said something. */
export class BenchRun {
  readonly engine: BenchEngine;
  readonly options: BenchOptions;
  readonly #tables: { readonly bench: string; readonly rows: BenchRow[]; readonly notes: string[] }[] = [];
  readonly #onChange: () => void;
  #deadline = Infinity;

  /** @param onChange called after every row */
  constructor(engine: BenchEngine, options: BenchOptions, onChange: () => void) {
    this.engine = engine;
    this.options = options;
    this.#onChange = onChange;
  }

  get tables(): readonly BenchTable[] {
    return this.#tables;
  }

  /** Whether the bench that is running may begin another row; says so in its notes when it may not. */
  get hasTime(): boolean {
    if (performance.now() < this.#deadline) return true;
    this.note(`Cut after ${this.options.limitSeconds} s (--limit).`);
    return false;
  }

  /** Runs a bench; what it throws becomes a note, so that the others still run. Returns whether it went well. */
  async table(bench: string, body: () => Promise<void>): Promise<boolean> {
    this.#tables.push({ bench, rows: [], notes: [] });
    this.#deadline = performance.now() + 1000 * this.options.limitSeconds;
    try {
      await body();
      return true;
    } catch (error) {
      this.note(`Failed: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }

  /** Adds a row to the bench that is running. */
  add(row: BenchRow): void {
    this.#tables.at(-1)?.rows.push(row);
    const { work, by, variant, precision, milliseconds, teraflops, relativeError } = row;
    const speed = teraflops === undefined ? "" : `  ${teraflops.toPrecision(3)} TFLOP/s`;
    const error = relativeError === undefined ? "" : `  error ${relativeError.toExponential(1)}`;
    const who = by === "weft" ? variant : `${by} ${variant}`;
    this.say(`${work}  ${who}, ${precision}: ${milliseconds.toPrecision(4)} ms${speed}${error}`);
    this.#onChange();
  }

  /** Adds a remark to the table of the bench that is running, once. */
  note(text: string): void {
    const notes = this.#tables.at(-1)?.notes;
    if (notes === undefined || notes.includes(text)) return;
    notes.push(text);
    this.say(text);
    this.#onChange();
  }

  /** Tells people what is going on. */
  say(text: string): void {
    process.stderr.write(`${text}\n`);
  }

  /** Opens the GPU for `use` and closes it afterwards. Its profiler times kernels unless told otherwise. */
  async withGpu<T>(use: (gpu: Gpu) => Promise<T>, { profile = true } = {}): Promise<T> {
    const gpu = await this.openGpu(profile);
    try {
      return await use(gpu);
    } finally {
      gpu.dispose();
    }
  }

  /** As `withGpu`, for those who close it themselves. */
  async openGpu(profile: boolean): Promise<Gpu> {
    if (this.engine.name !== "webgpu") throw new Error("This bench needs WebGPU: --engine webgpu.");
    return await Gpu.open({ gpu: this.engine.gpu, profile });
  }
}
