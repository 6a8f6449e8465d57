// Where the seconds of workers' steps go: spans that a worker process collects and leaves in a file after every step, which
// the bench reads when a case is over.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Profiler, ProfileRow } from "../../../src/gpu/profiler.ts";
import type { ClipComputer } from "../../../src/parallel/clip_worker.ts";
import type { Span } from "../../../src/util/span.ts";
import { TraceEvents } from "../../../src/util/trace_events.ts";
import { wallClock } from "../../../src/util/wall_clock.ts";
import { median } from "../median.ts";

/** What a worker did, and when its steps ended; milliseconds since 1970. */
export interface WorkerSpans {
  readonly spans: readonly Span[];
  /** When its part began, then of every step. */
  readonly ends: readonly number[];
  /** GPU time of all steps by kernel and kind of copy, the slowest first; with `profile` only. */
  readonly kernels?: readonly ProfileRow[] | undefined;
}

/**
 * Milliseconds of a step; what goes on at the same time is in several of them. "gpu": something is on the queue and runs.
 * "idle": nothing is. "readback": from the submission of a read, so with the computing in front of it. "write": of parcels.
 * "wait": for peers' messages. "read": of parcels, into memory that the GPU reads.
 */
export type StepTimes = Record<"step" | "gpu" | "idle" | (typeof NAMES)[number], number>;

const NAMES = ["encode", "readback", "write", "wait", "read"] as const;

/** Folder of the files, for worker processes. */
const VARIABLE = "WEFT_CLIPS_SPANS";

/** Makes the folder that worker processes will find. */
export function openSpans(): void {
  process.env[VARIABLE] ??= mkdtempSync(join(tmpdir(), "weft-spans-"));
}

/** Takes the folder away. */
export function closeSpans(): void {
  rmSync(process.env[VARIABLE] ?? "", { recursive: true, force: true });
}

/** What so many workers have left of the last case; of those that left something. */
export function readSpans(workers: number): WorkerSpans[] {
  return Array.from({ length: workers }, (_, index) => fileOf(String(index))).flatMap((file) =>
    existsSync(file) ? [JSON.parse(readFileSync(file, "utf8")) as WorkerSpans] : [],
  );
}

/** Collects a worker's spans. */
export class SpanLog {
  readonly #index: string;
  #spans: Span[] = [];
  #ends: number[] = [];

  constructor(index: string) {
    this.#index = index;
  }

  /** Takes a span; bound, for listeners. */
  readonly add = (span: Span): void => void this.#spans.push(span);

  /** A computer whose exchanges and steps are logged. */
  watch(computer: ClipComputer, profiler: Profiler | undefined): ClipComputer {
    return {
      ...computer,
      keys: { ...computer.keys, onSpan: this.add },
      run: async (work) => {
        [this.#spans, this.#ends] = [[], [wallClock()]];
        profiler?.reset();
        await computer.run({
          ...work,
          onStep: async (state) => {
            this.#ends.push(wallClock());
            this.#write(profiler?.rows);
            await work.onStep(state);
          },
        });
      },
    };
  }

  #write(kernels: readonly ProfileRow[] | undefined): void {
    const log: WorkerSpans = { spans: this.#spans, ends: this.#ends, kernels };
    const file = fileOf(this.#index);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, JSON.stringify(log));
  }
}

function fileOf(index: string): string {
  return join(process.env[VARIABLE] ?? tmpdir(), `${index}.json`);
}

/** Medians over the steps after the first `skipped`. */
export function stepTimes({ spans, ends }: WorkerSpans, skipped: number): StepTimes {
  const steps = ends.slice(1).map((end, step) => ({ start: ends[step] ?? end, end }));
  const counted = steps.slice(Math.min(skipped, steps.length - 1));
  const of = (name: string): number =>
    median(
      counted.map((step) =>
        coveredMs(
          spans.filter((span) => span.name === name),
          step,
        ),
      ),
    );
  const step = median(counted.map(({ start, end }) => end - start));
  const times = Object.fromEntries(NAMES.map((name) => [name, of(name)])) as Record<
    (typeof NAMES)[number],
    number
  >;
  const gpu = of("gpu");
  return { step, gpu, idle: step - gpu, ...times };
}

/** How much of a stretch of time spans cover, those that overlap counted once. */
export function coveredMs(
  spans: readonly Pick<Span, "start" | "end">[],
  stretch: Pick<Span, "start" | "end">,
): number {
  let sum = 0;
  let until = stretch.start;
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    const [from, to] = [Math.max(start, until), Math.min(end, stretch.end)];
    if (to <= from) continue;
    sum += to - from;
    until = to;
  }
  return sum;
}

/** A timeline for ui.perfetto.dev: a row for each worker and kind of span. */
export function traceOf(
  cases: readonly { readonly name: string; readonly workers: readonly WorkerSpans[] }[],
): string {
  const trace = new TraceEvents();
  const beganAt = Math.min(...cases.flatMap(({ workers }) => workers.flatMap(({ ends }) => ends[0] ?? [])));
  for (const { name, workers } of cases) {
    workers.forEach(({ spans, ends }, index) => {
      ends.slice(1).forEach((end, step) => {
        const at = (ends[step] ?? end) - beganAt;
        trace.box({ name: `${name}, step ${step + 1}`, row: `worker ${index}`, at }, end - beganAt);
      });
      for (const { name: kind, start, end } of spans) {
        trace.box({ name: kind, row: `worker ${index}: ${kind}`, at: start - beganAt }, end - beganAt);
      }
    });
  }
  return trace.toJson();
}
