// The measures of `weft eval` in words: a list for each video, and mean and standard error of several.

import { type Summary, summarize } from "../metrics/summary.ts";
import type { Evaluation } from "./eval_video.ts";

/** How a number is said. */
interface Label {
  /** In JSON. */
  readonly key: string;
  readonly name: string;
  /** "%" for shares, which are said times 100. */
  readonly unit: "" | "%" | "dB";
  readonly digits: number;
  readonly meaning: string;
}

/** A number of an evaluation. */
interface Measure extends Label {
  readonly value: (evaluation: Evaluation) => number | null | undefined;
}

/** The numbers of one video as aligned lines. Those it has not (too short, no reference, no judge) are left out. */
export function videoTable(evaluation: Evaluation): string {
  const { file, prompt, metrics } = evaluation;
  const head = `${file}: ${metrics.frames} frames of ${metrics.width}x${metrics.height}`;
  const rows = measuresOf([evaluation]).flatMap((measure) => {
    const value = measure.value(evaluation);
    return typeof value === "number" ? [[measure, said(measure, value)] as const] : [];
  });
  return [head, ...(prompt === null ? [] : [`  "${prompt}"`]), ...aligned(rows)].join("\n");
}

/** Mean and standard error of several videos. */
export function summaryTable(evaluations: readonly Evaluation[]): string {
  const rows = measuresOf(evaluations).flatMap((measure) => {
    const summary = summarizeMeasure(measure, evaluations);
    if (!summary) return [];
    const { count, mean, standardError } = summary;
    if (mean === Infinity) return [[measure, "equal"] as const];
    const error =
      standardError === null ? "" : ` ± ${(scale(measure) * standardError).toFixed(measure.digits)}`;
    const some = count < evaluations.length ? ` (${count} videos)` : "";
    return [
      [measure, `${(scale(measure) * mean).toFixed(measure.digits)}${error}${unit(measure)}${some}`] as const,
    ];
  });
  return [`mean of ${evaluations.length} videos ± standard error`, ...aligned(rows)].join("\n");
}

/** The numbers of one video by their names in JSON: what an objective may be made of. */
export function measuredValues(evaluation: Evaluation): Record<string, number> {
  return Object.fromEntries(
    measuresOf([evaluation]).flatMap(({ key, value }) => {
      const number = value(evaluation);
      return typeof number === "number" ? [[key, number] as const] : [];
    }),
  );
}

/** Mean and standard error by measure, for JSON. */
export function summaryOf(evaluations: readonly Evaluation[]): Record<string, Summary | null> {
  return Object.fromEntries(
    measuresOf(evaluations).map((measure) => [measure.key, summarizeMeasure(measure, evaluations)]),
  );
}

const MEASURES: readonly (readonly [Label, Measure["value"]])[] = [
  [
    {
      key: "difference",
      name: "difference",
      unit: "",
      digits: 2,
      meaning: "change from frame to frame, grey levels",
    },
    ({ metrics }) => metrics.dynamic?.difference,
  ],
  [
    { key: "flow", name: "flow", unit: "", digits: 2, meaning: "mean speed, pixels per frame" },
    ({ metrics }) => metrics.dynamic?.flow,
  ],
  [
    {
      key: "fastFlow",
      name: "fast flow",
      unit: "",
      digits: 2,
      meaning: "speed of the fastest 5 % of the picture",
    },
    ({ metrics }) => metrics.dynamic?.fastFlow,
  ],
  [
    {
      key: "stillShare",
      name: "still",
      unit: "%",
      digits: 1,
      meaning: "pairs of frames without visible change",
    },
    ({ metrics }) => metrics.dynamic?.stillShare,
  ],
  [
    {
      key: "loopScore",
      name: "loop score",
      unit: "",
      digits: 1,
      meaning: "100 never repeats, 0 loops or stands still",
    },
    ({ metrics }) => metrics.loop?.score,
  ],
  [
    {
      key: "flicker",
      name: "flicker",
      unit: "",
      digits: 2,
      meaning: "change back and forth along the motion, grey levels",
    },
    ({ metrics }) => metrics.flicker,
  ],
  [
    {
      key: "drift",
      name: "drift",
      unit: "",
      digits: 3,
      meaning: "colours and edges against the first second, 0 to 1",
    },
    ({ metrics }) => metrics.drift?.mean,
  ],
  [
    { key: "driftLast", name: "drift at end", unit: "", digits: 3, meaning: "the same of the last second" },
    ({ metrics }) => metrics.drift?.last,
  ],
  [
    { key: "sharpness", name: "sharpness", unit: "", digits: 1, meaning: "variance of the Laplacian" },
    ({ metrics }) => metrics.sharpness,
  ],
  [
    {
      key: "sharpnessKept",
      name: "sharpness kept",
      unit: "%",
      digits: 1,
      meaning: "last second against the first",
    },
    ({ metrics }) => metrics.sharpnessKept,
  ],
  [
    { key: "psnr", name: "PSNR", unit: "dB", digits: 2, meaning: "to the reference" },
    ({ reference }) => reference?.psnr,
  ],
  [
    { key: "worstPsnr", name: "worst PSNR", unit: "dB", digits: 2, meaning: "of a frame" },
    ({ reference }) => reference?.worstPsnr,
  ],
  [
    { key: "ssim", name: "SSIM", unit: "", digits: 4, meaning: "to the reference, 1 is equal" },
    ({ reference }) => reference?.ssim,
  ],
  [
    {
      key: "total",
      name: "fits prompt",
      unit: "%",
      digits: 1,
      meaning: "the judge's mean over what the prompt says",
    },
    ({ score }) => score?.total,
  ],
];

/** The measures of any video, and one for each attribute that a judge looked at. */
function measuresOf(evaluations: readonly Evaluation[]): Measure[] {
  const attributes = new Set(evaluations.flatMap(({ score }) => Object.keys(score?.attributes ?? {})));
  const more = [...attributes].map((name): Measure => {
    const value = ({ score }: Evaluation): number | null | undefined => score?.attributes[name];
    return { key: name, name, unit: "%", digits: 1, meaning: "as the prompt says", value };
  });
  const all = [...MEASURES.map(([label, value]) => ({ ...label, value })), ...more];
  return all.filter(({ value }) => evaluations.some((evaluation) => typeof value(evaluation) === "number"));
}

function summarizeMeasure({ value }: Measure, evaluations: readonly Evaluation[]): Summary | null {
  return summarize(evaluations.map((evaluation) => value(evaluation) ?? null));
}

function said(measure: Measure, value: number): string {
  if (value === Infinity) return "equal";
  return `${(scale(measure) * value).toFixed(measure.digits)}${unit(measure)}`;
}

function scale({ unit: name }: Measure): number {
  return name === "%" ? 100 : 1;
}

function unit({ unit: name }: Measure): string {
  return name && ` ${name}`;
}

function aligned(rows: readonly (readonly [measure: Measure, text: string])[]): string[] {
  const [names, texts] = [rows.map(([{ name }]) => name.length), rows.map(([, text]) => text.length)];
  const [wideName, wideText] = [Math.max(0, ...names), Math.max(0, ...texts)];
  return rows.map(
    ([{ name, meaning }, text]) => `  ${name.padEnd(wideName)}  ${text.padEnd(wideText)}  ${meaning}`,
  );
}
