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

/** The bar in index.html; follows one render at a time. */
export class ProgressView {
  readonly #root = byId("progress", HTMLDivElement);
  readonly #bar = byId("progress-bar", HTMLDivElement);
  readonly #words = byId("progress-stage", HTMLSpanElement);
  readonly #left = byId("progress-left", HTMLSpanElement);
  readonly #announcer = byId("announcer", HTMLParagraphElement);
  readonly #title = document.title;
  #timeLeft = new TimeLeft();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param expected what each stage should take, if known */
  begin(expected: StageSeconds): void {
    this.#timeLeft = new TimeLeft(expected);
    this.#root.hidden = false;
    this.#show(0, "Starting");
    this.#announce("The render starts.");
    this.#left.textContent = "";
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  see(event: ServiceEvent): void {
    this.#timeLeft.see(event, now());
    if (event.type === "download") {
      this.#show(event.done / event.total, describeDownload(event));
    } else if (event.type === "stage") {
      this.#show(this.#timeLeft.overall, STAGE_NAMES[event.stage]);
      this.#announce(STAGE_NAMES[event.stage]);
      this.#tick();
    } else if (event.type === "progress") {
      const text = describeProgress(event);
      this.#show(this.#timeLeft.overall, text);
      if (event.stage === "denoise") this.#announce(text);
    }
  }

  /** The visitor has cancelled; the worker still has to hear it. */
  stopping(): void {
    clearInterval(this.#timer);
    this.#words.textContent = "Stopping…";
    this.#left.textContent = "";
  }

  end(announcement: string): void {
    clearInterval(this.#timer);
    this.#root.hidden = true;
    document.title = this.#title;
    this.#announce(announcement);
  }

  #show(fraction: number, text: string): void {
    const percent = Math.floor(100 * fraction);
    this.#bar.style.setProperty("--done", String(fraction));
    this.#bar.ariaValueNow = String(percent);
    this.#bar.ariaValueText = text;
    this.#words.textContent = text;
    document.title = `${percent} % · ${this.#title}`;
  }

  #tick(): void {
    const seconds = this.#timeLeft.secondsLeft(now());
    this.#left.textContent = seconds === undefined ? "" : formatTimeLeft(seconds);
  }

  #announce(text: string): void {
    if (this.#announcer.textContent !== text) this.#announcer.textContent = text;
  }
}

function now(): number {
  return performance.now() / 1000;
}

function describeDownload({ done, total }: { readonly done: number; readonly total: number }): string {
  return `Fetching the model, ${formatBytes(done)} of ${formatBytes(total)}`;
}

function describeProgress(event: ServiceEvent & { type: "progress" }): string {
  const name = STAGE_NAMES[event.stage];
  if (event.unit !== "steps") return name;
  return `${name}, step ${Math.min(event.total, Math.floor(event.done) + 1)} of ${event.total}`;
}
