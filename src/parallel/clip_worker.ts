// A worker of a job: opens what the coordinator names, computes the clips it is given step by step, and tells about it.
// How a clip is computed is the computer's business, how messages travel the port's.

import type { FrameRange } from "../attention/frame_range.ts";
import type { DenoiseState } from "../pipelines/denoise.ts";
import type { PassSharing } from "../pipelines/pass_sharing.ts";
import type { ClipExchange } from "./clip_exchange.ts";
import { type Command, commandSchema, type Report } from "./clip_protocol.ts";
import { Link } from "./link.ts";
import type { WorkerSpeed } from "./partition.ts";
import { type Port, portOf } from "./port.ts";
import { type KeyOptions, RunningPart } from "./running_part.ts";

/** A clip and what it is computed from. */
export interface ClipWork {
  /** Latent frames. */
  readonly clip: FrameRange;
  /** Of the own frames. */
  readonly start: DenoiseState;
  readonly exchange: ClipExchange;
  /** Passes that other workers compute; undefined when all are computed here. */
  readonly sharing?: PassSharing | undefined;
  /** To be called after every step, and waited for. */
  readonly onStep: (state: DenoiseState) => Promise<void>;
  /** To be called now and then: steps done, with the fraction of the step under way. */
  readonly onProgress: (steps: number) => void;
  readonly signal: AbortSignal;
}

/** An opened job. */
export interface ClipComputer {
  readonly keys: KeyOptions;
  readonly speed?: WorkerSpeed | undefined;
  /** The most GPU memory in use at a time so far; undefined for a CPU. */
  readonly peakBytes?: (() => number) | undefined;
  /** Computes a clip from its start to the last step; one at a time. Rejects soon after an abort. */
  run(work: ClipWork): Promise<void>;
  dispose(): Promise<void> | void;
}

/** What a worker is made of. */
export interface ClipWorkerOptions {
  /** To the coordinator. */
  readonly port: Port;
  readonly token: string;
  /** For people. */
  readonly name: string;
  readonly adapter: string;
  /** Where other workers reach this one, for transports that need that. */
  readonly address?: string | undefined;
  /** Opens a job as the coordinator describes it. */
  readonly open: (job: unknown) => Promise<ClipComputer>;
  /** Whether nothing can be computed here any more after an error, such as a lost device. @default never */
  readonly isFatal?: ((error: unknown) => boolean) | undefined;
  /** Makes a port of what `peer` commands carry. @default a MessagePort's */
  readonly toPort?: ((carried: unknown) => Port) | undefined;
  /** @default 250 */
  readonly heartbeatMs?: number | undefined;
}

/** Works until the coordinator ends the job or is gone. */
export async function runClipWorker(options: ClipWorkerOptions): Promise<void> {
  await new ClipWorker(options).ended;
}

class ClipWorker {
  /** Resolves when there is nothing left to do. */
  readonly ended: Promise<void>;
  readonly #options: ClipWorkerOptions;
  readonly #link: Link<Report, Command>;
  #computer: ClipComputer | undefined;
  #part: RunningPart | undefined;
  /** Grows with what the computer says of its progress. */
  #progress = 0;
  /** Lets the step after the last one begin. */
  #go: () => void = () => undefined;
  /** The part before may still be ending. */
  #idle: Promise<void> = Promise.resolve();

  constructor(options: ClipWorkerOptions) {
    this.#options = options;
    const { port, token, name, adapter, address, heartbeatMs = 250 } = options;
    this.#link = new Link<Report, Command>(port, { token, schema: commandSchema });
    const heart = setInterval(() => this.#beat(), heartbeatMs);
    this.ended = new Promise<void>((resolve) => {
      const end = (): void => {
        this.#stop();
        void this.#idle.then(() => this.#computer?.dispose()).finally(resolve);
      };
      this.#link.listen({
        onMessage: (command) => (command.type === "end" ? end() : this.#obey(command)),
        onClose: end,
      });
    }).finally(() => {
      clearInterval(heart);
      this.#link.close();
    });
    this.#link.send({ type: "hello", name, adapter, address });
  }

  #obey(command: Exclude<Command, { type: "end" }>): void {
    switch (command.type) {
      case "job":
        this.#idle = this.#open(command.job);
        break;
      case "part":
        this.#begin(command);
        break;
      case "peer":
        this.#meet(command);
        break;
      case "go":
        if (command.epoch === this.#part?.epoch) this.#go();
        break;
      case "stop":
        this.#stop();
        break;
    }
  }

  async #open(job: unknown): Promise<void> {
    try {
      this.#computer = await this.#options.open(job);
      this.#link.send({ type: "ready", speed: this.#computer.speed });
    } catch (error) {
      this.#report(0, error, true);
    }
  }

  #begin(command: Command & { type: "part" }): void {
    this.#stop();
    const computer = this.#computer;
    if (computer === undefined) return;
    const running = new RunningPart(command, computer.keys);
    this.#part = running;
    const { step, slots } = command;
    const work: ClipWork = {
      clip: running.clip,
      start: { step, slots },
      exchange: running.keys,
      sharing: running.predictions,
      onStep: (state) => this.#finishStep(running, state),
      onProgress: () => this.#progress++,
      signal: running.signal,
    };
    this.#idle = this.#idle.then(() => this.#run(computer, running, work));
  }

  async #run(computer: ClipComputer, { epoch, signal }: RunningPart, work: ClipWork): Promise<void> {
    try {
      signal.throwIfAborted();
      await computer.run(work);
    } catch (error) {
      if (!signal.aborted) this.#report(epoch, error, this.#options.isFatal?.(error) ?? false);
    }
  }

  /** Tells the coordinator and waits until everybody is as far. */
  async #finishStep(running: RunningPart, { step, slots }: DenoiseState): Promise<void> {
    const { epoch, signal, statistics, isFirstLane } = running;
    signal.throwIfAborted(); // what is on the GPU's queue is computed all the same, and its step too late
    const peakBytes = this.#computer?.peakBytes?.();
    let stop: () => void = () => undefined;
    const allowed = new Promise<void>((resolve, reject) => {
      this.#go = resolve;
      stop = () => reject(signal.reason as Error);
      signal.addEventListener("abort", stop, { once: true });
    });
    const own = new Map(isFirstLane ? [...slots].map(([slot, data]) => [slot, new Float32Array(data)]) : []);
    this.#link.send({ type: "stepped", epoch, step, slots: own, statistics, peakBytes });
    await allowed.finally(() => signal.removeEventListener("abort", stop));
  }

  #meet({ epoch, part, port: carried }: Command & { type: "peer" }): void {
    const { token, toPort = (each) => portOf(each as MessagePort) } = this.#options;
    const port = toPort(carried);
    if (this.#part?.epoch === epoch) this.#part.meet(part, port, token);
    else port.close();
  }

  #stop(): void {
    this.#part?.stop(new DOMException("The clip was taken back.", "AbortError"));
    this.#part = undefined;
  }

  #beat(): void {
    const { epoch = 0, progress: exchanged = 0, waitingFor = [] } = this.#part ?? {};
    const progress = this.#progress + exchanged;
    this.#link.send({ type: "status", epoch, progress, waitingFor: [...waitingFor] });
  }

  #report(epoch: number, error: unknown, isFatal: boolean): void {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    this.#link.send({ type: "failed", epoch, isFatal, name, message });
  }
}
