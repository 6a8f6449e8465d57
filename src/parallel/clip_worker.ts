// A worker of a job: opens what the coordinator names, computes the clips it is given step by step, and tells about it.
// How a clip is computed is the computer's business, how messages travel the port's.

import type { DenoiseState } from "../pipelines/denoise.ts";
import { ClipExchange, type ClipExchangeOptions, type KeysMessage } from "./clip_exchange.ts";
import { type Command, commandSchema, keysSchema, type Report } from "./clip_protocol.ts";
import type { WorkerSpeed } from "./partition.ts";
import { Link } from "./link.ts";
import { type Port, portOf } from "./port.ts";

/** A clip and what it is computed from. */
export interface ClipWork {
  readonly partition: ClipExchangeOptions["partition"];
  /** Number of the own clip in it. */
  readonly clip: number;
  /** Of the own frames. */
  readonly start: DenoiseState;
  readonly exchange: ClipExchange;
  /** To be called after every step, and waited for. */
  readonly onStep: (state: DenoiseState) => Promise<void>;
  readonly signal: AbortSignal;
}

/** An opened job. */
export interface ClipComputer {
  /** What exchanges depend on. */
  readonly keys: Pick<ClipExchangeOptions, "tokensPerFrame" | "heads" | "headDim" | "keyType" | "payload">;
  readonly speed?: WorkerSpeed | undefined;
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

interface RunningClip {
  readonly epoch: number;
  readonly exchange: ClipExchange;
  readonly controller: AbortController;
  readonly peers: Map<number, Link<KeysMessage, KeysMessage>>;
  /** Keys for clips whose port has not come yet. */
  readonly unsent: Map<number, KeysMessage[]>;
  /** Lets the step after `step` begin. */
  go: (() => void) | undefined;
}

class ClipWorker {
  /** Resolves when there is nothing left to do. */
  readonly ended: Promise<void>;
  readonly #options: ClipWorkerOptions;
  readonly #link: Link<Report, Command>;
  #computer: ClipComputer | undefined;
  #clip: RunningClip | undefined;
  /** The clip before may still be ending. */
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
      case "clip":
        this.#begin(command);
        break;
      case "peer":
        this.#meet(command);
        break;
      case "go":
        if (command.epoch === this.#clip?.epoch) this.#clip.go?.();
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

  #begin(command: Command & { type: "clip" }): void {
    this.#stop();
    const computer = this.#computer;
    if (computer === undefined) return;
    const { epoch, partition, clip: own, step, slots } = command;
    const unsent = new Map<number, KeysMessage[]>();
    const peers: RunningClip["peers"] = new Map();
    const send = (to: number, message: KeysMessage): void => {
      const peer = peers.get(to);
      if (peer) peer.send(message, [message.bytes.buffer]);
      else unsent.set(to, [...(unsent.get(to) ?? []), message]);
    };
    const exchange = new ClipExchange({ ...computer.keys, epoch, partition, clip: own, send });
    const controller = new AbortController();
    const running: RunningClip = { epoch, exchange, controller, peers, unsent, go: undefined };
    this.#clip = running;
    const work: ClipWork = {
      partition,
      clip: own,
      start: { step, slots },
      exchange,
      onStep: (state) => this.#finishStep(running, state),
      signal: controller.signal,
    };
    this.#idle = this.#idle.then(() => this.#run(computer, running, work));
  }

  async #run(computer: ClipComputer, { epoch, controller }: RunningClip, work: ClipWork): Promise<void> {
    try {
      controller.signal.throwIfAborted();
      await computer.run(work);
    } catch (error) {
      if (!controller.signal.aborted) this.#report(epoch, error, this.#options.isFatal?.(error) ?? false);
    }
  }

  /** Tells the coordinator and waits until everybody is as far. */
  async #finishStep(running: RunningClip, { step, slots }: DenoiseState): Promise<void> {
    const { signal } = running.controller;
    const { statistics } = running.exchange;
    const allowed = new Promise<void>((resolve, reject) => {
      running.go = resolve;
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    const own = new Map([...slots].map(([slot, data]) => [slot, new Float32Array(data)]));
    this.#link.send({ type: "stepped", epoch: running.epoch, step, slots: own, statistics });
    await allowed;
  }

  #meet({ epoch, clip, port: carried }: Command & { type: "peer" }): void {
    const { token, toPort = (each) => portOf(each as MessagePort) } = this.#options;
    const port = toPort(carried);
    const running = this.#clip;
    if (running?.epoch !== epoch) {
      port.close();
      return;
    }
    const link = new Link<KeysMessage, KeysMessage>(port, { token, schema: keysSchema });
    const fail = (reason: string): void => running.exchange.fail(new Error(`Clip ${clip}: ${reason}`));
    link.listen({
      onMessage: (message) => {
        try {
          running.exchange.receive(clip, message);
        } catch (error) {
          running.exchange.fail(error);
        }
      },
      // The coordinator sees for itself that a worker is gone, and decides.
      onClose: () => undefined,
      onRefused: (reason) => {
        if (!/twice|another job/.test(reason)) fail(reason);
      },
    });
    running.peers.set(clip, link);
    for (const message of running.unsent.get(clip) ?? []) link.send(message, [message.bytes.buffer]);
    running.unsent.delete(clip);
  }

  #stop(): void {
    const running = this.#clip;
    this.#clip = undefined;
    if (running === undefined) return;
    const reason = new DOMException("The clip was taken back.", "AbortError");
    running.controller.abort(reason);
    running.exchange.fail(reason);
    for (const peer of running.peers.values()) peer.close();
  }

  #beat(): void {
    const { epoch = 0, exchange } = this.#clip ?? {};
    const { progress = 0, waitingFor = [] } = exchange ?? {};
    this.#link.send({ type: "status", epoch, progress, waitingFor: [...waitingFor] });
  }

  #report(epoch: number, error: unknown, isFatal: boolean): void {
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    this.#link.send({ type: "failed", epoch, isFatal, name, message });
  }
}
