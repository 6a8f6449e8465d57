// The measures of the long-video study. All settings at all lengths with the first prompt, then with the second: wherever
// the time ends, what there is can be compared. A farm of processes shares the work, since measuring keeps a core busy
// while the GPU waits.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { QualityRow, QualityTask } from "./long_video_worker.ts";
import { type FarmJob, ProcessFarm } from "./process_farm.ts";
import type { TimeBox } from "./time_box.ts";

/** How much to measure. */
export interface QualityOptions {
  /** Folder of `quality.jsonl`, which remembers every video: what it holds is not made again. */
  readonly out: string;
  readonly model: string;
  readonly engine: string;
  readonly processes: number;
  /** See `ProcessFarm`. */
  readonly cards: readonly number[];
  readonly lengths: readonly number[];
  readonly names: readonly string[];
  readonly prompts: number;
  readonly box: TimeBox;
}

/** Measures what the folder lacks until it is complete or the time is over. */
export async function measureQuality(options: QualityOptions): Promise<void> {
  const known = new Set(readRows(options.out).map(keyOf));
  const jobs = allJobs(options).filter((task) => !known.has(keyOf(task)));
  console.log(`${known.size} videos are known, ${jobs.length} are to be made.`);
  if (jobs.length === 0) return;
  await new Promise<void>((resolve, reject) => {
    const queue = new JobQueue(options, jobs, () => {
      farm.close();
      resolve();
    });
    const farm = new ProcessFarm<QualityTask, QualityRow | null>({
      script: [process.argv[1] ?? "", "long", "worker", options.model, options.engine],
      processes: Math.min(options.processes, jobs.length),
      cards: options.cards,
      warmUp: options.engine === "onnx" ? [] : warmUp(options.lengths),
      next: () => queue.next(),
      onEnd: reject,
    });
    farm.start();
  });
}

/** The videos of a folder. */
export function readRows(folder: string): QualityRow[] {
  const file = fileOf(folder);
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split("\n").flatMap(parseLine);
}

function fileOf(folder: string): string {
  return join(folder, "quality.jsonl");
}

/** Nothing for the rest of a line that a killed process left. */
function parseLine(line: string): QualityRow[] {
  try {
    return [JSON.parse(line) as QualityRow];
  } catch {
    return [];
  }
}

function keyOf({ setting, frames, prompt }: QualityTask): string {
  return `${setting} ${frames} ${prompt}`;
}

/** By prompt, then the longest first, so that processes end together. */
function allJobs({ lengths, names, prompts }: QualityOptions): QualityTask[] {
  const longestFirst = lengths.toSorted((a, b) => b - a);
  return Array.from({ length: prompts }, (_, prompt) =>
    longestFirst.flatMap((frames) => names.map((setting) => ({ setting, frames, prompt }))),
  ).flat();
}

/** The kernels of a pass over everything, and of those in pieces with keys at positions of their own. */
function warmUp(lengths: readonly number[]): QualityTask[] {
  const few = Math.min(...lengths, 257);
  const [everything, pieces] = ["full", "coverage, vrpr"];
  const warm = (setting: string, frames: number): QualityTask => ({
    setting,
    frames,
    prompt: 0,
    isWarmUp: true,
  });
  return [warm(everything, few), warm(pieces, few), warm(pieces, Math.min(Math.max(...lengths), 257))];
}

/** Seconds a frame before the first video is known. */
const FIRST_PACE = 0.05;
/** Rows without pictures, except those of the first prompt, of which sheets are made. */
const SHOWN_PROMPT = 0;

/** Gives out the jobs that still end in time, and keeps what comes back. */
class JobQueue {
  readonly #options: QualityOptions;
  readonly #jobs: QualityTask[];
  readonly #onEmpty: () => void;
  #running = 0;
  #pace = FIRST_PACE;

  constructor(options: QualityOptions, jobs: QualityTask[], onEmpty: () => void) {
    this.#options = options;
    this.#jobs = jobs;
    this.#onEmpty = onEmpty;
  }

  next(): FarmJob<QualityTask, QualityRow | null> | undefined {
    const index = this.#jobs.findIndex(({ frames }) => this.#options.box.fits(frames * this.#pace));
    const [task] = index < 0 ? [] : this.#jobs.splice(index, 1);
    if (task === undefined) {
      if (this.#running === 0) this.#end();
      return undefined;
    }
    this.#running++;
    const started = performance.now();
    return {
      task,
      done: (row) => {
        this.#running--;
        this.#pace = Math.max(0.95 * this.#pace, (performance.now() - started) / 1000 / task.frames);
        if (row) this.#keep(row);
      },
      failed: (error) => {
        this.#running--;
        console.error(`${keyOf(task)}: ${error.message}`);
      },
    };
  }

  #keep(row: QualityRow): void {
    const kept = row.prompt === SHOWN_PROMPT ? row : { ...row, thumbnails: "" };
    appendFileSync(fileOf(this.#options.out), `${JSON.stringify(kept)}\n`);
  }

  #end(): void {
    const { length } = this.#jobs;
    if (length > 0) console.log(`The time is over, ${length} videos are left out.`);
    this.#onEmpty();
  }
}
