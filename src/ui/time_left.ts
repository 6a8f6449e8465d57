// How far a render is and how long it will still take. Pure: fed with events and clock readings. Sure only about the
// stage it sees; later stages come from the last render, or from what they usually cost beside denoising.
import type { Stage } from "../pipelines/events.ts";
import type { ServiceEvent } from "../parallel/render_protocol.ts";

/** Seconds each stage took, or is expected to take. */
export type StageSeconds = Readonly<Partial<Record<Stage, number>>>;

const STAGES: readonly Stage[] = ["load", "encode_prompt", "denoise", "decode", "encode_video"];

/** What a stage costs in a first render: seconds to start its engine, and seconds per second of denoising. */
const USUAL_COST: Readonly<Partial<Record<Stage, { readonly start: number; readonly share: number }>>> = {
  decode: { start: 2, share: 0.3 },
  encode_video: { start: 1, share: 0.1 },
};

/** Where on the bar each stage ends. */
const BAR_ENDS: Readonly<Record<Stage, number>> = {
  load: 0.04,
  encode_prompt: 0.08,
  denoise: 0.75,
  decode: 0.93,
  encode_video: 1,
};

/** Follows one render. Times are seconds of any one clock. */
export class TimeLeft {
  readonly #expected: StageSeconds;
  #stage: Stage | undefined;
  #began = 0;
  /** Done before this stage began: a render that goes on where another tab stopped. */
  #base: number | undefined;
  #fraction = 0;
  #fractionAt = 0;
  #denoiseSeconds: number | undefined;

  /** @param expected what a render of this size should take, if known (`scaleSeconds`) */
  constructor(expected: StageSeconds = {}) {
    this.#expected = expected;
  }

  /** Takes note of an event. */
  see(event: ServiceEvent, now: number): void {
    if (event.type === "stage") {
      if (this.#stage === "denoise") this.#denoiseSeconds = (now - this.#began) / (1 - (this.#base ?? 0));
      this.#stage = event.stage;
      this.#began = now;
      this.#base = undefined;
      this.#fraction = 0;
      this.#fractionAt = now;
    } else if (event.type === "progress" && event.stage === this.#stage && event.total > 0) {
      this.#base ??= event.stage === "denoise" ? Math.max(0, Math.ceil(event.done) - 1) / event.total : 0;
      this.#fraction = Math.min(1, event.done / event.total);
      this.#fractionAt = now;
    }
  }

  /** Seconds left; undefined while nothing is known. */
  secondsLeft(now: number): number | undefined {
    if (this.#stage === undefined) return undefined;
    const whole = this.#stageSeconds(now);
    if (whole === undefined) return undefined;
    const denoise = this.#stage === "denoise" ? whole : this.#denoiseSeconds;
    let left = Math.max(0, whole * (1 - (this.#base ?? 0)) - (now - this.#began));
    for (const stage of STAGES.slice(STAGES.indexOf(this.#stage) + 1)) {
      const { start, share } = USUAL_COST[stage] ?? { start: 0, share: 0 };
      const expected = this.#expected[stage] ?? (denoise === undefined ? undefined : start + share * denoise);
      if (expected === undefined) return undefined;
      left += expected;
    }
    return left;
  }

  /** 0..1 of the whole render, never falling. */
  get overall(): number {
    if (this.#stage === undefined) return 0;
    const index = STAGES.indexOf(this.#stage);
    const before = STAGES[index - 1];
    const start = before === undefined ? 0 : BAR_ENDS[before];
    return start + (BAR_ENDS[this.#stage] - start) * this.#fraction;
  }

  /** How long the current stage takes as a whole. */
  #stageSeconds(now: number): number | undefined {
    if (this.#stage === undefined) return undefined;
    const elapsed = this.#fractionAt - this.#began;
    const done = this.#fraction - (this.#base ?? 0);
    if (done > 0.01 && elapsed > 0) return elapsed / done;
    const expected = this.#expected[this.#stage];
    return expected === undefined ? undefined : Math.max(expected, now - this.#began);
  }
}

/** The size of a render, as far as time is concerned. */
export interface Work {
  readonly pixels: number;
  readonly steps: number;
}

/** What a render should take, from one that was measured. */
export function scaleSeconds(measured: StageSeconds, from: Work, to: Work): StageSeconds {
  const area = to.pixels / from.pixels;
  const factors: Readonly<Record<Stage, number>> = {
    load: 1,
    encode_prompt: 1,
    denoise: (area * to.steps) / from.steps,
    decode: area,
    encode_video: area,
  };
  return Object.fromEntries(STAGES.map((stage) => [stage, (measured[stage] ?? 0) * factors[stage]]));
}
