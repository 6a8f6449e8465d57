// A video's segments over workers that come, go, hang and fail, on real MessagePorts: every segment is made once, from
// the right latents, whoever makes it.
import { describe, expect, test } from "vitest";
import { type Port, portOf } from "../../../src/parallel/port.ts";
import { NoWorkerLeftError, SegmentPool, type SegmentsJob } from "../../../src/parallel/segment_pool.ts";
import { SegmentSchedule } from "../../../src/parallel/segment_schedule.ts";
import { runSegmentWorker, type SegmentWorkerOptions } from "../../../src/parallel/segment_worker.ts";
import type { SegmentTask } from "../../../src/pipelines/segment_maker.ts";
import type { VideoSegment } from "../../../src/video/segments.ts";

const TOKEN = "job-1";
const FRAMES = 24;
/** Latents whose two channels hold the frame's number and its negative. */
const LATENTS = {
  shape: [2, FRAMES, 1, 1],
  data: Float32Array.from({ length: 2 * FRAMES }, (_, i) => (i < FRAMES ? i : FRAMES - i)),
} as const;
const RANGES = Array.from({ length: 8 }, (_, i) => ({ start: 3 * i, end: 3 * i + 3 }));
const never = new Promise<never>(() => undefined);

/** A segment that says what it was made from. */
function fakeSegment({ range, from, latents }: SegmentTask): VideoSegment {
  const [, frames] = latents.shape;
  const numbers = [...latents.data.subarray(range.start - from, frames)];
  return { numFrames: numbers.length, bytes: Uint8Array.from(numbers) };
}

const EXPECTED = RANGES.map(({ start }) => ({
  numFrames: 3,
  bytes: Uint8Array.of(start, start + 1, start + 2),
}));

interface FakeWorker {
  readonly name: string;
  readonly port: Port;
  readonly ended: Promise<void>;
  readonly kill: () => void;
  /** First latent frames of the segments it was given. */
  readonly given: number[];
}

function fakeWorker(
  name: string,
  {
    onMake,
    ...options
  }: Partial<SegmentWorkerOptions> & { onMake?: (task: SegmentTask) => Promise<void> | void } = {},
): FakeWorker {
  const { port1, port2 } = new MessageChannel();
  const given: number[] = [];
  let last: Promise<unknown> = Promise.resolve();
  const make = (task: SegmentTask): Promise<VideoSegment> => {
    given.push(task.range.start);
    const turn = last.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      await onMake?.(task);
      return fakeSegment(task);
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  const ended = runSegmentWorker({
    port: portOf(port2),
    token: TOKEN,
    name,
    heartbeatMs: 10,
    open: (job) => (expect(job).toBe("a video"), Promise.resolve({ make })),
    ...options,
  });
  return { name, port: portOf(port1), ended, kill: () => port2.close(), given };
}

async function makeWith(
  workers: readonly FakeWorker[],
  options: Partial<SegmentsJob> = {},
): Promise<{ segments: VideoSegment[]; lost: string[] }> {
  const pool = new SegmentPool(TOKEN);
  for (const { port } of workers) pool.add(port);
  const lost: string[] = [];
  const onLost = (worker: string, reason: string): void => void lost.push(`${worker}: ${reason}`);
  const job = { job: "a video", ranges: RANGES, latents: LATENTS, stallMs: 300, onLost, ...options };
  try {
    return { segments: await pool.make(job), lost };
  } finally {
    pool.close();
  }
}

describe("a video", () => {
  test.each([1, 2, 3, 4, 12])("over %d workers", async (count) => {
    const workers = Array.from({ length: count }, (_, i) => fakeWorker(`worker ${i}`));
    const done: number[] = [];
    const { segments } = await makeWith(workers, { onProgress: (made) => void done.push(made.length) });
    expect(segments).toEqual(EXPECTED);
    expect(done).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(workers.flatMap(({ given }) => given)).toHaveLength(8);
    await Promise.all(workers.map(({ ended }) => ended));
  });

  test("workers go on where they ended", async () => {
    const workers = ["one", "other"].map((name) => fakeWorker(name));
    await makeWith(workers);
    const jumps = workers.flatMap(({ given }) =>
      given.filter((start, i) => i > 0 && start !== given[i - 1]! + 3),
    );
    expect(jumps.length).toBeLessThanOrEqual(1);
  });

  test("cancel reaches everybody", async () => {
    const controller = new AbortController();
    const reason = new Error("stop");
    const signals: AbortSignal[] = [];
    const make = (
      _task: SegmentTask,
      { signal }: { signal?: AbortSignal | undefined } = {},
    ): Promise<never> => {
      signals.push(signal!);
      controller.abort(reason);
      return never;
    };
    const worker = fakeWorker("one", { open: () => Promise.resolve({ make }) });
    await expect(makeWith([worker], { signal: controller.signal })).rejects.toBe(reason);
    await expect.poll(() => signals.every(({ aborted }) => aborted)).toBe(true);
  });
});

describe("faults cost the segments under way", () => {
  test.each([0, 1, 2, 3, 4, 5])("a worker dies at its segment %d", async (number) => {
    const victim = fakeWorker("victim", {
      onMake: () => {
        if (victim.given.length <= number) return undefined;
        victim.kill();
        return never;
      },
    });
    const other = fakeWorker("other");
    const { segments, lost } = await makeWith([victim, other]);
    expect(segments).toEqual(EXPECTED);
    expect(lost.length).toBeLessThanOrEqual(1); // the other may have been faster
    expect(new Set([...other.given, ...victim.given]).size).toBe(8);
  });

  test("a worker hangs, though its heart beats", async () => {
    const hung = fakeWorker("hung", { onMake: () => never });
    const { segments, lost } = await makeWith([hung, fakeWorker("other")]);
    expect(segments).toEqual(EXPECTED);
    expect(lost).toEqual(["hung: no progress for 0 s"]);
  });

  test("a worker falls silent", async () => {
    const silent = fakeWorker("silent", { onMake: () => never, heartbeatMs: 1e6 });
    const { segments, lost } = await makeWith([silent, fakeWorker("other")]);
    expect(segments).toEqual(EXPECTED);
    expect(lost).toEqual(["silent: no progress for 0 s"]);
  });

  test("a worker loses its device, another cannot open the job", async () => {
    const deviceLost = new Error("the device was lost");
    const broken = fakeWorker("broken", {
      onMake: () => Promise.reject(deviceLost),
      isFatal: (error) => error === deviceLost,
    });
    const poor = fakeWorker("poor", { open: () => Promise.reject(new Error("out of memory")) });
    const { segments, lost } = await makeWith([broken, poor, fakeWorker("whole")]);
    expect(segments).toEqual(EXPECTED);
    expect(lost.toSorted()).toEqual(["broken: Error: the device was lost", "poor: Error: out of memory"]);
  });

  test("a failure that passes costs a segment, one that stays is an error", async () => {
    let failures = 2;
    const unlucky = (): FakeWorker =>
      fakeWorker("unlucky", {
        onMake: ({ range }) => {
          if (range.start === 6 && failures-- > 0) throw new Error("no luck");
        },
      });
    expect((await makeWith([unlucky()])).segments).toEqual(EXPECTED);
    failures = Infinity;
    await expect(makeWith([unlucky(), fakeWorker("idle", { open: () => never })])).rejects.toThrow(
      "Segment 3 failed 3 times; the last time: unlucky: no luck",
    );
  });

  test("nobody is left: an error of its own says so", async () => {
    const alone: FakeWorker = fakeWorker("alone", { onMake: () => (alone.kill(), never) });
    await expect(makeWith([alone])).rejects.toThrow(NoWorkerLeftError);
    await expect(makeWith([])).rejects.toThrow("No worker is left");
  });

  test("a late worker helps", async () => {
    const pool = new SegmentPool(TOKEN);
    const late = fakeWorker("late");
    const early = fakeWorker("early", {
      onMake: ({ range }) => {
        if (range.start === 0) pool.add(late.port);
        return new Promise((resolve) => setTimeout(resolve, 20));
      },
    });
    pool.add(early.port);
    const segments = await pool.make({ job: "a video", ranges: RANGES, latents: LATENTS });
    pool.close();
    expect(segments).toEqual(EXPECTED);
    expect(late.given.length).toBeGreaterThan(0);
  });
});

test("a stranger's messages are refused", async () => {
  const stranger = fakeWorker("stranger", { token: "another job" });
  const pool = new SegmentPool(TOKEN);
  pool.add(stranger.port);
  const job = { job: "a video", ranges: RANGES, latents: LATENTS, stallMs: 200 };
  await expect(pool.make(job)).rejects.toThrow(NoWorkerLeftError);
  expect(stranger.given).toEqual([]);
});

describe("the order", () => {
  test("the second worker begins in the middle, the third in the middle of the longest stretch", () => {
    const schedule = new SegmentSchedule(8);
    expect(schedule.take(undefined, [])).toBe(0);
    expect(schedule.take(undefined, [0])).toBe(4);
    expect(schedule.take(undefined, [0, 4])).toBe(2);
    expect(schedule.take(4, [0, 2])).toBe(5);
    expect(schedule.take(0, [2, 5])).toBe(1);
    expect(schedule.take(1, [2, 5])).toBe(7); // 6 is the other's next
    schedule.giveBack(4);
    expect(schedule.take(7, [2, 5])).toBe(4); // 3 is another's next
    expect([schedule.free, schedule.take(2, [5, 4]), schedule.take(5, [3, 4])]).toEqual([2, 3, 6]);
    expect(schedule.take(6, [])).toBeUndefined();
  });
});
