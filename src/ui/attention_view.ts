// The drawing below the attention choice: what a layer and head see at a step, and how dense that is. The drawing itself
// is made by src/attention/plan_image.ts, as on the command line.
import { drawMask, drawPlan } from "../attention/plan_image.ts";
import { percent } from "../attention/svg_mask.ts";
import { type ChosenAttention } from "./attention_choice.ts";
import { byId } from "./dom.ts";

/** The view. */
export interface AttentionView {
  /** Shows a choice, or the sentence that says why there is none. */
  show(chosen: ChosenAttention | string): void;
}

/** Binds the view in index.html. */
export function createAttentionView(): AttentionView {
  const hint = byId("attention-hint", HTMLParagraphElement);
  const details = byId("mask", HTMLDetailsElement);
  const picture = byId("mask-picture", HTMLDivElement);
  const selects = {
    layer: byId("mask-layer", HTMLSelectElement),
    head: byId("mask-head", HTMLSelectElement),
    step: byId("mask-step", HTMLSelectElement),
  };
  let shown: ChosenAttention | undefined;
  const draw = (): void => {
    selects.head.disabled = selects.layer.value === "";
    if (shown && details.open) picture.replaceChildren(drawingOf(shown, selects));
  };
  // The form knows nothing of these: they change what is shown, not what is rendered.
  for (const select of Object.values(selects)) {
    select.addEventListener("input", (event) => {
      event.stopPropagation();
      draw();
    });
  }
  details.addEventListener("toggle", draw);
  return {
    show(chosen) {
      const isChoice = typeof chosen !== "string";
      shown = isChoice ? chosen : undefined;
      hint.textContent = isChoice ? sentence(chosen) : chosen;
      details.hidden = !isChoice;
      if (!isChoice) return;
      const { shape, timesteps } = chosen;
      offer(selects.layer, ["All layers", ...numbered("Layer", shape.layers)]);
      offer(selects.head, numbered("Head", shape.heads), 0);
      offer(selects.step, numbered("Step", timesteps.length), 0);
      draw();
    },
  };
}

function sentence({ name, density }: ChosenAttention): string {
  if (density === 1) return "Every token sees every other.";
  return `${name === "searched" ? "Searched" : name}: ${percent(density)} of all pairs are computed.`;
}

/** The mask of one head, or all different ones. Text to nodes without running anything in it. */
function drawingOf(
  { plan, shape, numFrames, tokensPerFrame, timesteps }: ChosenAttention,
  selects: Readonly<Record<"layer" | "head" | "step", HTMLSelectElement>>,
): Element {
  const step = Number(selects.step.value);
  const moment = { numFrames, tokensPerFrame, step, timestep: timesteps[step] ?? 0 };
  const svg =
    selects.layer.value === ""
      ? drawPlan(plan, { ...moment, layers: shape.layers, heads: shape.heads })
      : drawMask(plan, { ...moment, layer: Number(selects.layer.value), head: Number(selects.head.value) });
  const parsed = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  const drawing = document.importNode(parsed, true);
  // It grows and shrinks with the page; its viewBox keeps the shape.
  drawing.removeAttribute("width");
  drawing.removeAttribute("height");
  return drawing;
}

function numbered(word: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${word} ${index}`);
}

/**
 * Fills a list, keeping what was chosen where it still exists. Values count from 0.
 *
 * @param firstIndex index of the first label; without one the first label stands for all, with an empty value
 */
function offer(select: HTMLSelectElement, labels: readonly string[], firstIndex = -1): void {
  const before = select.value;
  const valueOf = (index: number): string => (index < 0 ? "" : String(index));
  const options = labels.map((label, index) => new Option(label, valueOf(index + firstIndex)));
  select.replaceChildren(...options);
  select.value = options.some(({ value }) => value === before) ? before : (options[0]?.value ?? "");
}
