// What guidance does to videos that no search has seen: no guidance, classifier-free, perturbed attention of a whole layer
// and of searched heads, on the same prompts and seeds, as means and paired differences with 95 % intervals.
//   bench.mjs guidance quality heads=FILE out=DIR [settings="none;pag 6;softpag;cfg;cfg+softpag"] [prompts=100]
// "coherence 2,4,8" hides frames more than 2 latent frames away in layers 4 to 7. More: engine=onnx (the CPU), frames=17, scale=3 (of SoftPAG), softness=0.5 (of the heads), steps=30 (of the base model),
// first=0 (number of the first prompt). What DIR/quality.jsonl holds already is not rendered again; `prompts=0` only prints.
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openHeads } from "../../src/cli/guidance_option.ts";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { measureRender, type MeasureTools } from "../../src/cli/measure_render.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import type { PerturbedGuidance } from "../../src/guiders/guidance_settings.ts";
import { perturbationOf } from "../../src/guiders/head_selection.ts";
import { summarize } from "../../src/metrics/summary.ts";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { openScorer } from "../../src/onnx/scorer.ts";
import type { RenderOptions } from "../../src/pipelines/render_options.ts";
import { readTransformerConfig } from "../../src/pipelines/model_files.ts";
import { WanPipeline } from "../../src/pipelines/wan_pipeline.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";

const MODEL = "models/weft-nano";

/** One rendered and measured video. */
interface Row {
  readonly setting: string;
  /** Number of the prompt. */
  readonly prompt: number;
  readonly seconds: number;
  /** Measures of `weft eval --json`. */
  readonly values: Readonly<Record<string, number>>;
}

interface Study {
  readonly guided: (setting: string) => Partial<RenderOptions>;
  readonly numFrames: number;
  readonly tools: MeasureTools;
}

/** Runs what the arguments ask for. */
export async function guidanceQuality(args: readonly string[]): Promise<void> {
  const value = (name: string, otherwise: string): string =>
    args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1) ?? otherwise;
  const out = value("out", "dist/guidance");
  mkdirSync(out, { recursive: true });
  const file = join(out, "quality.jsonl");
  const [first, count] = [Number(value("first", "0")), Number(value("prompts", "100"))];
  const names = value("settings", "none;pag 6;softpag;cfg;cfg+softpag").split(";");
  if (count > 0) {
    const study = await openStudy(value);
    const done = new Set(readRows(file).map(({ setting, prompt }) => `${setting} ${prompt}`));
    for (let prompt = first; prompt < first + count; prompt++) {
      for (const setting of names) {
        if (done.has(`${setting} ${prompt}`)) continue;
        appendFileSync(file, `${JSON.stringify(await render(study, setting, prompt))}\n`);
      }
      console.log(`prompt ${prompt}: ${promptNumber(prompt)}`);
    }
    await study.tools.judge?.scorer.release();
    await study.tools.pipeline.dispose();
  }
  console.table(
    tableOf(
      readRows(file).filter(({ setting }) => names.includes(setting)),
      names[0] ?? "none",
    ),
  );
}

async function openStudy(value: (name: string, otherwise: string) => string): Promise<Study> {
  const source = openFolderSource(MODEL);
  const pipeline = await WanPipeline.open({
    source,
    openGpu: value("engine", "webgpu") === "onnx" ? undefined : () => Gpu.open({ gpu: startDawn() }),
    openOrt: openOrtInNode,
  });
  const scorer = await openScorer(source, () => openOrtInNode({ provider: "wasm" }));
  const judge = scorer ? { scorer, tokenizer: pipeline.files.tokenizer } : undefined;
  const heads = value("heads", "");
  const selection = heads === "" ? undefined : await openHeads(heads);
  const scale = Number(value("scale", "3"));
  const steps = Number(value("steps", String(pipeline.files.settings.numInferenceSteps)));
  const softness = Number(value("softness", String(selection?.softness ?? 0.5)));
  const layers = (await readTransformerConfig(pipeline.files, "transformer")).num_layers;
  const cfg = { guidanceScale: pipeline.files.settings.guidanceScale, numInferenceSteps: steps };
  const softpag = (): PerturbedGuidance => {
    if (selection === undefined) throw new Error("softpag needs heads=FILE.");
    return { scale, perturbation: perturbationOf(selection, softness) };
  };
  const guided = (setting: string): Partial<RenderOptions> => {
    const [name = "", layer] = setting.split(" ");
    switch (name) {
      case "none":
        return {};
      case "pag": {
        const perturbation = { kind: "heads", heads: [{ layers: [Number(layer)], strength: 1 }] } as const;
        return { perturbedGuidance: { scale, perturbation } };
      }
      case "coherence": {
        const [radius = 2, first = 0, end = layers] = (layer ?? "").split(",").filter(Boolean).map(Number);
        const inside = Array.from({ length: end - first }, (_, i) => first + i);
        const perturbation = { kind: "near_keys", radius, layers: inside } as const;
        return { perturbedGuidance: { scale, perturbation } };
      }
      case "softpag":
        return { perturbedGuidance: softpag() };
      case "cfg":
        return cfg;
      case "cfg+softpag":
        return { ...cfg, perturbedGuidance: softpag() };
      default:
        throw new Error(`There is no setting "${setting}".`);
    }
  };
  const { signal } = new AbortController();
  return { guided, numFrames: Number(value("frames", "17")), tools: { pipeline, judge, signal } };
}

async function render({ guided, numFrames, tools }: Study, setting: string, prompt: number): Promise<Row> {
  const options = { prompt: promptNumber(prompt), seed: 1000 + prompt, numFrames, ...guided(setting) };
  const started = performance.now();
  const values = await measureRender(tools.pipeline.resolve(options), tools);
  return { setting, prompt, seconds: (performance.now() - started) / 1000, values };
}

/** Means, and what a setting changes against the first one on the same prompts; both with 1.96 standard errors. */
function tableOf(rows: readonly Row[], reference: string): Record<string, Record<string, string>> {
  const settings = [...new Set(rows.map(({ setting }) => setting))];
  const measures = ["seconds", ...new Set(rows.flatMap(({ values }) => Object.keys(values)))];
  const valueOf = (row: Row | undefined, measure: string): number | null =>
    (measure === "seconds" ? row?.seconds : row?.values[measure]) ?? null;
  const table: Record<string, Record<string, string>> = {};
  for (const setting of settings) {
    const mine = rows.filter((row) => row.setting === setting);
    const line: Record<string, string> = { videos: String(mine.length) };
    for (const measure of measures) {
      const differences = mine.map((row) => {
        const other = rows.find(({ setting: name, prompt }) => name === reference && prompt === row.prompt);
        const [a, b] = [valueOf(row, measure), valueOf(other, measure)];
        return a === null || b === null ? null : a - b;
      });
      const mean = interval(mine.map((row) => valueOf(row, measure)));
      line[measure] = setting === reference ? mean : `${mean} (${interval(differences, "+")})`;
    }
    table[setting] = line;
  }
  return transposed(table);
}

function transposed(table: Record<string, Record<string, string>>): Record<string, Record<string, string>> {
  const turned: Record<string, Record<string, string>> = {};
  for (const [column, line] of Object.entries(table)) {
    for (const [row, text] of Object.entries(line)) turned[row] = { ...turned[row], [column]: text };
  }
  return turned;
}

function interval(values: readonly (number | null)[], sign: "+" | "" = ""): string {
  const summary = summarize(values);
  if (summary === null) return "-";
  const { mean, standardError } = summary;
  const error = standardError === null ? "" : ` ± ${(1.96 * standardError).toPrecision(2)}`;
  return `${sign === "+" && mean >= 0 ? "+" : ""}${mean.toPrecision(3)}${error}`;
}

function readRows(file: string): Row[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Row);
}

const SIZES = ["small", "large", "big"];
const FINISHES = ["shiny", "matte", "glossy"];
const COLOURS = ["red", "blue", "green", "yellow", "purple", "orange", "cyan", "white"];
const SHAPES = ["ball", "cube", "cylinder", "cone", "ring", "pyramid"];
const MOTIONS = [
  "bounces",
  "rolls left",
  "rolls right",
  "spins",
  "rises",
  "falls",
  "circles",
  "grows",
  "shrinks",
];
const GROUNDS = ["on grass", "on sand", "on snow", "on a checkered floor", "on water"];
const SKIES = ["in daylight", "at sunset", "at night", "under an overcast sky"];
const CAMERAS = ["static camera", "the camera orbits left", "the camera pans right", "the camera zooms in"];

/** Prompt `number`, always the same: every word is chosen by a hash of the number. */
function promptNumber(number: number): string {
  const pick = (words: readonly string[], salt: number): string => {
    const hash = Math.imul(Math.imul(number + 1, 0x9e3779b1) ^ (salt << 16), 0x85ebca6b) >>> 8;
    return words[hash % words.length] ?? "";
  };
  const thing = [SIZES, FINISHES, COLOURS, SHAPES].map((words, salt) => pick(words, salt)).join(" ");
  return `a ${thing} ${pick(MOTIONS, 4)} ${pick(GROUNDS, 5)} ${pick(SKIES, 6)}, ${pick(CAMERAS, 7)}`;
}
