// `bench.mjs guidance`: what guidance by attention heads does to weft-nano's videos.
//   guidance study out=DIR [phases=student,base,times] [seconds=300] [processes=12] [together=8]
//     searches heads and compares guidance on unseen prompts. DIR/trials.jsonl remembers every
//     video: the same command goes on where it was, and with seconds=0 it only prints what is known. More: engine=onnx (the
//     CPU), model=DIR, frames=33, samples=16 (prompts of the searches, the hardest of candidates=96), unseen=100, rounds=2, top=3, steps=15 (of the base
//     model while searching), layers=4,5 (to search in).
//   guidance steps cpu|gpu [frames=33] [seconds=90] [repetitions=2]: what a guided step costs (guided_step.ts)
import { writeFileSync } from "node:fs";
import { type ChosenGuidance, compareGuidance } from "./compare_guidance.ts";
import { TimeBox } from "../time_box.ts";
import { guidedStepsOnCpu, guidedStepsOnGpu } from "./guided_step.ts";
import { FIRST_UNSEEN } from "./prompts.ts";
import { readableJson } from "../../../src/util/readable_json.ts";
import { openStudy, type OptionReader, type Study } from "./study.ts";
import { OutOfTime } from "./trial_farm.ts";
import { runTrialWorker } from "./trial_worker.ts";

/** Parts of a study and their shares of its time; what a part leaves, the next ones have. */
const PHASES = { student: 0.55, base: 0.4, times: 0.05 } as const;
/** Of a comparison's time, what searching may take. */
const SEARCHING = 0.75;
/** Runs what the arguments ask for, or serves a study as a worker. */
export async function guidance([mode = "", ...args]: readonly string[]): Promise<void> {
  const value: OptionReader = (name, otherwise) =>
    args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  switch (mode) {
    case "worker":
      return await runTrialWorker(args);
    case "study":
      return await runStudy(value);
    case "steps":
      return await timeSteps(args[0] === "gpu", value);
    default:
      throw new Error(`bench guidance knows steps and study, not "${mode}".`);
  }
}

async function timeSteps(onGpu: boolean, value: OptionReader): Promise<void> {
  const options = {
    numLatentFrames: (Number(value("frames", onGpu ? "33" : "17")) - 1) / 4 + 1,
    repetitions: Number(value("repetitions", onGpu ? "2" : "5")),
    time: new TimeBox(Number(value("seconds", "90"))),
  };
  console.table(onGpu ? await guidedStepsOnGpu(options) : await guidedStepsOnCpu(options));
}

async function runStudy(value: OptionReader): Promise<void> {
  const study = await openStudy(value);
  const wanted = value("phases", Object.keys(PHASES).join()).split(",");
  const ends = endsOf(wanted, Number(value("seconds", "300")));
  const report: Record<string, unknown> = {};
  const chosen: ChosenGuidance[] = [];
  const tell = (phase: keyof typeof PHASES, found: unknown): void => {
    report[phase] = found;
    writeFileSync(`${study.out}/study.json`, `${readableJson(report)}\n`);
    const { seconds, videos } = study.farm.progress;
    const rate = (videos / seconds).toFixed(1);
    console.log(`${phase} done: ${videos} videos in ${seconds.toFixed(0)} s, ${rate} a second`);
  };
  for (const weights of ["student", "base"] as const) {
    const end = ends.get(weights);
    if (!end) continue;
    const found = await compareGuidance(study, {
      weights,
      searchSteps: Number(value("steps", "15")),
      rounds: Number(value("rounds", "2")),
      top: Number(value("top", "3")),
      searchUntil: end.begin + SEARCHING * (end.until - end.begin),
      until: end.until,
    });
    chosen.push(...found.chosen);
    tell(weights, found);
  }
  const times = ends.get("times");
  if (times) {
    study.farm.endAfter(times.until);
    const seconds = await timesOf(study, chosen);
    console.table(seconds);
    tell("times", seconds);
  }
  study.farm.close();
}

/** When each of the wanted phases begins at the latest, and ends. */
function endsOf(
  wanted: readonly string[],
  seconds: number,
): Map<string, { readonly begin: number; readonly until: number }> {
  const phases = Object.entries(PHASES).filter(([name]) => wanted.includes(name));
  const total = phases.reduce((sum, [, share]) => sum + share, 0);
  const ends = new Map<string, { begin: number; until: number }>();
  let begin = 0;
  for (const [name, share] of phases) {
    const until = begin + (seconds * share) / total;
    ends.set(name, { begin, until });
    begin = until;
  }
  return ends;
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
