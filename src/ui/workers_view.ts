// The panel of those who compute: each worker's device, frames, step and traffic, a picture of their time, and the buttons
// that bring more.
import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import { WorkerTimeline, type WorkerRow } from "../parallel/worker_timeline.ts";
import { byId, element } from "./dom.ts";
import { formatBytes } from "./format.ts";
import { framesOfClip } from "./frame_numbers.ts";
import type { PageCrew } from "./page_crew.ts";
import { drawTimeline } from "./timeline_view.ts";

const OWN_NAME = "this tab";
/** How often the picture is drawn while events come. */
const DRAW_MS = 250;
/** Width of the picture while the panel is closed. */
const NARROW_PX = 320;

/** The panel in index.html. */
export class WorkersView {
  readonly #list = byId("workers-list", HTMLUListElement);
  readonly #askingList = byId("workers-asking", HTMLUListElement);
  readonly #summary = byId("workers-summary", HTMLSpanElement);
  readonly #picture = byId("workers-timeline", HTMLDivElement);
  readonly #figure = byId("workers-figure", HTMLElement);
  readonly #panel = byId("workers", HTMLDetailsElement);
  #crew: PageCrew | undefined;
  #timeline = new WorkerTimeline();
  #numFrames = 0;
  #numSteps = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param onProblem is told in a sentence when the browser allows no new tab */
  constructor(onProblem: (sentence: string) => void) {
    byId("add-worker", HTMLButtonElement).addEventListener("click", () => void this.#crew?.addWorker());
    byId("open-tab", HTMLButtonElement).addEventListener("click", () => {
      if (this.#crew?.openTab() === false) {
        onProblem("The browser did not open the tab: allow pop-ups for this page, then try again.");
      }
    });
  }

  /** Shows a crew from now on. */
  attach(crew: PageCrew): void {
    this.#crew = crew;
    for (const id of ["add-worker", "open-tab"]) byId(id, HTMLButtonElement).disabled = false;
    this.refresh();
  }

  /** A render of so many frames begins. */
  begin(numFrames: number): void {
    this.#timeline = new WorkerTimeline();
    this.#numFrames = numFrames;
    this.#numSteps = 0;
    this.refresh();
  }

  /** Steps of the render, once they are known. */
  setSteps(numSteps: number): void {
    this.#numSteps = numSteps;
  }

  /** Something has happened among the workers. */
  see(event: CoordinatorEvent): void {
    this.#timeline.add(event);
    this.#timer ??= setTimeout(() => this.refresh(), DRAW_MS);
  }

  /** Draws what is known now. */
  refresh(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = this.#rows();
    const others = rows.filter(({ name, lost }) => name !== OWN_NAME && lost === undefined).length;
    this.#summary.textContent = others === 0 ? OWN_NAME : `${OWN_NAME} and ${others} more`;
    this.#list.replaceChildren(...rows.map((row) => this.#row(row)));
    const asking = this.#crew?.asking ?? [];
    this.#askingList.replaceChildren(...asking.map(({ id }) => this.#question(id)));
    if (asking.length > 0) this.#panel.open = true;
    const busy = rows.filter(({ spans }) => spans.length > 0);
    this.#figure.hidden = busy.length === 0;
    const drawing = drawTimeline(busy, this.#picture.clientWidth || NARROW_PX);
    if (drawing) this.#picture.replaceChildren(drawing);
  }

  /** Those of the last render, and those who have come since. */
  #rows(): WorkerRow[] {
    const seen = this.#timeline.rows;
    const names = [OWN_NAME, ...(this.#crew?.names ?? [])];
    const here = new Set(names);
    const known = seen.filter(({ name, lost }) => here.has(name) || lost !== undefined);
    const unknown = names.filter((name) => !known.some((row) => row.name === name));
    return [...known, ...unknown.map(waiting)];
  }

  #row(row: WorkerRow): HTMLElement {
    const { name, adapter, lost } = row;
    const about = adapter === "" ? [] : [element("span", { className: "hint", textContent: adapter })];
    const item = element(
      "li",
      { className: lost === undefined ? "" : "lost" },
      element("p", {}, element("strong", { textContent: name }), " ", ...about),
      element("p", { className: "hint", textContent: this.#facts(row).join(" · ") }),
    );
    if (this.#crew?.isOwn(name)) {
      const remove = element("button", { type: "button", className: "link", textContent: "remove" });
      remove.ariaLabel = `Remove ${name}`;
      remove.addEventListener("click", () => this.#crew?.removeWorker(name));
      item.append(remove);
    }
    return item;
  }

  #facts({ name, clip, step, bytesSent, hiddenShare, lost, spans }: WorkerRow): string[] {
    if (lost !== undefined) return [`left: ${lost}`];
    const isIdle = clip === undefined && spans.length === 0;
    if (isIdle) return [name === OWN_NAME ? "computes" : "waits for a video"];
    const steps = this.#numSteps > 0 ? `step ${step} of ${this.#numSteps}` : `step ${step}`;
    return [
      ...(clip ? [framesOfClip(clip, this.#numFrames)] : ["no frames"]),
      ...(clip?.passes ? [clip.passes.join(" and ")] : []),
      steps,
      ...(bytesSent > 0 ? [`${formatBytes(bytesSent)} sent`] : []),
      ...(hiddenShare === undefined ? [] : [`${Math.round(100 * hiddenShare)} % of transfers hidden`]),
    ];
  }

  #question(id: number): HTMLElement {
    const answer =
      (isWelcome: boolean): (() => void) =>
      () =>
        this.#crew?.answer(id, isWelcome);
    const yes = element("button", { type: "button", className: "primary", textContent: "Let it help" });
    yes.addEventListener("click", answer(true));
    const no = element("button", { type: "button", textContent: "No" });
    no.addEventListener("click", answer(false));
    return element("li", {}, element("p", { textContent: "Another tab wants to help." }), yes, no);
  }
}

function waiting(name: string): WorkerRow {
  return {
    name,
    adapter: "",
    clip: undefined,
    step: 0,
    bytesSent: 0,
    hiddenShare: undefined,
    lost: undefined,
    spans: [],
  };
}
