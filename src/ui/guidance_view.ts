// Guidance by heads in the form: the grid, the sentence below it, and the buttons that fill the field.
import { headsByText, type HeadSelection, textOfHeads } from "../guiders/head_selection.ts";
import type { ModelSummary } from "../parallel/render_protocol.ts";
import { byId } from "./dom.ts";
import type { FormValues } from "./form_values.ts";
import { createHeadGrid, type HeadGridShape } from "./head_grid.ts";

/** The view. */
export interface GuidanceView {
  /** Shows what is in the form, for a model. */
  show(values: FormValues, model: Pick<ModelSummary, "attention" | "heads">): void;
}

/** Binds the view in index.html. */
export function createGuidanceView(): GuidanceView {
  const field = byId("heads", HTMLInputElement);
  const softness = byId("softness", HTMLInputElement);
  const fromModel = byId("heads-model", HTMLButtonElement);
  const summary = byId("heads-summary", HTMLSpanElement);
  const hint = byId("heads-hint", HTMLParagraphElement);
  let model: Parameters<GuidanceView["show"]>[1] | undefined;
  const shapes = new Map<string, HeadGridShape>();
  const write = (selection: HeadSelection): void => {
    field.value = textOfHeads(selection);
    if (selection.softness !== undefined) softness.value = String(selection.softness);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const grid = createHeadGrid(byId("head-grid", HTMLDivElement), write);
  fromModel.addEventListener("click", () => model?.heads && write(model.heads.selection));
  byId("heads-none", HTMLButtonElement).addEventListener("click", () => write({ heads: [] }));
  return {
    show(values, next) {
      model = next;
      const { attention, heads: shipped } = next;
      const { layers, heads } = (values.variant === "fewstep" && attention.fewstep) || attention.base;
      const key = `${layers} ${heads} ${shipped?.gains.length ?? 0}`;
      const shape = shapes.get(key) ?? { layers, heads, gains: shipped?.gains ?? [] };
      shapes.set(key, shape);
      const selection = headsByText(values.heads) ?? { heads: [] };
      grid.show(shape, selection);
      fromModel.hidden = shipped === undefined;
      const count = selection.heads.reduce((sum, { head }) => sum + (head === undefined ? heads : 1), 0);
      const isOn = values.softpag > 0 && count > 0;
      summary.textContent = isOn ? `${values.softpag} on ${count} head${count === 1 ? "" : "s"}` : "off";
      hint.textContent =
        "Leads away from a pass with these heads weakened: one more pass a step, with and without other guidance." +
        (shape.gains.length > 0 ? " Colour: what a search found for each head alone." : "");
    },
  };
}
