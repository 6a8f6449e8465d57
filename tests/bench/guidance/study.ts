// What a guidance study works with: the prompts, the farm that measures videos of them, and where results go.
import type { Head } from "../../../src/guiders/head_search.ts";
import { type ModelFiles, openModel, readTransformerConfig } from "../../../src/pipelines/model_files.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { FIRST_UNSEEN } from "./prompts.ts";
import { type SettingResults } from "./intervals.ts";
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

/** Opens a study: options `model`, `engine`, `processes`, `together`, `out`, `frames`, `layers`, `samples`, `candidates`, `unseen`. */
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
  const store = new TrialStore(`${out}/trials.jsonl`);
  const farm = new TrialFarm({
    model,
    engine: value("engine", "webgpu"),
    processes: Number(value("processes", "12")),
    together: Number(value("together", "8")),
    store,
  });
  const numFrames = Number(value("frames", String(files.settings.numFrames)));
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

/** Measures a setting on the unseen prompts; those that time was too short for are missing. */
export async function measureUnseen(
  study: Study,
  { name, guidance, ...more }: { name: string; guidance: TrialGuidance } & Partial<Trial>,
): Promise<SettingResults> {
  const prompts = Array.from({ length: study.unseen }, (_, i) => FIRST_UNSEEN + i);
  const byPrompt = new Map<number, Values>();
  await Promise.all(
    prompts.map(async (prompt) => {
      try {
        byPrompt.set(prompt, withAccuracy(await study.measure(guidance, prompt, more)));
      } catch (error) {
        if (!(error instanceof OutOfTime)) console.error(`${name}, prompt ${prompt}: ${String(error)}`);
      }
    }),
  );
  return { name, byPrompt };
}

/** What the judge can read of a prompt. */
const ATTRIBUTES = ["shape", "colour", "motion", "ground", "sky", "camera", "shape2", "colour2"];

/** With `accuracy`: the share of the attributes that the prompt names which the judge holds for more likely than not. */
function withAccuracy(values: Values): Values {
  const named = ATTRIBUTES.flatMap((name) => values[name] ?? []);
  if (named.length === 0) return values;
  return { ...values, accuracy: named.filter((score) => score > 0.5).length / named.length };
}
