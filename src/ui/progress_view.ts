// The progress bar, its words, and what a screen reader hears of it (stages and steps only, not every percent).
import type { ServiceEvent } from "../parallel/render_protocol.ts";
import type { Stage } from "../pipelines/events.ts";
import { byId } from "./dom.ts";
import { formatBytes, formatTimeLeft } from "./format.ts";
import { TimeLeft, type StageSeconds } from "./time_left.ts";

const STAGE_NAMES: Readonly<Record<Stage, string>> = {
  load: "Loading the weights",
  encode_prompt: "Reading the prompt",
  denoise: "Denoising",
  decode: "Decoding the frames",
  encode_video: "Writing the file",
};

/** How often the time left is counted down between events. */
const TICK_MS = 1000;

/** The progress of one render at a time. */
export interface ProgressView {
  begin(expected: StageSeconds): void;
  see(event: ServiceEvent): void;
  end(announcement: string): void;
}

/** Binds the bar in index.html. */
export function createProgressView(): ProgressView {
  const root = byId("progress", HTMLDivElement);
  const bar = root.querySelector<HTMLElement>(".bar") ?? root;
  const words = byId("progress-stage", HTMLSpanElement);
  const left = byId("progress-left", HTMLSpanElement);
  const announcer = byId("announcer", HTMLParagraphElement);
  const title = document.title;
  const now = (): number => performance.now() / 1000;
  let timeLeft = new TimeLeft();
  let timer: ReturnType<typeof setInterval> | undefined;

  const announce = (text: string): void => {
    if (announcer.textContent !== text) announcer.textContent = text;
  };
  const show = (fraction: number, text: string): void => {
    const percent = Math.floor(100 * fraction);
    bar.style.setProperty("--done", String(fraction));
    bar.ariaValueNow = String(percent);
    bar.ariaValueText = text;
    words.textContent = text;
    document.title = `${percent} % · ${title}`;
  };
  const tick = (): void => {
    const seconds = timeLeft.secondsLeft(now());
    left.textContent = seconds === undefined ? "" : formatTimeLeft(seconds);
  };
  return {
    begin(expected) {
      timeLeft = new TimeLeft(expected);
      root.hidden = false;
      show(0, "Starting");
      announce("The render starts.");
      left.textContent = "";
      timer = setInterval(tick, TICK_MS);
    },
    see(event) {
      timeLeft.see(event, now());
      if (event.type === "download") {
        show(event.done / event.total, describeDownload(event));
      } else if (event.type === "stage") {
        show(timeLeft.overall, STAGE_NAMES[event.stage]);
        announce(STAGE_NAMES[event.stage]);
        tick();
      } else if (event.type === "progress") {
        const text = describeProgress(event);
        show(timeLeft.overall, text);
        if (event.stage === "denoise") announce(text);
      }
    },
    end(announcement) {
      clearInterval(timer);
      root.hidden = true;
      document.title = title;
      announce(announcement);
    },
  };
}

function describeDownload({ done, total }: { readonly done: number; readonly total: number }): string {
  return `Fetching the model, ${formatBytes(done)} of ${formatBytes(total)}`;
}

function describeProgress(event: ServiceEvent & { type: "progress" }): string {
  const name = STAGE_NAMES[event.stage];
  if (event.unit !== "steps") return name;
  return `${name}, step ${Math.min(event.total, Math.floor(event.done) + 1)} of ${event.total}`;
}
