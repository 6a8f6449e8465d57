// `bench.mjs guidance`: what guidance by attention heads does to weft-nano's videos.
//   guidance study out=DIR [phases=student,base,coherence,times] [seconds=300] [processes=12] [together=8]
//     searches heads, compares guidance on unseen prompts, and decides on coherence guidance. DIR/trials.jsonl remembers every
//     video: the same command goes on where it was, and with seconds=0 it only prints what is known. More: engine=onnx (the
//     CPU), model=DIR, frames=33, samples=16 (prompts of the searches), unseen=100, rounds=2, top=3, steps=15 (of the base
//     model while searching), layers=4,5 (to search in), long=40 (prompts of coherence).
//   guidance steps cpu|gpu [...] (guided_step.ts)
import { writeFileSync } from "node:fs";
import { type ChosenGuidance, compareGuidance } from "./compare_guidance.ts";
import { studyCoherence } from "./coherence.ts";
import { FIRST_UNSEEN } from "./prompts.ts";
import { openStudy, type OptionReader, type Study } from "./study.ts";
import { OutOfTime } from "./trial_farm.ts";
import { runTrialWorker } from "./trial_worker.ts";

/** Parts of a study with the shares of the time at which each must have searched, and have ended. */
const PHASES = {
  student: { searchUntil: 0.4, until: 0.5 },
  base: { searchUntil: 0.65, until: 0.87 },
  coherence: { until: 0.95 },
  times: { until: 1 },
} as const;
const LENGTHS = [
  { numFrames: 65 },
  { numFrames: 65, attention: "long" },
  { numFrames: 129, attention: "long" },
] as const;

/** Runs `study`, or serves one as `worker`. */
export async function guidanceStudy(mode: string, args: readonly string[]): Promise<void> {
  if (mode === "worker") return await runTrialWorker(args);
  await runStudy(
    (name, otherwise) => args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise,
  );
}

async function runStudy(value: OptionReader): Promise<void> {
  const study = await openStudy(value);
  const seconds = Number(value("seconds", "300"));
  const report: Record<string, unknown> = {};
  const chosen: ChosenGuidance[] = [];
  const save = (): void =>
    writeFileSync(`${study.out}/study.json`, `${JSON.stringify(report, undefined, 1)}\n`);
  const phases = value("phases", "student,base,coherence,times").split(",");
  for (const weights of ["student", "base"] as const) {
    if (!phases.includes(weights)) continue;
    const { searchUntil, until } = PHASES[weights];
    const found = await compareGuidance(study, {
      weights,
      searchSteps: Number(value("steps", "15")),
      rounds: Number(value("rounds", "2")),
      top: Number(value("top", "3")),
      searchUntil: seconds * searchUntil,
      until: seconds * until,
    });
    chosen.push(...found.chosen);
    report[weights] = found;
    save();
    tellRate(study);
  }
  if (phases.includes("coherence")) {
    study.farm.endAfter(seconds * PHASES.coherence.until);
    report["coherence"] = await studyCoherence({ ...study, unseen: Number(value("long", "40")) }, LENGTHS);
    save();
    tellRate(study);
  }
  if (phases.includes("times")) {
    study.farm.endAfter(seconds * PHASES.times.until);
    report["times"] = await timesOf(study, chosen);
    console.table(report["times"]);
    save();
  }
  study.farm.close();
}

const TIMED = 4;

/** Seconds a video, one at a time in one process; the first of them, which compiles, is left out. */
async function timesOf(study: Study, chosen: readonly ChosenGuidance[]): Promise<Record<string, unknown>> {
  const times: Record<string, { denoising: number; decoding: number }> = {};
  for (const { name, guidance } of chosen) {
    const seconds: { denoising: number; decoding: number }[] = [];
    try {
      for (let alone = 0; alone <= TIMED; alone++) {
        const { denoising = NaN, decoding = NaN } = await study.measure(guidance, FIRST_UNSEEN + alone, {
          alone,
        });
        if (alone > 0) seconds.push({ denoising, decoding });
      }
    } catch (error) {
      if (!(error instanceof OutOfTime)) throw error;
    }
    if (seconds.length === 0) continue;
    const least = (part: "denoising" | "decoding"): number => Math.min(...seconds.map((each) => each[part]));
    times[`${guidance.weights} ${name}`] = { denoising: least("denoising"), decoding: least("decoding") };
  }
  return times;
}

function tellRate({ farm }: Study): void {
  const { seconds, videos } = farm.progress;
  console.log(`${videos} videos in ${seconds.toFixed(0)} s, ${(videos / seconds).toFixed(1)} a second`);
}
