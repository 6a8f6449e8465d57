// The measures of the long-video study. All settings at all lengths with the first prompt, then with the second: wherever
// the time ends, what there is can be compared. Several processes share the work, since measuring keeps a core busy
// while the GPU waits.
import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { openJudge } from "./judge.ts";
import { mergeParts } from "./long_video_merge.ts";
import { denoiseStudy, measureStudy, type StudyMeasures, type StudyModel } from "./long_video_render.ts";
import { settingByName } from "./long_video_settings.ts";
import type { TimeBox } from "./time_box.ts";

/** One rendered and measured video. */
export interface QualityRow extends Omit<StudyMeasures, "seconds"> {
  readonly setting: string;
  readonly frames: number;
  readonly prompt: number;
  readonly seconds: StudyMeasures["seconds"] & { readonly denoise: number };
}

/** How much to measure. */
export interface QualityOptions {
  /** Folder of the parts' files. */
  readonly out: string;
  readonly lengths: readonly number[];
  readonly names: readonly string[];
  readonly prompts: number;
  readonly box: TimeBox;
}

interface NamedJob {
  readonly name: string;
  readonly frames: number;
  readonly prompt: number;
}

/** Parts are written again this often while they run, as one table. */
const MERGE_SECONDS = 30;

/** Measures one of `parts` equal shares, into `part_I.json`. */
export async function measurePart(
  pipeline: WanPipeline,
  model: StudyModel,
  { part, parts, ...options }: QualityOptions & { part: number; parts: number },
): Promise<void> {
  const { out, box } = options;
  const judge = await openJudge(pipeline.files);
  const rows: QualityRow[] = [];
  let [slowest, leftOut] = [0, 0];
  for (const { name, frames, prompt } of shareOf(allJobs(options), part, parts)) {
    if (!box.fits(frames * slowest)) {
      leftOut++;
      continue;
    }
    const started = performance.now();
    const { latents, seconds } = await denoiseStudy(pipeline, model, {
      setting: settingByName(name),
      frames,
      prompt,
    });
    const found = await measureStudy(pipeline, latents, { frames, prompt, judge });
    const row = { ...found, setting: name, frames, prompt, seconds: { ...found.seconds, denoise: seconds } };
    rows.push(row);
    const pace = (performance.now() - started) / 1000 / frames;
    slowest = rows.length === 1 ? pace : Math.max(0.9 * slowest, pace); // the first one compiles
    writeFileSync(join(out, `part_${part}.json`), JSON.stringify(rows));
    console.log(JSON.stringify({ ...row, thumbnails: undefined }));
  }
  if (leftOut > 0) console.log(`Part ${part}: the time is over, ${leftOut} videos are left out.`);
}

/** Starts `parts` processes of this program, each with `args` (without `parts=`) and its part, and merges what they write. */
export async function measureInParts(
  args: readonly string[],
  { parts, out, model }: { parts: number; out: string; model: StudyModel },
): Promise<void> {
  const [, program = ""] = process.argv;
  const runs = Array.from({ length: parts }, (_, part) => {
    rmSync(join(out, `part_${part}.json`), { force: true }); // of an earlier run
    const child = spawn(process.execPath, [program, "long", "quality", ...args, `part=${part}/${parts}`], {
      stdio: "inherit",
    });
    return new Promise<void>((resolve) => {
      child.on("error", (error) => console.log(`Part ${part} did not start: ${error.message}`));
      child.on("close", (code) => {
        if (code !== 0) console.log(`Part ${part} ended with code ${code}.`);
        resolve();
      });
    });
  });
  const timer = setInterval(() => void mergeParts(out, model), MERGE_SECONDS * 1000);
  await Promise.all(runs);
  clearInterval(timer);
  await mergeParts(out, model);
}

/** By prompt, then the longest first, so that shares come out even. */
function allJobs({ lengths, names, prompts }: QualityOptions): NamedJob[] {
  const longestFirst = lengths.toSorted((a, b) => b - a);
  return Array.from({ length: prompts }, (_, prompt) =>
    longestFirst.flatMap((frames) => names.map((name) => ({ name, frames, prompt }))),
  ).flat();
}

/** Every job in turn goes to the share with the fewest frames so far. */
function shareOf(jobs: readonly NamedJob[], part: number, parts: number): NamedJob[] {
  const loads = Array.from({ length: parts }, () => 0);
  return jobs.filter(({ frames }) => {
    const least = loads.indexOf(Math.min(...loads));
    loads[least] = (loads[least] ?? 0) + frames;
    return least === part;
  });
}
