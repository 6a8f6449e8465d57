// A measured figure, the same for our kernels and for those we are compared with.

/** What numbers are multiplied: f32, 16 bits (f16 and bf16), or weights of 8 bits. */
export type Precision = "f32" | "f16" | "int8";

/** One line of a table. */
export interface BenchRow {
  /** What was computed, in the same words whoever computed it: "linear 32760x1536x8960". */
  readonly work: string;
  readonly by: "weft" | "onnxruntime-web" | "pytorch";
  /** The kernel or function, and what is special about it. */
  readonly variant: string;
  readonly precision: Precision;
  /** Timestamps on the GPU around the work, or the wall clock around work that was queued behind other such work. */
  readonly clock: "gpu" | "wall";
  /** Median. */
  readonly milliseconds: number;
  readonly repetitions: number;
  readonly teraflops?: number | undefined;
  /** L2 of the difference to f64 on sampled rows, over the L2 of the result. */
  readonly relativeError?: number | undefined;
  /** What only this bench has to say: its own columns. */
  readonly details?: Readonly<Record<string, string | number>> | undefined;
}

/** The table that a bench's rows belong to. */
export interface BenchTable {
  readonly bench: string;
  readonly rows: readonly BenchRow[];
  /** What could not be measured, and why. */
  readonly notes: readonly string[];
}
