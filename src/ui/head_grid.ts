// A grid of all attention heads, layers by heads, in which some are chosen: a button for each, coloured by what a search
// found, and one for every whole layer. One tab stop; arrow keys move inside.
import { type ChosenHead, type HeadGain, type HeadSelection } from "../guiders/head_selection.ts";
import { element } from "./dom.ts";

/** What the grid shows. */
export interface HeadGridShape {
  readonly layers: number;
  readonly heads: number;
  /** Empty where nothing is known. */
  readonly gains: readonly HeadGain[];
}

/** The grid. */
export interface HeadGrid {
  show(shape: HeadGridShape, selection: HeadSelection): void;
}

/** Fills `root`; `onToggle` is called with the selection that a click asks for. */
export function createHeadGrid(root: HTMLElement, onToggle: (selection: HeadSelection) => void): HeadGrid {
  let shape: HeadGridShape | undefined;
  let shown: HeadSelection = { heads: [] };
  root.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    if (button && shape) onToggle(toggled(shown, placeOf(button), shape.heads));
  });
  root.addEventListener("keydown", (event) => moveFocus(root, event, (shape?.heads ?? 0) + 1));
  return {
    show(next, selection) {
      if (next !== shape) root.replaceChildren(...cells(next));
      root.style.setProperty("--heads", String(next.heads));
      shape = next;
      shown = selection;
      for (const button of root.querySelectorAll("button")) {
        button.ariaPressed = String(isChosen(selection, placeOf(button), next.heads));
      }
    },
  };
}

/** The selection with a head, or a whole layer, added; or taken away where it was chosen. */
export function toggled(selection: HeadSelection, place: ChosenHead, numHeads: number): HeadSelection {
  const { layer, head } = place;
  const others = selection.heads.filter((chosen) => chosen.layer !== layer);
  if (head === undefined) {
    return { heads: isChosen(selection, place, numHeads) ? others : sorted([...others, { layer }]) };
  }
  const wanted = Array.from({ length: numHeads }, (_, i) => i).filter(
    (i) => isChosen(selection, { layer, head: i }, numHeads) !== (i === head),
  );
  const isWhole = wanted.length === numHeads;
  return { heads: sorted([...others, ...(isWhole ? [{ layer }] : wanted.map((i) => ({ layer, head: i })))]) };
}

function isChosen({ heads }: HeadSelection, { layer, head }: ChosenHead, numHeads: number): boolean {
  const ofLayer = heads.filter((chosen) => chosen.layer === layer);
  if (ofLayer.some((chosen) => chosen.head === undefined)) return true;
  if (head !== undefined) return ofLayer.some((chosen) => chosen.head === head);
  return new Set(ofLayer.map((chosen) => chosen.head)).size === numHeads;
}

function sorted(heads: readonly ChosenHead[]): ChosenHead[] {
  return heads.toSorted((a, b) => a.layer - b.layer || (a.head ?? -1) - (b.head ?? -1));
}

function cells({ layers, heads, gains }: HeadGridShape): HTMLElement[] {
  const largest = Math.max(...gains.map(({ gain }) => Math.abs(gain)), Number.MIN_VALUE);
  return Array.from({ length: layers }, (_, layer) => {
    const whole = cell({ layer }, `${layer}`, `Layer ${layer}, all heads`);
    whole.className = "whole";
    const ofLayer = Array.from({ length: heads }, (_head, head) => {
      const gain = gains.find((one) => one.layer === layer && one.head === head)?.gain;
      const said = gain === undefined ? "" : `, search gain ${gain < 0 ? "" : "+"}${gain.toPrecision(3)}`;
      const button = cell({ layer, head }, "", `Layer ${layer}, head ${head}${said}`);
      if (gain === undefined) return button;
      button.className = gain < 0 ? "worse" : "better";
      button.style.setProperty("--share", `${Math.round((100 * Math.abs(gain)) / largest)}%`);
      return button;
    });
    if (layer === 0) whole.tabIndex = 0;
    return [whole, ...ofLayer];
  }).flat();
}

function cell({ layer, head }: ChosenHead, textContent: string, label: string): HTMLButtonElement {
  const button = element("button", { type: "button", textContent, title: label, tabIndex: -1 });
  button.ariaLabel = label;
  button.dataset["layer"] = String(layer);
  if (head !== undefined) button.dataset["head"] = String(head);
  return button;
}

function placeOf({ dataset }: HTMLElement): ChosenHead {
  const { layer, head } = dataset;
  return { layer: Number(layer), ...(head !== undefined && { head: Number(head) }) };
}

/** Arrow keys, Home and End, in rows of `columns`. */
function moveFocus(root: HTMLElement, event: KeyboardEvent, columns: number): void {
  const steps = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: columns,
    ArrowUp: -columns,
    Home: -Infinity,
    End: Infinity,
  };
  if (!Object.hasOwn(steps, event.key)) return;
  const buttons = [...root.querySelectorAll("button")];
  const from = buttons.findIndex((button) => button === document.activeElement);
  const wanted = from + steps[event.key as keyof typeof steps];
  const to = buttons[Math.min(buttons.length - 1, Math.max(0, wanted))];
  if (from < 0 || to === undefined) return;
  event.preventDefault();
  for (const button of buttons) button.tabIndex = button === to ? 0 : -1;
  to.focus();
}
