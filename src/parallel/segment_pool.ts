// Workers that decode and encode a video between them: gives its segments out, takes them in, and gives those of a worker
// that goes, hangs or fails to another. What they make does not depend on who makes it.

import type { FrameRange } from "../attention/frame_range.ts";
import { MOST_MEMORY_FRAMES } from "../onnx/taehv_config.ts";
import type { Latents } from "../pipelines/decode_latents.ts";
import type { VideoSegment } from "../video/segments.ts";
import { sliceFrames } from "./latent_frames.ts";
import { Link } from "./link.ts";
import type { Port } from "./port.ts";
import { type SegmentCommand, type SegmentReport, segmentReportSchema } from "./segment_protocol.ts";
import { SegmentSchedule } from "./segment_schedule.ts";
import { watchEvery } from "./watch_timer.ts";

/** A video to make. */
export interface SegmentsJob {
  /** For the workers' `open`; plain data. */
  readonly job: unknown;
  /** Its segments, in latent frames. */
  readonly ranges: readonly FrameRange[];
  readonly latents: Latents;
  /** How long a worker may make no progress before it counts as hung. @default 60 000 */
  readonly stallMs?: number | undefined;
  /** Called with the segments that are made whenever one is. */
  readonly onProgress?: ((made: readonly number[]) => void) | undefined;
  readonly onLost?: ((worker: string, reason: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Nobody is left who could make the rest. */
export class NoWorkerLeftError extends Error {}

interface Member {
  readonly link: Link<SegmentCommand, SegmentReport>;
  name: string;
  isReady: boolean;
  /** Given and not made. */
  readonly tasks: Set<number>;
  /** The last one given. */
  last: number | undefined;
  progress: number;
  progressAt: number;
}

/** Segments that a worker has at a time: one is decoded while the one before is encoded. */
const TASKS_AT_A_TIME = 2;
/** Times that a segment may fail. */
const MAX_FAILURES = 3;

/** The workers of a job. Add them at any time; they are told to end by `close`. */
export class SegmentPool {
  readonly #token: string;
  readonly #members = new Set<Member>();
  #making: Making | undefined;

  constructor(token: string) {
    this.#token = token;
  }

  /** Workers that are here. */
  get size(): number {
    return this.#members.size;
  }

  /** Takes a worker in. */
  add(port: Port): void {
    const link = new Link<SegmentCommand, SegmentReport>(port, {
      token: this.#token,
      schema: segmentReportSchema,
    });
    const started = { isReady: false, last: undefined, progress: -1, progressAt: performance.now() };
    const member: Member = { link, name: "a worker", tasks: new Set(), ...started };
    this.#members.add(member);
    link.listen({
      onMessage: (report) => this.#hear(member, report),
      onClose: () => this.#lose(member, "it has gone"),
    });
    if (this.#making) link.send({ type: "job", job: this.#making.job.job });
  }

  /**
   * Has all segments made; one video in the life of a pool.
   *
   * @throws NoWorkerLeftError, Error for a segment that fails again and again, AbortError
   */
  async make(job: SegmentsJob): Promise<VideoSegment[]> {
    const { signal, stallMs = 60_000 } = job;
    signal?.throwIfAborted();
    const making = new Making(job);
    this.#making = making;
    const abort = (): void => making.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const stopWatching = watchEvery(Math.min(1000, stallMs / 4), {
      check: () => this.#watch(stallMs),
      excuse: () => this.#members.forEach((member) => (member.progressAt = performance.now())),
    });
    try {
      for (const member of this.#members) {
        member.progressAt = performance.now();
        member.link.send({ type: "job", job: job.job });
      }
      this.#rejectWithoutWorkers();
      return await making.segments;
    } finally {
      this.#making = undefined;
      stopWatching();
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends the workers. */
  close(): void {
    const links = [...this.#members].map(({ link }) => link);
    this.#members.clear();
    for (const link of links) link.send({ type: "end" });
    // The message must be gone before its port is.
    setTimeout(() => links.forEach((link) => link.close()), END_MS);
  }

  #hear(member: Member, report: SegmentReport): void {
    switch (report.type) {
      case "hello":
        member.name = report.name;
        break;
      case "ready":
        member.isReady = true;
        this.#giveOut();
        break;
      case "status":
        if (report.progress !== member.progress || member.tasks.size === 0)
          member.progressAt = performance.now();
        member.progress = report.progress;
        break;
      case "made":
        this.#take(member, report);
        break;
      case "failed":
        this.#fail(member, report);
        break;
    }
  }

  #take(member: Member, { index, numFrames, bytes }: SegmentReport & { type: "made" }): void {
    if (!member.tasks.delete(index)) return;
    member.progressAt = performance.now();
    this.#making?.put(index, { numFrames, bytes });
    this.#giveOut();
  }

  #fail(member: Member, { index, isFatal, name, message }: SegmentReport & { type: "failed" }): void {
    if (isFatal || index === undefined) return this.#lose(member, `${name}: ${message}`);
    if (!member.tasks.delete(index)) return;
    this.#making?.giveBack(index, `${member.name}: ${message}`);
    this.#giveOut();
  }

  /** A first segment for everybody, then a second one as long as nobody could go without. */
  #giveOut(): void {
    const making = this.#making;
    if (making === undefined) return;
    const ready = [...this.#members].filter(({ isReady }) => isReady);
    for (let count = 1; count <= TASKS_AT_A_TIME; count++) {
      for (const member of ready) {
        if (member.tasks.size >= count || (count > 1 && making.schedule.free < ready.length)) continue;
        const others = ready.flatMap(({ last }) =>
          last === undefined || last === member.last ? [] : [last],
        );
        const index = making.schedule.take(member.last, others);
        if (index === undefined) return;
        this.#give(member, making, index);
      }
    }
  }

  #give(member: Member, making: Making, index: number): void {
    if (member.tasks.size === 0) member.progressAt = performance.now();
    member.tasks.add(index);
    member.last = index;
    const task = making.taskOf(index);
    member.link.send({ type: "make", index, ...task }, [task.latents.data.buffer]);
  }

  #lose(member: Member, reason: string): void {
    if (!this.#members.delete(member)) return;
    member.link.close();
    const making = this.#making;
    if (making === undefined) return;
    for (const index of member.tasks) making.schedule.giveBack(index);
    making.job.onLost?.(member.name, reason);
    this.#rejectWithoutWorkers();
    this.#giveOut();
  }

  #rejectWithoutWorkers(): void {
    if (this.#members.size > 0) return;
    this.#making?.reject(new NoWorkerLeftError("No worker is left that could decode the rest of the video."));
  }

  #watch(stallMs: number): void {
    const now = performance.now();
    for (const member of this.#members) {
      if (now - member.progressAt > stallMs)
        this.#lose(member, `no progress for ${Math.round(stallMs / 1000)} s`);
    }
  }
}

const END_MS = 100;

/** A video that is being made. */
class Making {
  readonly job: SegmentsJob;
  readonly schedule: SegmentSchedule;
  readonly segments: Promise<VideoSegment[]>;
  readonly #made = new Map<number, VideoSegment>();
  readonly #failures = new Map<number, number>();
  #resolve: (segments: VideoSegment[]) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;

  constructor(job: SegmentsJob) {
    this.job = job;
    this.schedule = new SegmentSchedule(job.ranges.length);
    this.segments = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.segments.catch(() => undefined); // `make` passes it on
  }

  reject(reason: unknown): void {
    this.#reject(reason);
  }

  /** A segment's range and the latents that a decoder needs for it. */
  taskOf(index: number): {
    range: FrameRange;
    from: number;
    latents: { data: Float32Array<ArrayBuffer>; shape: [number, number, number, number] };
  } {
    const { ranges, latents } = this.job;
    const range = ranges[index] ?? { start: 0, end: 0 };
    const from = Math.max(0, range.start - MOST_MEMORY_FRAMES);
    const [channels, , height, width] = latents.shape;
    const data = sliceFrames(latents.data, latents.shape, { start: from, end: range.end });
    return { range, from, latents: { data, shape: [channels, range.end - from, height, width] } };
  }

  put(index: number, segment: VideoSegment): void {
    this.#made.set(index, segment);
    this.job.onProgress?.([...this.#made.keys()]);
    const all = this.job.ranges.map((_, each) => this.#made.get(each));
    const made = all.filter((each) => each !== undefined);
    if (made.length === all.length) this.#resolve(made);
  }

  giveBack(index: number, reason: string): void {
    const failures = (this.#failures.get(index) ?? 0) + 1;
    this.#failures.set(index, failures);
    if (failures < MAX_FAILURES) this.schedule.giveBack(index);
    else this.reject(new Error(`Segment ${index + 1} failed ${failures} times; the last time: ${reason}`));
  }
}
