// A worker as its coordinator sees it: what it said of itself, which part it has, and how long ago it got on.

import type { Carried } from "./connections.ts";
import { type Command, type Report, reportSchema } from "./clip_protocol.ts";
import { Link, type LinkListener } from "./link.ts";
import type { WorkerSpeed } from "./partition.ts";
import type { Port } from "./port.ts";

/** A worker that has connected. */
export class Member {
  readonly #link: Link<Command, Report>;
  #name = "a worker";
  #adapter = "";
  #address: string | undefined;
  #isKnown = false;
  #isReady = false;
  #speed: WorkerSpeed | undefined;
  #part: { readonly epoch: number; readonly number: number } | undefined;
  #progress = -1;
  #progressAt = performance.now();
  #heardAt = performance.now();
  #waitingFor: readonly number[] = [];

  constructor(port: Port, token: string) {
    this.#link = new Link<Command, Report>(port, { token, schema: reportSchema });
  }

  /** For people. */
  get name(): string {
    return this.#name;
  }

  /** What it computes on. */
  get adapter(): string {
    return this.#adapter;
  }

  /** Where other workers reach it, for transports that need that. */
  get address(): string | undefined {
    return this.#address;
  }

  /** It belongs to the job. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** It has opened the job. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** Undefined when not measured. */
  get speed(): WorkerSpeed | undefined {
    return this.#speed;
  }

  /** Number of its part in this epoch. */
  get part(): number | undefined {
    return this.#part?.number;
  }

  /** It waits for other workers. */
  get isWaiting(): boolean {
    return this.#waitingFor.length > 0;
  }

  /** Takes what it says; `onReport` is told after it was noted here. */
  listen({ onMessage, onClose }: Pick<LinkListener<Report>, "onMessage" | "onClose">): void {
    this.#link.listen({
      onMessage: (report) => {
        this.#note(report);
        onMessage(report);
      },
      onClose,
    });
  }

  /** Sends a command. */
  send(command: Command): void {
    this.#link.send(command);
  }

  /** Gives it a part, with the state to compute it from. */
  give(command: Command & { readonly type: "part" }): void {
    this.#part = { epoch: command.epoch, number: command.part };
    this.#progress = -1;
    this.#waitingFor = [];
    this.advance();
    this.#link.send(command);
  }

  /** Takes its part back; it goes on computing until it is told otherwise. */
  take(): void {
    this.#part = undefined;
  }

  /** Gives it a port to the worker of another part. */
  meet(peer: number, { port, transfer }: Carried): void {
    const { epoch = 0 } = this.#part ?? {};
    this.#link.send({ type: "peer", epoch, part: peer, port }, transfer);
  }

  /** It gets on. */
  advance(): void {
    this.#progressAt = performance.now();
  }

  /** It could not be heard for a while, and not through its own fault. */
  excuse(): void {
    this.#heardAt = performance.now();
    this.advance();
  }

  /** Milliseconds since it was heard. */
  silentMs(now: number): number {
    return now - this.#heardAt;
  }

  /** Milliseconds since it got on. */
  stalledMs(now: number): number {
    return now - this.#progressAt;
  }

  /** Ends the connection. */
  close(): void {
    this.#link.close();
  }

  #note(report: Report): void {
    this.#heardAt = performance.now();
    switch (report.type) {
      case "hello":
        this.#name = report.name;
        this.#adapter = report.adapter;
        this.#address = report.address;
        this.#isKnown = true;
        break;
      case "ready":
        this.#isReady = true;
        this.#speed = report.speed;
        break;
      case "status":
        if (report.epoch !== this.#part?.epoch) break;
        if (report.progress !== this.#progress) this.advance();
        this.#progress = report.progress;
        this.#waitingFor = report.waitingFor;
        break;
      case "stepped":
      case "failed":
        break;
    }
  }
}

/** Workers that neither compute nor wait for others, and whether all that are not done wait in vain. */
export function findStalled(
  open: readonly Member[],
  { now, stallMs }: { readonly now: number; readonly stallMs: number },
): { readonly hung: readonly Member[]; readonly isDeadlock: boolean } {
  const stalled = open.filter((member) => member.stalledMs(now) > stallMs);
  const hung = stalled.filter(({ isWaiting }) => !isWaiting);
  return { hung, isDeadlock: hung.length === 0 && stalled.length > 0 && stalled.length === open.length };
}
