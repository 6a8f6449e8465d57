// What stands below a finished video: its prompt, facts, download, contact sheet and settings.
import { byId, element } from "./dom.ts";
import type { FinishedVideo } from "./finished_video.ts";
import { formatBytes, formatSeconds } from "./format.ts";
import { guidanceText } from "./settings_text.ts";

/** From here on the contact sheet does not push everything else out of sight. */
const WIDE_PX = 900;

/** What can be done with a result. */
export interface ResultActions {
  /** Puts its settings, seed included, back into the form. */
  readonly onAgain: () => void;
  /** Keeps it on the screen beside the next one; or ends that. */
  readonly onCompare: () => void;
  readonly isCompared: boolean;
}

/** Shows the result. */
export function showResult(video: FinishedVideo, actions: ResultActions): void {
  const root = byId("result", HTMLDivElement);
  const { settings, seconds, bytes } = video;
  const guidance = guidanceText(settings);
  const facts = [
    `${settings.width} × ${settings.height}`,
    `${settings.numFrames} frames at ${settings.fps} a second`,
    `seed ${settings.seed}`,
    `${settings.numInferenceSteps} steps${guidance && `, ${guidance}`}`,
    formatBytes(bytes),
    `made in ${formatSeconds(seconds.total)}`,
  ];
  root.replaceChildren(
    element("p", { className: "prompt", textContent: settings.prompt }),
    element(
      "p",
      { className: "facts-line" },
      ...facts.map((textContent) => element("span", { textContent })),
    ),
    buttons(video, actions),
    ...contactSheet(video),
    element(
      "details",
      {},
      element("summary", { textContent: "All settings" }),
      element("pre", { tabIndex: 0, textContent: settingsText(video) }),
    ),
  );
  root.hidden = false;
}

/** Hides the result while another is made. */
export function hideResult(): void {
  byId("result", HTMLDivElement).hidden = true;
}

function buttons(video: FinishedVideo, { onAgain, onCompare, isCompared }: ResultActions): HTMLElement {
  const download = element("a", { className: "button primary", id: "download", href: video.url });
  download.download = video.fileName;
  download.textContent = `Download ${(video.mimeType.split("/")[1] ?? "").toUpperCase()}`;
  const again = element("button", { type: "button", id: "again", textContent: "Same seed again" });
  again.title = "Puts these settings and this seed into the form";
  again.addEventListener("click", onAgain);
  const compare = element("button", { type: "button", id: "compare" });
  compare.textContent = isCompared ? "Stop comparing" : "Compare";
  compare.title = "Keeps this video beside the next one, with its seed in the form";
  compare.addEventListener("click", onCompare);
  const copy = element("button", { type: "button", id: "copy", textContent: "Copy settings" });
  copy.addEventListener("click", () => void copySettings(video, copy));
  return element("div", { className: "buttons" }, download, again, compare, copy);
}

async function copySettings(video: FinishedVideo, button: HTMLButtonElement): Promise<void> {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(settingsText(video));
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed to copy";
  }
  setTimeout(() => {
    button.textContent = label;
  }, 1500);
}

function contactSheet({ sheetUrl, settings, fileName }: FinishedVideo): HTMLElement[] {
  if (sheetUrl === undefined) return [];
  const sheet = element("img", { className: "sheet", src: sheetUrl });
  sheet.alt = `Frames of “${settings.prompt}” in order`;
  const download = fileName.replace(/\.\w+$/, "-sheet.png");
  const save = element("a", { href: sheetUrl, download, className: "link hint" });
  save.textContent = "Save as PNG";
  const summary = element("summary", { textContent: "Contact sheet" });
  return [element("details", { open: innerWidth >= WIDE_PX }, summary, sheet, save)];
}

function settingsText({ settings, modelHash, seconds }: FinishedVideo): string {
  const { notices: _, ...kept } = settings;
  return JSON.stringify({ ...kept, modelHash, seconds }, rounded, 2);
}

function rounded(_: string, value: unknown): unknown {
  return typeof value === "number" ? Number(value.toFixed(3)) : value;
}
