// The form of index.html: shows a model's choices, reads the values, reports what the visitor wants done.
import type { ModelSettings } from "../pipelines/model_index.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { VideoFormat } from "../video/video_format.ts";
import { type AttentionModel, attentionChoices } from "./attention_choice.ts";
import { byId, element } from "./dom.ts";
import { EXAMPLES } from "./examples.ts";
import { defaultValues, type FormValues, frameChoices, sizeChoices, valuesOf } from "./form_values.ts";

/** The form. */
export interface RenderForm {
  /** Fills in a model's choices and defaults, with `presets` on top. */
  setModel(model: AttentionModel, presets: Partial<FormValues>): void;
  read(): FormValues;
  /** Fills in values; the others stay. */
  fill(values: Partial<FormValues>): void;
  /** Puts the settings of a finished video back, its seed too. */
  restore(settings: RenderSettings, attention: string): void;
  setState(state: "unavailable" | "ready" | "rendering"): void;
}

/** What the visitor can ask for. */
export interface FormActions {
  readonly onGenerate: () => void;
  readonly onCancel: () => void;
  /** Something in the form has changed, by whoever. */
  readonly onChange: (values: FormValues) => void;
}

const MAX_DICE_SEED = 1_000_000;

/** Binds the form in index.html. */
export function createRenderForm({ onGenerate, onCancel, onChange }: FormActions): RenderForm {
  const fields = findFields();
  let model: ModelSettings | undefined;
  let state: Parameters<RenderForm["setState"]>[0] = "unavailable";
  const changed = (): void => {
    refresh(fields, model);
    onChange(readFields(fields));
  };
  const write = (values: Partial<FormValues>): void => {
    writeFields(fields, values);
    changed();
  };

  fillExamples(fields);
  fields.form.addEventListener("input", changed);
  fields.dice.addEventListener("click", () => write({ seed: Math.floor(Math.random() * MAX_DICE_SEED) }));
  fields.cancel.addEventListener("click", onCancel);
  fields.form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (state === "ready") onGenerate();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state === "rendering") onCancel();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && state === "ready") onGenerate();
  });

  return {
    setModel(opened, presets) {
      const next = opened.settings;
      model = next;
      const choices = attentionChoices(opened).map(([value, label]) => new Option(label, value));
      fields.attention.replaceChildren(...choices);
      fields.numFrames.replaceChildren(...frameChoices(next).map((n) => frameOption(n, next.fps)));
      fields.size.replaceChildren(
        ...sizeChoices(next).map(({ width, height, label }) => new Option(label, `${width}x${height}`)),
      );
      const prompt = fields.prompt.value;
      const known = choices.some(({ value }) => value === presets.attention);
      write({ ...defaultValues(next), prompt, ...presets, ...(known ? {} : { attention: "auto" }) });
    },
    read: () => readFields(fields),
    fill: write,
    restore(settings, attention) {
      write({ ...valuesOf(settings), attention });
      fields.settings.open = true;
      fields.generate.focus();
    },
    setState(next) {
      state = next;
      fields.generate.disabled = next !== "ready";
      fields.generate.textContent = next === "rendering" ? "Working…" : "Generate";
      fields.cancel.hidden = next !== "rendering";
      byId("generate-key", HTMLSpanElement).hidden = next === "rendering";
    },
  };
}

type Fields = ReturnType<typeof findFields>;

function findFields() {
  const input = (id: string): HTMLInputElement => byId(id, HTMLInputElement);
  const form = byId("form", HTMLFormElement);
  return {
    form,
    settings: byId("settings", HTMLDetailsElement),
    prompt: byId("prompt", HTMLTextAreaElement),
    numFrames: byId("num-frames", HTMLSelectElement),
    size: byId("size", HTMLSelectElement),
    seed: input("seed"),
    dice: byId("dice", HTMLButtonElement),
    steps: input("steps"),
    guidance: input("guidance"),
    negative: input("negative"),
    fps: input("fps"),
    format: byId("format", HTMLSelectElement),
    attention: byId("attention", HTMLSelectElement),
    softpag: input("softpag"),
    softness: input("softness"),
    heads: input("heads"),
    generate: byId("generate", HTMLButtonElement),
    cancel: byId("cancel", HTMLButtonElement),
    variants: [...form.querySelectorAll<HTMLInputElement>('input[name="variant"]')],
  };
}

function readFields(fields: Fields): FormValues {
  const [width = Number.NaN, height = Number.NaN] = fields.size.value.split("x").map(Number);
  return {
    prompt: fields.prompt.value,
    variant: fields.variants.some(({ checked, value }) => checked && value === "base") ? "base" : "fewstep",
    numFrames: Number(fields.numFrames.value),
    width,
    height,
    seed: fields.seed.value === "" ? undefined : fields.seed.valueAsNumber,
    numInferenceSteps: fields.steps.valueAsNumber,
    guidanceScale: fields.guidance.valueAsNumber,
    negativePrompt: fields.negative.value,
    softpag: fields.softpag.valueAsNumber,
    softness: fields.softness.valueAsNumber,
    heads: fields.heads.value,
    fps: fields.fps.valueAsNumber,
    format: fields.format.value as VideoFormat,
    attention: fields.attention.value || "auto",
  };
}

function writeFields(fields: Fields, values: Partial<FormValues>): void {
  const all = { ...readFields(fields), ...values };
  fields.prompt.value = all.prompt;
  for (const radio of fields.variants) radio.checked = radio.value === all.variant;
  choose(fields.numFrames, frameOption(all.numFrames, all.fps));
  choose(fields.size, new Option(`${all.width} × ${all.height}`, `${all.width}x${all.height}`));
  fields.seed.value = all.seed === undefined ? "" : String(all.seed);
  fields.steps.value = numberText(all.numInferenceSteps);
  fields.guidance.value = numberText(all.guidanceScale);
  fields.negative.value = all.negativePrompt;
  fields.softpag.value = numberText(all.softpag);
  fields.softness.value = numberText(all.softness);
  fields.heads.value = all.heads;
  fields.fps.value = numberText(all.fps);
  fields.format.value = all.format;
  fields.attention.value = all.attention;
}

/** Chooses the option of this value; a value that is no choice yet (from the address) becomes one. */
function choose(select: HTMLSelectElement, option: HTMLOptionElement): void {
  if (![...select.options].some(({ value }) => value === option.value)) select.append(option);
  select.value = option.value;
}

function frameOption(numFrames: number, fps: number): HTMLOptionElement {
  return new Option(`${numFrames} frames · ${(numFrames / fps).toFixed(1)} s`, String(numFrames));
}

function numberText(value: number): string {
  return Number.isNaN(value) ? "" : String(value);
}

function fillExamples({ prompt, form }: Fields): void {
  const chips = EXAMPLES.map((example) => {
    const chip = element("button", { type: "button", textContent: example.label, title: example.prompt });
    chip.addEventListener("click", () => {
      prompt.value = example.prompt;
      form.dispatchEvent(new Event("input"));
      prompt.focus();
    });
    return chip;
  });
  byId("examples", HTMLDivElement).replaceChildren(...chips);
}

/** What depends on other fields: the guided ones, the hint below the switch, the one-line summary. */
function refresh(fields: Fields, model: ModelSettings | undefined): void {
  const { variant, numFrames, width, height, seed } = readFields(fields);
  byId("base-fields", HTMLDivElement).hidden = variant !== "base";
  byId("variant", HTMLFieldSetElement).hidden = model?.fewstep === undefined;
  const steps = (model?.fewstep?.sigmas.length ?? 1) - 1;
  byId("variant-hint", HTMLParagraphElement).textContent =
    variant === "fewstep"
      ? `The distilled model: ${steps} steps, no guidance.`
      : "The base model, run twice a step: slower, and it can be steered.";
  byId("settings-summary", HTMLSpanElement).textContent =
    `${numFrames} frames, ${width} × ${height}${seed === undefined ? "" : `, seed ${seed}`}`;
}
