// Renders that a reload, a crash or a closed tab has interrupted, and what can be done with them.
import type { UnfinishedJob } from "../parallel/render_protocol.ts";
import { byId, element } from "./dom.ts";

/** What the visitor can ask for. */
export interface UnfinishedActions {
  readonly onResume: (job: UnfinishedJob) => void;
  readonly onDiscard: (job: UnfinishedJob) => void;
}

/** Shows the jobs that nobody is at work on; nothing when there are none, or while the page is at work itself. */
export function showUnfinished(jobs: readonly UnfinishedJob[], actions: UnfinishedActions): void {
  const root = byId("unfinished", HTMLElement);
  const waiting = jobs.filter(({ isRunning }) => !isRunning);
  root.hidden = waiting.length === 0;
  byId("unfinished-list", HTMLUListElement).replaceChildren(...waiting.map((job) => row(job, actions)));
}

/** Hides them while the page is at work. */
export function hideUnfinished(): void {
  byId("unfinished", HTMLElement).hidden = true;
}

function row(job: UnfinishedJob, { onResume, onDiscard }: UnfinishedActions): HTMLElement {
  const { request, step, numSteps } = job;
  const resume = element("button", { type: "button", className: "resume", textContent: "Resume" });
  resume.ariaLabel = `Resume “${request.prompt}”`;
  resume.addEventListener("click", () => onResume(job));
  const discard = element("button", { type: "button", className: "link", textContent: "discard" });
  discard.ariaLabel = `Discard “${request.prompt}”`;
  discard.addEventListener("click", () => onDiscard(job));
  const what = element("p", {}, request.prompt);
  const where = element("p", { className: "hint" }, `${step} of ${numSteps} steps done · `, discard);
  return element("li", {}, element("div", {}, what, where), resume);
}
