// Runs a job over workers: shares the frames out, lets everybody take a step, keeps the video's state after it, and
// shares anew when a worker comes, goes or falls silent. Whatever happens costs at most the step under way.

import type { DenoiseState } from "../pipelines/denoise.ts";
import { type Command, type Report, reportSchema } from "./clip_protocol.ts";
import type { ExchangeStatistics } from "./clip_exchange.ts";
import type { Partition } from "./exchange_plan.ts";
import type { LatentShape } from "./latent_frames.ts";
import { Link } from "./link.ts";
import { partitionFrames, type WorkerSpeed } from "./partition.ts";
import type { Port, Transferred } from "./port.ts";
import { StepKeeper } from "./step_keeper.ts";

/** What happens in a job, for people and traces. */
export type CoordinatorEvent =
  | { readonly type: "joined"; readonly worker: string; readonly adapter: string }
  | { readonly type: "lost"; readonly worker: string; readonly reason: string }
  /** Clips were given out: of each worker that got one. */
  | { readonly type: "shared"; readonly step: number; readonly clips: readonly WorkerClip[] }
  /** A step of one worker. */
  | {
      readonly type: "stepped";
      readonly step: number;
      readonly worker: string;
      readonly statistics: ExchangeStatistics;
    }
  /** The step is repeated with the same workers. */
  | { readonly type: "repeated"; readonly step: number; readonly reason: string };

/** Who computes which frames. */
export interface WorkerClip {
  readonly worker: string;
  readonly start: number;
  readonly end: number;
}

/** How a job is run. */
export interface CoordinatorOptions {
  /** For the workers' `open`; plain data. */
  readonly job: unknown;
  readonly token: string;
  /** Of the whole video. */
  readonly shape: LatentShape;
  readonly start: DenoiseState;
  readonly numSteps: number;
  /** [frames]: key frames that each query frame sees, mean over layers. */
  readonly pairs: readonly number[];
  /** Frames of a clip at least. @default 1 */
  readonly minFrames?: number | undefined;
  /** Workers to wait for before the first step. */
  readonly numWorkers: number;
  /** How long no worker may make progress before it counts as hung. @default 60 000 */
  readonly stallMs?: number | undefined;
  /** Connects two workers: what each gets as its port, and what has to be moved with it. @default a MessageChannel */
  readonly connect?: Connect | undefined;
  readonly onStep?: ((state: DenoiseState) => void | Promise<void>) | undefined;
  readonly onEvent?: ((event: CoordinatorEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Connects two workers.
 *
 * @param one address of the one, where it has one
 * @param ticket names this connection and no other
 */
export type Connect = (
  one: string | undefined,
  other: string | undefined,
  ticket: string,
) => readonly [Carried, Carried];

/** A port on its way to a worker. */
export interface Carried {
  readonly port: unknown;
  readonly transfer: readonly Transferred[];
}

/** Times in a row that a step is repeated with the same workers. */
const MAX_REPEATS = 3;

interface Member {
  readonly link: Link<Command, Report>;
  name: string;
  adapter: string;
  address: string | undefined;
  /** It belongs to the job. */
  isKnown: boolean;
  isReady: boolean;
  speed: WorkerSpeed | undefined;
  /** Number of its clip in this epoch. */
  clip: number | undefined;
  progress: number;
  progressAt: number;
  heardAt: number;
  waitingFor: readonly number[];
}

/** A job over workers. Add workers at any time; `run` resolves with the state after the last step. */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #members = new Set<Member>();
  readonly #keeper: StepKeeper;
  readonly #done: Promise<DenoiseState>;
  #resolve: (state: DenoiseState) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;
  #partition: Partition = [];
  #epoch = 0;
  #repeats = 0;
  #isRunning = false;
  #isCommitting = false;
  /** Workers that joined and were lost before the first step. */
  #lostEarly = 0;
  #lastLoss = "none has joined";

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
    const { token } = this.#options;
    const link = new Link<Command, Report>(port, { token, schema: reportSchema });
    const at = performance.now();
    const fresh = {
      isKnown: false,
      isReady: false,
      speed: undefined,
      clip: undefined,
      progress: -1,
      waitingFor: [],
    };
    const member: Member = {
      link,
      name: "a worker",
      adapter: "",
      address: undefined,
      ...fresh,
      progressAt: at,
      heardAt: at,
    };
    this.#members.add(member);
    link.listen({
      onMessage: (report) => this.#hear(member, report),
      onClose: () => this.#lose(member, "it has gone"),
    });
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
    const watch = setInterval(() => this.#watch(stallMs), Math.min(1000, stallMs / 4));
    try {
      signal?.throwIfAborted();
      if (start.step >= numSteps) return start;
      this.#isRunning = true;
      this.#beginWhenReady();
      return await this.#done;
    } finally {
      this.#isRunning = false;
      clearInterval(watch);
      signal?.removeEventListener("abort", abort);
      for (const { link } of this.#members) link.send({ type: "end" });
      // The message must be gone before its port is.
      const links = [...this.#members].map(({ link }) => link);
      setTimeout(() => links.forEach((link) => link.close()), END_MS);
      this.#members.clear();
    }
  }

  #hear(member: Member, report: Report): void {
    member.heardAt = performance.now();
    switch (report.type) {
      case "hello":
        member.name = report.name;
        member.adapter = report.adapter;
        member.address = report.address;
        member.isKnown = true;
        member.link.send({ type: "job", job: this.#options.job });
        break;
      case "ready":
        member.isReady = true;
        member.speed = report.speed;
        this.#tell({ type: "joined", worker: member.name, adapter: member.adapter });
        this.#beginWhenReady();
        break;
      case "status":
        if (report.epoch !== this.#epoch) break;
        if (report.progress !== member.progress) this.#advance(member);
        member.progress = report.progress;
        member.waitingFor = report.waitingFor;
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

  #advance(member: Member): void {
    member.progressAt = performance.now();
  }

  async #takeStep(member: Member, report: Report & { type: "stepped" }): Promise<void> {
    const { step } = this.#keeper.state;
    if (report.epoch !== this.#epoch || member.clip === undefined || report.step !== step + 1) return;
    if (this.#isCommitting || !this.#isRunning) return;
    try {
      this.#keeper.put(this.#partition, member.clip, report.slots);
      this.#advance(member);
      this.#tell({ type: "stepped", step: report.step, worker: member.name, statistics: report.statistics });
      const state = this.#keeper.commit(this.#partition);
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

  /** After a step: the next one, with the same clips unless somebody waits for one or has gone. */
  #proceed(state: DenoiseState): void {
    if (state.step >= this.#options.numSteps) this.#resolve(state);
    else if (this.#needsNewClips()) this.#share();
    else {
      for (const member of this.#members) this.#advance(member);
      this.#command({ type: "go", epoch: this.#epoch, step: state.step });
    }
  }

  #needsNewClips(): boolean {
    const working = [...this.#members].filter(({ clip }) => clip !== undefined).length;
    const isIncomplete = working < this.#partition.length;
    const wanted = Math.min(this.#ready().length, Math.floor(this.#options.pairs.length / this.#minFrames()));
    return isIncomplete || wanted > working;
  }

  /** Who joined and is gone before the first step is not waited for. */
  #beginWhenReady(): void {
    if (!this.#isRunning || this.#epoch > 0) return;
    const waitedFor = this.#options.numWorkers - this.#lostEarly;
    if (this.#ready().length >= Math.max(1, waitedFor)) this.#share();
    else if (waitedFor <= 0 && this.#members.size === 0) this.#rejectWithoutWorkers();
  }

  #rejectWithoutWorkers(): void {
    this.#reject(new Error(`No worker is left at step ${this.#keeper.state.step}: ${this.#lastLoss}.`));
  }

  /** Gives the frames out anew, from the last step that all have taken. */
  #share(): void {
    const ready = this.#ready();
    if (ready.length === 0) {
      this.#rejectWithoutWorkers();
      return;
    }
    const { clips, workers } = partitionFrames({
      pairs: this.#options.pairs,
      minFrames: this.#minFrames(),
      speeds: equalised(ready.map(({ speed }) => speed)),
    });
    this.#epoch++;
    this.#partition = clips;
    this.#keeper.discard();
    for (const member of this.#members) member.clip = undefined;
    const owners = workers.flatMap((worker) => ready[worker] ?? []);
    owners.forEach((owner, clip) => this.#give(owner, clip));
    for (const member of ready) if (member.clip === undefined) member.link.send({ type: "stop" });
    this.#introduce(owners);
    const shared = owners.map(({ name }, i) => ({ worker: name, ...(clips[i] ?? { start: 0, end: 0 }) }));
    this.#tell({ type: "shared", step: this.#keeper.state.step, clips: shared });
  }

  #give(owner: Member, clip: number): void {
    const { step } = this.#keeper.state;
    owner.clip = clip;
    owner.progress = -1;
    owner.waitingFor = [];
    this.#advance(owner);
    const slots = this.#keeper.cut(this.#partition[clip] ?? { start: 0, end: 0 });
    const partition = this.#partition.map(({ start, end }) => ({ start, end }));
    owner.link.send({ type: "clip", epoch: this.#epoch, partition, clip, step, slots });
  }

  /** Gives every two workers with a clip a connection of their own, for this epoch. */
  #introduce(owners: readonly Member[]): void {
    const { connect = messageChannel } = this.#options;
    for (const [a, one] of owners.entries()) {
      for (const [b, other] of owners.entries()) {
        if (b <= a) continue;
        const ticket = `${this.#epoch} ${a} ${b}`;
        const [ofOne, ofOther] = connect(one.address, other.address, ticket);
        const epoch = this.#epoch;
        one.link.send({ type: "peer", epoch, clip: b, port: ofOne.port }, ofOne.transfer);
        other.link.send({ type: "peer", epoch, clip: a, port: ofOther.port }, ofOther.transfer);
      }
    }
  }

  #lose(member: Member, reason: string): void {
    if (!this.#members.delete(member)) return;
    member.link.close();
    if (!member.isKnown) return;
    this.#lastLoss = `${member.name} was lost (${reason})`;
    this.#tell({ type: "lost", worker: member.name, reason });
    if (this.#epoch === 0) {
      this.#lostEarly++;
      this.#beginWhenReady();
      return;
    }
    // While a step is being kept, `#proceed` finds out by itself.
    if (this.#isRunning && !this.#isCommitting && member.clip !== undefined) this.#share();
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
    for (const member of this.#members) {
      if (now - member.heardAt > stallMs) this.#lose(member, `silent for ${Math.round(stallMs / 1000)} s`);
    }
    if (this.#isCommitting || this.#epoch === 0) return;
    const open = [...this.#members].filter(({ clip }) => clip !== undefined && !this.#keeper.has(clip));
    const stalled = open.filter(({ progressAt }) => now - progressAt > stallMs);
    const hung = stalled.filter(({ waitingFor }) => waitingFor.length === 0);
    for (const member of hung) this.#lose(member, `no progress for ${Math.round(stallMs / 1000)} s`);
    if (hung.length === 0 && stalled.length > 0 && stalled.length === open.length) {
      this.#repeat("keys were lost on their way");
    }
  }

  #ready(): Member[] {
    return [...this.#members].filter(({ isReady }) => isReady);
  }

  #minFrames(): number {
    return this.#options.minFrames ?? 1;
  }

  #command(command: Command): void {
    for (const { link, clip } of this.#members) if (clip !== undefined) link.send(command);
  }

  #tell(event: CoordinatorEvent): void {
    this.#options.onEvent?.(event);
  }
}

const END_MS = 100;

/** Workers whose speed was not measured count as fast as the others on average. */
function equalised(speeds: readonly (WorkerSpeed | undefined)[]): WorkerSpeed[] {
  const known = speeds.filter((speed) => speed !== undefined);
  const mean = (part: keyof WorkerSpeed): number =>
    known.reduce((sum, speed) => sum + speed[part], 0) / known.length;
  const unknown =
    known.length === 0
      ? { perFrame: 1, perPair: 0 }
      : { perFrame: mean("perFrame"), perPair: mean("perPair") };
  return speeds.map((speed) => speed ?? unknown);
}

function messageChannel(): readonly [Carried, Carried] {
  const { port1, port2 } = new MessageChannel();
  return [
    { port: port1, transfer: [port1] },
    { port: port2, transfer: [port2] },
  ];
}
