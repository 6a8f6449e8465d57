// The settings form as data: what may be chosen for a model, what the address may preset, and the request that comes
// out. Pure; render_form.ts shows it.
import { InputError } from "../errors.ts";
import type { PerturbedGuidance } from "../guiders/guidance_settings.ts";
import {
  DEFAULT_SOFTNESS,
  headsByText,
  perturbationOf,
  selectionOf,
  textOfHeads,
} from "../guiders/head_selection.ts";
import type { KeptRequest } from "../parallel/render_protocol.ts";
import type { ModelSettings } from "../pipelines/model_index.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { resolveSettings } from "../pipelines/resolve_settings.ts";
import type { VideoFormat } from "../video/video_format.ts";

/** What the form holds. NaN stands for a number field with something else in it. */
export interface FormValues {
  readonly prompt: string;
  /** The student distilled to a few steps, or the base model with guidance. */
  readonly variant: "fewstep" | "base";
  readonly numFrames: number;
  readonly width: number;
  readonly height: number;
  /** Undefined: a new one each time. */
  readonly seed: number | undefined;
  readonly numInferenceSteps: number;
  readonly guidanceScale: number;
  readonly negativePrompt: string;
  /** Strength of guidance by heads; 0 is off. */
  readonly softpag: number;
  /** How far those heads are weakened, 0 to 1. */
  readonly softness: number;
  /** Which heads, such as "4.0,4.2,7". */
  readonly heads: string;
  readonly fps: number;
  readonly format: VideoFormat;
  /** A choice of attention_choice.ts; "auto" lets the length decide. */
  readonly attention: string;
}

/** A choice of a list. */
export interface SizeChoice {
  readonly width: number;
  readonly height: number;
  readonly label: string;
}

const MULTIPLE = 16;

/** The values a model itself asks for. */
export function defaultValues(model: ModelSettings): FormValues {
  return {
    prompt: "",
    variant: model.fewstep ? "fewstep" : "base",
    numFrames: model.numFrames,
    width: model.width,
    height: model.height,
    seed: undefined,
    numInferenceSteps: model.numInferenceSteps,
    guidanceScale: model.guidanceScale,
    negativePrompt: "",
    softpag: 0,
    softness: DEFAULT_SOFTNESS,
    heads: "",
    fps: model.fps,
    format: "mp4",
    attention: "auto",
  };
}

/** The lengths the model was trained on (of a single one half of it too) and four times its own, all 4k+1. */
export function frameChoices({ numFrames, trainedFrames }: ModelSettings): number[] {
  const half = 4 * Math.round((numFrames - 1) / 8) + 1;
  const short = trainedFrames.length > 1 ? [] : [half];
  return [...new Set([...short, ...trainedFrames, 4 * (numFrames - 1) + 1])].sort((a, b) => a - b);
}

/** The model's size first, then others of similar work. */
export function sizeChoices({ width, height }: ModelSettings): SizeChoice[] {
  const rounded = (pixels: number): number => Math.max(MULTIPLE, MULTIPLE * Math.round(pixels / MULTIPLE));
  const named = (w: number, h: number, name: string): SizeChoice => ({
    width: rounded(w),
    height: rounded(h),
    label: `${rounded(w)} × ${rounded(h)} · ${name}`,
  });
  return [
    named(width, height, "the model’s own"),
    named(width * 0.75, height * 0.75, "faster"),
    named(width * 1.5, height, "wide"),
    named(width, height * 1.5, "tall"),
  ];
}

/** The request of a filled form, but for its attention. Fields that belong to the other variant are left out. */
export function toRequest(values: FormValues): KeptRequest {
  const { prompt, numFrames, width, height, seed, fps, format } = values;
  const base = {
    numInferenceSteps: values.numInferenceSteps,
    guidanceScale: values.guidanceScale,
    negativePrompt: values.negativePrompt,
  };
  return {
    prompt,
    numFrames,
    width,
    height,
    seed,
    fps,
    format,
    preview: true,
    contactSheet: true,
    ...(values.variant === "base" ? base : {}),
    ...(values.softpag !== 0 && { perturbedGuidance: headGuidance(values) }),
  };
}

function headGuidance({ softpag, softness, heads }: FormValues): PerturbedGuidance {
  const selection = heads.trim() === "" ? { heads: [] } : headsByText(heads);
  if (selection) return { scale: softpag, perturbation: perturbationOf(selection, softness) };
  throw new InputError(`"${heads}" names no heads: write LAYER.HEAD or LAYER, such as 4.0,4.2,7.`);
}

/** What the form held for a video, as far as its settings tell: not the attention's choice. */
export function valuesOf(settings: RenderSettings): Partial<FormValues> {
  const { prompt, variant, numFrames, width, height, seed, fps, perturbedGuidance } = settings;
  const { negativePrompt, numInferenceSteps, guidanceScale } = settings;
  const heads = perturbedGuidance && selectionOf(perturbedGuidance.perturbation);
  const guided = heads && {
    softpag: perturbedGuidance.scale,
    softness: heads.softness ?? DEFAULT_SOFTNESS,
    heads: textOfHeads(heads),
  };
  const base = { negativePrompt, numInferenceSteps, guidanceScale };
  const video = { prompt, variant, numFrames, width, height, seed, fps, softpag: 0 };
  return { ...video, ...guided, ...(variant === "base" ? base : {}) };
}

/** What the form held for a request that was kept. Throws `InputError` for one that the model does not take. */
export function valuesOfRequest(request: KeptRequest, model: ModelSettings): Partial<FormValues> {
  const { format, attention, attentionName } = request;
  const choice = attention === undefined ? "auto" : (attentionName ?? "auto");
  return { ...valuesOf(resolveSettings(request, model)), format, attention: choice };
}

/** What an address such as `?prompt=…&frames=17&seed=7` presets; unknown and malformed parts are ignored. */
export function presetsOf(query: URLSearchParams): Partial<FormValues> {
  const presets: { -readonly [K in keyof FormValues]?: FormValues[K] } = {};
  const prompt = query.get("prompt");
  const negative = query.get("negative");
  const variant = query.get("variant");
  const format = query.get("format");
  const attention = query.get("attention");
  const heads = query.get("heads");
  if (prompt !== null) presets.prompt = prompt;
  if (negative !== null) presets.negativePrompt = negative;
  if (variant === "base" || variant === "fewstep") presets.variant = variant;
  if (format === "mp4" || format === "webm" || format === "gif") presets.format = format;
  if (attention !== null) presets.attention = attention;
  if (heads !== null) presets.heads = heads;
  for (const [name, field] of Object.entries(NUMBERS)) {
    const text = query.get(name);
    if (text !== null && text.trim() !== "" && Number.isFinite(Number(text))) presets[field] = Number(text);
  }
  return presets;
}

const NUMBERS = {
  frames: "numFrames",
  width: "width",
  height: "height",
  seed: "seed",
  steps: "numInferenceSteps",
  guidance: "guidanceScale",
  softpag: "softpag",
  softness: "softness",
  fps: "fps",
} as const;
