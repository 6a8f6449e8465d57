// What a guidance study works with: the prompts, the farm that measures videos of them, and where results go.
import type { Head } from "../../../src/guiders/head_search.ts";
import { perturbationOf } from "../../../src/guiders/head_selection.ts";
import { type ModelFiles, openModel, readTransformerConfig } from "../../../src/pipelines/model_files.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { parseCards } from "../process_farm.ts";
import { type Trial, type TrialGuidance, TrialStore, type Values } from "./trial.ts";
import { OutOfTime, TrialFarm } from "./trial_farm.ts";

/** Options of the command line, as NAME=VALUE. */
export type OptionReader = (name: string, otherwise: string) => string;

/** A study. */
export interface Study {
  readonly files: ModelFiles;
  readonly farm: TrialFarm;
  /** Folder of the results. */
  readonly out: string;
  /** Frames of the videos. */
  readonly numFrames: number;
  /** All heads, or those of the layers that are asked for. */
  readonly pool: readonly Head[];
  readonly layers: number;
  /** Prompts of the searches: the hardest of the first `candidates`. */
  readonly samples: number;
  readonly candidates: number;
  /** Prompts that only evaluate, from `FIRST_UNSEEN`. */
  readonly unseen: number;
  /** Measures a video of prompt `prompt`. */
  readonly measure: (guidance: TrialGuidance, prompt: number, more?: Partial<Trial>) => Promise<Values>;
}

/** What compiles all kernels of the study: few steps of every kind of pass. */
const WARM_UP: readonly TrialGuidance[] = [
  {
    weights: "student",
    perturbed: { scale: 1, perturbation: perturbationOf({ heads: [{ layer: 0, head: 0 }] }, 0.5) },
  },
  {
    weights: "base",
    steps: 2,
    cfg: 2,
    perturbed: { scale: 1, perturbation: { kind: "skipped_blocks", layers: [1] } },
  },
];

/** Opens a study; the head of main.ts says the options. */
export async function openStudy(value: OptionReader): Promise<Study> {
  const model = value("model", "models/weft-nano");
  const out = value("out", "dist/guidance");
  const files = await openModel(openFolderSource(model));
  const { num_layers: layers, num_attention_heads: heads } = await readTransformerConfig(
    files,
    "transformer",
  );
  const wanted = value("layers", "");
  const searched =
    wanted === "" ? Array.from({ length: layers }, (_, i) => i) : wanted.split(",").map(Number);
  const numFrames = Number(value("frames", String(files.settings.numFrames)));
  const store = new TrialStore(`${out}/trials.jsonl`);
  const farm = new TrialFarm({
    model,
    engine: value("engine", "webgpu"),
    judge: value("judge", "cpu"),
    processes: Number(value("processes", "14")),
    cards: parseCards(value("cards", "")),
    together: Number(value("together", "8")),
    warmUp: WARM_UP.map((guidance) => [0, 1].map((prompt) => ({ guidance, numFrames, prompt }))),
    store,
  });
  console.log(`${store.size} videos are known`);
  return {
    files,
    farm,
    out,
    numFrames,
    layers,
    pool: searched.flatMap((layer) => Array.from({ length: heads }, (_, head) => ({ layer, head }))),
    samples: Number(value("samples", "16")),
    candidates: Number(value("candidates", "96")),
    unseen: Number(value("unseen", "100")),
    measure: (guidance, prompt, more) => farm.measure({ guidance, numFrames, prompt, ...more }),
  };
}

/**
 * The prompts to search with: those of the candidates whose plain videos the judge likes least. It finds nothing wrong with
 * most, and then they say nothing of what a head is good for. That chance makes some of them look hard lifts all heads alike.
 */
export async function searchPrompts(study: Study, plain: TrialGuidance): Promise<number[]> {
  const candidates = Array.from({ length: study.candidates }, (_, prompt) => prompt);
  const scored = await Promise.all(
    candidates.map(async (prompt) => ({ prompt, total: (await study.measure(plain, prompt))["total"] ?? 0 })),
  );
  const hardest = scored.toSorted((a, b) => a.total - b.total).slice(0, study.samples);
  return hardest.map(({ prompt }) => prompt);
}

/** What was measured of several guidances. */
export interface Grid {
  /** By guidance, in the order in which they were given, then by prompt; without those that time was too short for. */
  readonly values: readonly ReadonlyMap<number, Values>[];
  /** Prompts that all of them were measured on. */
  readonly complete: readonly number[];
}

/** Prompts that a grid goes on with once all guidances have them: as many as one process renders together. */
const PROMPTS_AT_ONCE = 8;

/** Measures every guidance on every prompt, some prompts with all of them before the next: so a stop leaves fair comparisons. */
export async function measureGrid(
  study: Pick<Study, "measure">,
  guidances: readonly TrialGuidance[],
  prompts: readonly number[],
): Promise<Grid> {
  const values = guidances.map(() => new Map<number, Values>());
  const measured: Promise<void>[] = [];
  for (let first = 0; first < prompts.length; first += PROMPTS_AT_ONCE) {
    for (const [index, guidance] of guidances.entries()) {
      for (const prompt of prompts.slice(first, first + PROMPTS_AT_ONCE)) {
        const keep = (found: Values): void => void values[index]?.set(prompt, found);
        measured.push(study.measure(guidance, prompt).then(keep, leaveOut));
      }
    }
  }
  await Promise.all(measured);
  return { values, complete: prompts.filter((prompt) => values.every((each) => each.has(prompt))) };
}

function leaveOut(error: unknown): void {
  if (!(error instanceof OutOfTime)) console.error(String(error));
}
