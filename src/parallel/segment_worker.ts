// A worker that decodes and encodes segments of a video: opens what it is told, makes the segments it is given, and
// tells about it. How a segment is made is the maker's business, how messages travel the port's.

import type { SegmentMaker } from "../pipelines/segment_maker.ts";
import { Link } from "./link.ts";
import type { Port } from "./port.ts";
import { type SegmentCommand, segmentCommandSchema, type SegmentReport } from "./segment_protocol.ts";

/** What a worker is made of. */
export interface SegmentWorkerOptions {
  /** To whoever needs the video. */
  readonly port: Port;
  readonly token: string;
  /** For people. */
  readonly name: string;
  /** Opens a job; what it opens lives on after the worker's end. */
  readonly open: (job: unknown) => Promise<SegmentMaker>;
  /** Whether nothing can be made here any more after an error, such as a lost device. @default never */
  readonly isFatal?: ((error: unknown) => boolean) | undefined;
  /** @default 250 */
  readonly heartbeatMs?: number | undefined;
}

/** Works until it is told to end, or nobody is there any more. */
export async function runSegmentWorker(options: SegmentWorkerOptions): Promise<void> {
  await new SegmentWorker(options).ended;
}

class SegmentWorker {
  readonly ended: Promise<void>;
  readonly #options: SegmentWorkerOptions;
  readonly #link: Link<SegmentReport, SegmentCommand>;
  readonly #controller = new AbortController();
  readonly #working = new Set<Promise<void>>();
  #maker: SegmentMaker | undefined;
  #progress = 0;

  constructor(options: SegmentWorkerOptions) {
    this.#options = options;
    const { port, token, name, heartbeatMs = 250 } = options;
    this.#link = new Link<SegmentReport, SegmentCommand>(port, { token, schema: segmentCommandSchema });
    const heart = setInterval(() => this.#beat(), heartbeatMs);
    this.ended = new Promise<void>((resolve) => {
      this.#link.listen({
        onMessage: (command) => (command.type === "end" ? resolve() : this.#obey(command)),
        onClose: resolve,
      });
    }).then(async () => {
      clearInterval(heart);
      this.#controller.abort();
      await Promise.all(this.#working);
      this.#link.close();
    });
    this.#link.send({ type: "hello", name });
  }

  #obey(command: Exclude<SegmentCommand, { type: "end" }>): void {
    const work = command.type === "job" ? this.#open(command.job) : this.#make(command);
    this.#working.add(work);
    void work.finally(() => this.#working.delete(work));
  }

  async #open(job: unknown): Promise<void> {
    try {
      this.#maker = await this.#options.open(job);
      this.#link.send({ type: "ready" });
    } catch (error) {
      this.#fail(error, { isFatal: true });
    }
  }

  async #make({ index, ...task }: SegmentCommand & { type: "make" }): Promise<void> {
    const { signal } = this.#controller;
    try {
      if (this.#maker === undefined) throw new Error("A segment was asked for before the job was open.");
      const onProgress = (): void => void this.#progress++;
      const { numFrames, bytes } = await this.#maker.make(task, { signal, onProgress });
      const own = bytes.slice();
      this.#link.send({ type: "made", index, numFrames, bytes: own }, [own.buffer]);
    } catch (error) {
      this.#fail(error, { index, isFatal: this.#options.isFatal?.(error) ?? false });
    }
  }

  #fail(error: unknown, report: { index?: number; isFatal: boolean }): void {
    if (this.#controller.signal.aborted) return;
    const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
    this.#link.send({ type: "failed", ...report, name, message });
  }

  #beat(): void {
    this.#link.send({ type: "status", progress: this.#progress });
  }
}
