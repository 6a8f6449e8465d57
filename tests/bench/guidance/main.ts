// `bench.mjs guidance`: what guidance by attention heads does to weft-nano's videos.
//   guidance study out=DIR [phases=search,table,rounds,times] [weights=student,base] [seconds=300] [processes=14] [cards=0,1]
//     search: heads and layers, on prompts of their own, into DIR/heads; table: all kinds of guidance on unseen prompts;
//     rounds: greedy rounds and halving against the full search; times: seconds a video, one at a time.
//     DIR/trials.jsonl remembers every video: the same command goes on where it was, and with seconds=0 it only prints what
//     is known. Processes are pinned to the `cards`; without them all are on the first. More: engine=onnx (the CPU, one
//     thread a process), model=DIR, judge=gpu, together=8 (videos in one run), frames=33, samples=16 (prompts of the
//     searches, the hardest of candidates=96), unseen=100, rounds=2, steps=15 (of the base model while searching),
//     layers=4,5 (to search in).
//   guidance steps cpu|gpu [frames=33] [seconds=90] [repetitions=2]: what a guided step costs (guided_step.ts)
import { mkdirSync, writeFileSync } from "node:fs";
import { compareGuidance, type Setting, settingsOf } from "./compare_guidance.ts";
import { TimeBox } from "../time_box.ts";
import { type GuidanceChoice, OBJECTIVES, plainGuidance, searchGuidance } from "./guidance_search.ts";
import { guidedStepsOnCpu, guidedStepsOnGpu } from "./guided_step.ts";
import { type GreedyRow, studyRounds } from "./head_study.ts";
import { FIRST_UNSEEN } from "./prompts.ts";
import { readableJson } from "../../../src/util/readable_json.ts";
import { openStudy, type OptionReader, type Study } from "./study.ts";
import { OutOfTime } from "./trial_farm.ts";
import { runTrialWorker } from "./trial_worker.ts";

/** Phases of a study and when each ends, as shares of its time; what a phase leaves, the next ones have. */
const PHASE_ENDS = { search: 0.5, table: 0.8, rounds: 0.9, times: 1 } as const;
type Phase = keyof typeof PHASE_ENDS;
type Weights = "student" | "base";

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
  mkdirSync(study.out, { recursive: true });
  const seconds = Number(value("seconds", "300"));
  const steps = Number(value("steps", "15"));
  const models = value("weights", "student,base")
    .split(",")
    .map((name): Weights => (name === "base" ? "base" : "student"));
  const wanted = value("phases", Object.keys(PHASE_ENDS).join()).split(",");
  const report: Record<string, unknown> = {};
  const tell = (name: string, found: unknown): void => {
    report[name] = found;
    writeFileSync(`${study.out}/study.json`, `${readableJson(report)}\n`);
    const { seconds: now, videos } = study.farm.progress;
    console.log(
      `${name} done: ${videos} videos in ${now.toFixed(0)} s, ${(videos / now).toFixed(1)} a second`,
    );
  };
  /** Whether the phase is wanted; its time begins. `part`: of the phase's share. */
  const begins = (phase: Phase, part = 1): boolean => {
    const before = {
      search: 0,
      table: PHASE_ENDS.search,
      rounds: PHASE_ENDS.table,
      times: PHASE_ENDS.rounds,
    };
    study.farm.endAfter(seconds * (before[phase] + part * (PHASE_ENDS[phase] - before[phase])));
    return wanted.includes(phase);
  };
  const settings = new Map<Weights, readonly Setting[]>();
  const choices = new Map<Weights, GuidanceChoice>();
  // The choice is needed by all phases: what is known of it costs no time.
  for (const [index, weights] of models.entries()) {
    if (!begins("search", (index + 1) / models.length)) study.farm.endAfter(0);
    const choice = await unlessOutOfTime(`the search, ${weights}`, () =>
      searchGuidance(study, plainGuidance(weights, steps)),
    );
    if (choice) choices.set(weights, choice);
    settings.set(weights, settingsOf(study, weights, choice ?? { heads: {}, layers: {} }));
    tell(`search, ${weights}`, choice);
  }
  if (begins("table")) tell("table", await compareGuidance(study, settings));
  if (begins("rounds"))
    tell("rounds", await allRounds(study, choices, { steps, rounds: Number(value("rounds", "2")) }));
  if (begins("times")) tell("times", await timesOf(study, settings));
  study.farm.close();
}

/** Greedy rounds for quality in every model. */
async function allRounds(
  study: Study,
  choices: ReadonlyMap<Weights, GuidanceChoice>,
  { steps, rounds }: { steps: number; rounds: number },
): Promise<Record<string, GreedyRow>> {
  const rows: Record<string, GreedyRow> = {};
  for (const [weights, { prompts }] of choices) {
    const options = { name: `${weights}, greedy`, ...OBJECTIVES.quality, prompts, rounds };
    const guided = { ...options, guidance: plainGuidance(weights, steps) };
    const row = await unlessOutOfTime(options.name, () => studyRounds(study, guided));
    if (row) rows[weights] = row;
  }
  console.table(rows);
  return rows;
}

const TIMED = 2;

/** Seconds a video, one at a time in one process; the first of them, which compiles, is left out. */
async function timesOf(
  study: Study,
  byWeights: ReadonlyMap<Weights, readonly Setting[]>,
): Promise<Record<string, unknown>> {
  const times: Record<string, { denoising: number; decoding: number }> = {};
  for (const [weights, settings] of byWeights) {
    for (const { name, guidance: guided } of settings) {
      const seconds: { denoising: number; decoding: number }[] = [];
      await unlessOutOfTime(`times of ${weights}, ${name}`, async () => {
        for (let alone = 0; alone <= TIMED; alone++) {
          const { denoising = NaN, decoding = NaN } = await study.measure(guided, FIRST_UNSEEN + alone, {
            alone,
          });
          if (alone > 0) seconds.push({ denoising, decoding });
        }
      });
      if (seconds.length === 0) continue;
      const least = (part: "denoising" | "decoding"): number =>
        Math.min(...seconds.map((each) => each[part]));
      times[`${weights}, ${name}`] = { denoising: least("denoising"), decoding: least("decoding") };
    }
  }
  console.table(times);
  return times;
}

async function unlessOutOfTime<T>(name: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof OutOfTime)) throw error;
    console.log(`${name}: left out, time was over`);
    return undefined;
  }
}
