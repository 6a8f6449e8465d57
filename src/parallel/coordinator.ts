// Runs a job over workers: shares the work out, lets everybody take a step, keeps the video's state after it, and
// shares anew when a worker comes, goes or falls silent. Whatever happens costs at most the step under way.

import type { FrameRange } from "../attention/frame_range.ts";
import type { DenoiseState } from "../pipelines/denoise.ts";
import type { Command, Report } from "./clip_protocol.ts";
import { connectAll, type Connect, messageChannel } from "./connections.ts";
import type { CoordinatorEvent } from "./coordinator_events.ts";
import { type Divide, type Division, type Lane, placesOf, type SharedDivision } from "./division.ts";
import type { LatentShape } from "./latent_frames.ts";
import { findStalled, Member } from "./member.ts";
import type { Port } from "./port.ts";
import { StepKeeper } from "./step_keeper.ts";
import { watchEvery } from "./watch_timer.ts";

/** How a job is run. */
export interface CoordinatorOptions {
  /** For the workers' `open`; plain data. */
  readonly job: unknown;
  readonly token: string;
  /** Of the whole video. */
  readonly shape: LatentShape;
  readonly start: DenoiseState;
  readonly numSteps: number;
  /** Shares the work out, such as `divideBySpeed`. */
  readonly divide: Divide;
  /** Workers to wait for before the first step. */
  readonly numWorkers: number;
  /** How long workers that are ready wait for those that are not, before the first step. @default for ever */
  readonly patienceMs?: number | undefined;
  /** How long no worker may make progress before it counts as hung. @default 60 000 */
  readonly stallMs?: number | undefined;
  /** Connects two workers. @default a MessageChannel */
  readonly connect?: Connect | undefined;
  readonly onStep?: ((state: DenoiseState) => void | Promise<void>) | undefined;
  readonly onEvent?: ((event: CoordinatorEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Times in a row that a step is repeated with the same workers. */
const MAX_REPEATS = 3;

/** A job over workers. Add workers at any time; `run` resolves with the state after the last step. */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #members = new Set<Member>();
  readonly #keeper: StepKeeper;
  readonly #done: Promise<DenoiseState>;
  #resolve: (state: DenoiseState) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;
  #division: Division = [];
  /** Workers that the division was made for; some may have got nothing. */
  #considered: ReadonlySet<Member> = new Set();
  #epoch = 0;
  #repeats = 0;
  #isRunning = false;
  #isOver = false;
  #isCommitting = false;
  /** Workers that were lost before the first step. */
  #lostEarly = 0;
  /** Names of all that have ever joined. */
  readonly #heard = new Set<string>();
  #lastLoss = "none has joined";
  #isPatient = true;
  #patience: ReturnType<typeof setTimeout> | undefined;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#keeper = new StepKeeper(options.shape, options.start);
    this.#done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#done.catch(() => undefined); // `run` passes it on
  }

  /** Takes a worker in; it computes from the next step on. */
  add(port: Port): void {
    const member = new Member(port, this.#options.token);
    this.#members.add(member);
    member.listen({
      onMessage: (report) => this.#hear(member, report),
      onClose: () => this.#lose(member, "it has gone"),
    });
  }

  /** Waits no longer for a worker that has ended; one that had joined is known to be lost by its port. */
  giveUp(name: string, reason: string): void {
    if (this.#heard.has(name) || this.#isOver) return;
    this.#mourn(name, reason);
  }

  /**
   * Runs all steps that are left.
   *
   * @throws when no worker is left, a step fails again and again, or AbortError
   */
  async run(): Promise<DenoiseState> {
    const { signal, stallMs = 60_000, start, numSteps } = this.#options;
    const abort = (): void => this.#reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const stopWatching = watchEvery(Math.min(1000, stallMs / 4), {
      check: () => this.#watch(stallMs),
      excuse: () => this.#members.forEach((member) => member.excuse()),
    });
    try {
      signal?.throwIfAborted();
      if (start.step >= numSteps) return start;
      this.#isRunning = true;
      this.#beginWhenReady();
      return await this.#done;
    } finally {
      this.#isRunning = false;
      this.#isOver = true;
      stopWatching();
      clearTimeout(this.#patience);
      signal?.removeEventListener("abort", abort);
      const members = [...this.#members];
      for (const member of members) member.send({ type: "end" });
      // The message must be gone before its port is.
      setTimeout(() => members.forEach((member) => member.close()), END_MS);
      this.#members.clear();
    }
  }

  #hear(member: Member, report: Report): void {
    switch (report.type) {
      case "hello":
        this.#heard.add(report.name);
        member.send({ type: "job", job: this.#options.job });
        break;
      case "ready":
        this.#tell({ type: "joined", worker: member.name, adapter: member.adapter });
        this.#beginWhenReady();
        break;
      case "status":
        break;
      case "stepped":
        void this.#takeStep(member, report);
        break;
      case "failed":
        if (report.isFatal) this.#lose(member, `${report.name}: ${report.message}`);
        else if (report.epoch === this.#epoch) this.#repeat(`${member.name}: ${report.message}`);
        break;
    }
  }

  async #takeStep(member: Member, report: Report & { type: "stepped" }): Promise<void> {
    const { step } = this.#keeper.state;
    if (report.epoch !== this.#epoch || member.part === undefined || report.step !== step + 1) return;
    if (this.#isCommitting || !this.#isRunning) return;
    try {
      this.#keeper.put(this.#division, member.part, report.slots);
      member.advance();
      const { statistics, peakBytes } = report;
      this.#tell({ type: "stepped", step: report.step, worker: member.name, statistics, peakBytes });
      const state = this.#keeper.commit(this.#division);
      if (state === undefined) return;
      this.#repeats = 0;
      this.#isCommitting = true;
      await this.#options.onStep?.(state);
      this.#isCommitting = false;
      this.#proceed(state);
    } catch (error) {
      this.#reject(error);
    }
  }

  /** After a step: the next one, with the same parts unless somebody waits for one or has gone. */
  #proceed(state: DenoiseState): void {
    if (state.step >= this.#options.numSteps) this.#resolve(state);
    else if (this.#needsNewDivision()) this.#share();
    else {
      for (const member of this.#members) member.advance();
      this.#command({ type: "go", epoch: this.#epoch, step: state.step });
    }
  }

  #needsNewDivision(): boolean {
    const working = [...this.#members].filter(({ part }) => part !== undefined).length;
    const isIncomplete = working < placesOf(this.#division).length;
    if (isIncomplete || this.#ready().every((member) => this.#considered.has(member))) return isIncomplete;
    return placesOf(this.#divide()).length > working;
  }

  /** Who joined and is gone before the first step is not waited for, nor is who takes too long. */
  #beginWhenReady(): void {
    if (!this.#isRunning || this.#epoch > 0) return;
    const { numWorkers, patienceMs } = this.#options;
    const numReady = this.#ready().length;
    const waitedFor = this.#isPatient ? numWorkers - this.#lostEarly : 0;
    if (numReady >= Math.max(1, waitedFor)) this.#share();
    else if (waitedFor <= 0 && this.#members.size === 0) this.#rejectWithoutWorkers();
    else if (numReady > 0 && patienceMs !== undefined) {
      this.#patience ??= setTimeout(() => {
        this.#isPatient = false;
        this.#beginWhenReady();
      }, patienceMs);
    }
  }

  #rejectWithoutWorkers(): void {
    this.#reject(new Error(`No worker is left at step ${this.#keeper.state.step}: ${this.#lastLoss}.`));
  }

  /** Gives the work out anew, from the last step that all have taken. */
  #share(): void {
    const ready = this.#ready();
    if (ready.length === 0) {
      this.#rejectWithoutWorkers();
      return;
    }
    const division = this.#divide();
    this.#considered = new Set(ready);
    this.#division = division.map(({ passes, clips }) => ({ passes, clips }));
    this.#epoch++;
    this.#keeper.discard();
    for (const member of this.#members) member.take();
    const owners = division.flatMap(({ workers }) => workers.flatMap((worker) => ready[worker] ?? []));
    owners.forEach((owner, part) => this.#give(owner, part));
    for (const member of ready) if (member.part === undefined) member.send({ type: "stop" });
    connectAll(owners, this.#epoch, this.#options.connect ?? messageChannel);
    const { step } = this.#keeper.state;
    const clips = owners.map(({ name }, part) => ({ worker: name, ...this.#clipOf(part) }));
    this.#tell({ type: "shared", step, clips, division: this.#division });
  }

  #divide(): SharedDivision {
    return this.#options.divide(this.#ready().map(({ speed }) => speed));
  }

  #give(owner: Member, part: number): void {
    const { step } = this.#keeper.state;
    const { shape } = this.#options;
    const slots = this.#keeper.cut(this.#clipOf(part));
    const division = this.#division.map(({ passes, clips }) => ({
      passes: passes && [...passes],
      clips: clips.map(({ start, end }) => ({ start, end })),
    }));
    owner.give({ type: "part", epoch: this.#epoch, division, part, shape: [...shape], step, slots });
  }

  /** The frames of a part, and its passes where it has not all. */
  #clipOf(part: number): FrameRange & Pick<Lane, "passes"> {
    const { lane = 0, clip = 0 } = placesOf(this.#division)[part] ?? {};
    const { passes, clips } = this.#division[lane] ?? { clips: [] };
    const { start = 0, end = 0 } = clips[clip] ?? {};
    return this.#division.length > 1 ? { passes, start, end } : { start, end };
  }

  #lose(member: Member, reason: string): void {
    if (!this.#members.delete(member)) return;
    member.close();
    if (!member.isKnown) return;
    const isEarly = this.#epoch === 0;
    this.#mourn(member.name, reason);
    if (isEarly) return;
    // While a step is being kept, `#proceed` finds out by itself.
    if (this.#isRunning && !this.#isCommitting && member.part !== undefined) this.#share();
  }

  #mourn(name: string, reason: string): void {
    this.#lastLoss = `${name} was lost (${reason})`;
    this.#tell({ type: "lost", worker: name, reason });
    if (this.#epoch > 0) return;
    this.#lostEarly++;
    this.#beginWhenReady();
  }

  #repeat(reason: string): void {
    const { step } = this.#keeper.state;
    this.#repeats++;
    if (this.#repeats > MAX_REPEATS) {
      this.#reject(new Error(`Step ${step + 1} failed ${this.#repeats} times; the last time: ${reason}`));
      return;
    }
    this.#tell({ type: "repeated", step, reason });
    this.#share();
  }

  /** Finds workers that neither compute nor wait for others, and steps that nobody gets on with. */
  #watch(stallMs: number): void {
    const now = performance.now();
    const seconds = Math.round(stallMs / 1000);
    for (const member of this.#members) {
      if (member.silentMs(now) > stallMs) this.#lose(member, `silent for ${seconds} s`);
    }
    if (this.#isCommitting || this.#epoch === 0) return;
    const open = [...this.#members].filter(({ part }) => part !== undefined && !this.#keeper.has(part));
    const { hung, isDeadlock } = findStalled(open, { now, stallMs });
    for (const member of hung) this.#lose(member, `no progress for ${seconds} s`);
    if (isDeadlock) this.#repeat("keys were lost on their way");
  }

  #ready(): Member[] {
    return [...this.#members].filter(({ isReady }) => isReady);
  }

  #command(command: Command): void {
    for (const member of this.#members) if (member.part !== undefined) member.send(command);
  }

  #tell(event: CoordinatorEvent): void {
    this.#options.onEvent?.(event);
  }
}

const END_MS = 100;
