import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ShaderCompileError } from "../../../src/errors.ts";
import type { DispatchDescriptor } from "../../../src/gpu/command.ts";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { useGpu } from "../device.ts";
import { add, COUNT, numbers } from "./add_kernel.ts";

const gpu = useGpu();
const SIZE = 4 * COUNT;
let x: GPUBuffer;
let recorder: Recorder;

beforeEach(() => {
  x = numbers(gpu());
  recorder = new Recorder(gpu(), "test");
});

afterEach(() => {
  gpu().memory.release(x);
  expect(gpu().memory.use.usedBytes, "every test returns what it took").toBe(0);
});

async function first(buffer: GPUBuffer): Promise<number> {
  return new Float32Array(await readBuffer(gpu(), { buffer, size: 4 }))[0]!;
}

/** Three launches, x + 1, + 10, + 100, each so expensive that it is a piece of its own. */
function threePieces(): void {
  for (const amount of [1, 10, 100]) recorder.dispatch({ ...add(x, x2(), amount), flops: 1e18 });
}

let second: GPUBuffer | undefined;
function x2(): GPUBuffer {
  return (second ??= recorder.temporary(SIZE, "x2"));
}
afterEach(() => (second = undefined));

describe("running", () => {
  test("dispatches and copies run in the order they are recorded", async () => {
    const sum = recorder.temporary(SIZE, "sum");
    recorder.dispatch(add(x, sum, 1));
    recorder.copy({ buffer: sum, size: SIZE }, { buffer: x });
    recorder.dispatch(add(x, sum, 10));
    recorder.copy({ buffer: sum, offset: 4, size: 4 }, { buffer: x, offset: 0 });
    await recorder.submit();
    expect(await first(x)).toBe(1 + 1 + 10);
  });

  test("parameters of many dispatches do not mix", async () => {
    for (let i = 0; i < 300; i++) {
      const sum = recorder.temporary(SIZE, "sum");
      recorder.dispatch(add(x, sum, i));
      recorder.copy({ buffer: sum, size: SIZE }, { buffer: x });
      recorder.release(sum);
    }
    await recorder.submit();
    expect(await first(x)).toBe((299 * 300) / 2);
  });

  test("a recorder is empty and reusable after submit", async () => {
    const kept = recorder.keep(x2());
    recorder.dispatch(add(x, kept, 1));
    await recorder.submit();
    await recorder.submit();
    recorder.dispatch(add(x, kept, 5));
    await recorder.submit();
    expect(await first(kept)).toBe(5);
    gpu().memory.release(kept);
  });

  test("an empty recording submits nothing and succeeds", async () => {
    await expect(recorder.submit()).resolves.toBeUndefined();
  });
});

describe("pieces", () => {
  test("expensive commands become pieces, and progress is told after each", async () => {
    threePieces();
    const progress: number[][] = [];
    await recorder.submit({ onProgress: (...numbersDone) => progress.push(numbersDone) });
    expect(progress).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ]);
  });

  test("cheap commands share one piece", async () => {
    for (let i = 0; i < 20; i++) recorder.copy({ buffer: x, size: 4 }, { buffer: x2(), offset: 8 });
    const progress: number[][] = [];
    await recorder.submit({ onProgress: (...numbersDone) => progress.push(numbersDone) });
    expect(progress).toEqual([[20, 20]]);
  });

  test("an abort takes effect behind the piece that waits on the queue", async () => {
    threePieces();
    const kept = recorder.keep(x2());
    const controller = new AbortController();
    const submitted = recorder.submit({
      signal: controller.signal,
      onProgress: (done) => done === 1 && controller.abort(),
    });
    await expect(submitted).rejects.toMatchObject({ name: "AbortError" });
    expect(await first(kept)).toBe(10);
    gpu().memory.release(kept);
  });

  test("the next piece is on the queue before one is computed", async () => {
    threePieces();
    const spy = vi.spyOn(gpu().device.queue, "submit");
    const submitted: number[] = [];
    await recorder.submit({ onProgress: () => submitted.push(spy.mock.calls.length) });
    spy.mockRestore();
    expect(submitted[0]).toBe(2);
    expect(submitted.at(-1)).toBe(3);
  });

  test("an abort before submit runs nothing", async () => {
    threePieces();
    await expect(recorder.submit({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });
  });
});

describe("running ahead", () => {
  let submissions: { readonly mock: { readonly calls: readonly unknown[] }; mockRestore: () => void };
  beforeEach(async () => {
    recorder.dispatch(add(x, x2(), 0));
    await gpu().pipelines.ready(); // what is not compiled cannot run
    submissions = vi.spyOn(gpu().device.queue, "submit");
  });
  afterEach(() => submissions.mockRestore());

  test("what is recorded runs while the rest is recorded, at most as much as may wait on the queue", async () => {
    const progress: number[][] = [];
    const kept = recorder.keep(x2());
    for (const amount of [1, 10, 100, 1000]) {
      recorder.dispatch({ ...add(x, kept, amount), flops: 1e18 });
      recorder.copy({ buffer: kept, size: SIZE }, { buffer: x });
      recorder.runAhead();
    }
    expect(submissions.mock.calls).toHaveLength(2);
    await recorder.submit({ onProgress: (...done) => progress.push(done) });
    expect(await first(x)).toBe(1111);
    expect(progress.at(-1)).toEqual([9, 9]);
    gpu().memory.release(kept);
  });

  test("little is left to submit", async () => {
    recorder.runAhead();
    expect(submissions.mock.calls).toHaveLength(0);
    await recorder.submit();
  });

  test("nothing runs before the recordings that were submitted before", async () => {
    const before = new Recorder(gpu(), "before");
    before.dispatch(add(x, x2(), 5));
    before.copy({ buffer: x2(), size: SIZE }, { buffer: x });
    const end = before.submit();
    recorder.dispatch({ ...add(x, x2(), 1), flops: 1e18 });
    recorder.runAhead();
    expect(submissions.mock.calls).toHaveLength(0);
    const kept = recorder.keep(x2());
    await Promise.all([end, recorder.submit()]);
    expect(await first(kept)).toBe(6);
    gpu().memory.release(kept);
  });

  test("all of it may have run by the time it is submitted, or dropped", async () => {
    const progress: number[][] = [];
    recorder.dispatch({ ...add(x, x2(), 1), flops: 1e18 });
    recorder.runAhead();
    recorder.runAhead();
    await recorder.submit({ onProgress: (...done) => progress.push(done) });
    expect(progress).toEqual([[2, 2]]);
    const other = new Recorder(gpu(), "other");
    const sum = other.temporary(SIZE, "sum");
    other.dispatch({ ...add(x, sum, 1), flops: 1e18 });
    other.runAhead();
    expect(submissions.mock.calls).toHaveLength(3);
    other.discard();
    await gpu().idle();
  });

  test("what the GPU refuses of it is told by submit", async () => {
    recorder.dispatch({ ...add(x, x, 1), flops: 1e18 }); // reads and writes one buffer
    recorder.runAhead();
    recorder.runAhead();
    await expect(recorder.submit()).rejects.toThrow(/^test: /);
  });
});

describe("temporaries", () => {
  test("are recycled while recording, and returned by submit", async () => {
    const a = recorder.temporary(SIZE, "a");
    recorder.release(a);
    const b = recorder.temporary(SIZE, "b");
    expect(b).toBe(a);
    expect(gpu().memory.use.usedBytes).toBe(2 * SIZE);
    await recorder.submit();
    expect(gpu().memory.use.usedBytes).toBe(SIZE);
  });

  test("outlive the recording when kept", async () => {
    const kept = recorder.keep(recorder.temporary(SIZE, "kept"));
    recorder.dispatch(add(x, kept, 3));
    await recorder.submit();
    expect(await first(kept)).toBe(3);
    gpu().memory.release(kept);
  });

  test("release leaves the buffers of others alone", () => {
    recorder.release(x);
    expect(gpu().memory.use.usedBytes).toBe(SIZE);
  });

  test("are returned by discard, which forgets the commands", async () => {
    threePieces();
    recorder.discard();
    expect(gpu().memory.use.usedBytes).toBe(SIZE);
    await recorder.submit({ onProgress: () => expect.fail("nothing is left to run") });
  });
});

describe("errors", () => {
  const launch = (changes: Partial<DispatchDescriptor>): void =>
    recorder.dispatch({ ...add(x, x2(), 1), ...changes });

  afterEach(() => recorder.discard());

  test("a launch that does not fit its kernel throws while it is recorded", () => {
    expect(() => launch({ buffers: { x: { buffer: x } } })).toThrow(
      "test_add[] needs a buffer for its binding out.",
    );
    const extra = { x: { buffer: x }, out: { buffer: x }, y: { buffer: x } };
    expect(() => launch({ buffers: extra })).toThrow("test_add[] has no binding y.");
    expect(() => launch({ params: { count: 1 } })).toThrow(
      "test_add[] needs a value for its parameter amount.",
    );
    expect(() => launch({ params: { count: 1, amount: 1, z: 1 } })).toThrow("test_add[] has no parameter z.");
    expect(() => launch({ params: { count: [1, 2], amount: 1 } })).toThrow("count has 1 components, not 2.");
    expect(() => launch({ params: { count: 1.5, amount: 1 } })).toThrow(
      "parameter count is 1.5, expected u32.",
    );
    for (const workgroups of [[0], [1, 65_536], [1.5]] as const)
      expect(() => launch({ workgroups: workgroups as [number] })).toThrow("each must be 1 to 65535.");
  });

  test("what the GPU refuses is reported with the recording's and the kernel's name", async () => {
    launch({ buffers: { x: { buffer: x, offset: 128 }, out: { buffer: x2() } } });
    await expect(recorder.submit()).rejects.toThrow(/^test: [^]*test_add\[\]/);
    second = undefined;
    recorder.dispatch(add(x, x2(), 2));
    await expect(recorder.submit(), "the recorder still works").resolves.toBeUndefined();
  });

  test("a kernel that does not compile is reported with the line and the source", async () => {
    const source = add(x, x, 1).kernel.source.replace("params.amount", "params.amuont");
    launch({ kernel: { stem: "test_broken", source } });
    const error = await recorder.submit().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ShaderCompileError);
    const { message, source: shown } = error as ShaderCompileError;
    expect(message).toMatch(/^Kernel test_broken\[\] does not compile:\n {2}line 14:\d+: .*amuont/);
    expect(message).toContain("out[thread.x] = x[thread.x] + params.amuont;");
    expect(shown).toContain("fn main");
  });

  test("a kernel whose bindings do not match their declaration is reported as well", async () => {
    const source = add(x, x, 1).kernel.source.replace(
      "out[thread.x] =",
      "atomicAdd(&out[thread.x], 1); let y =",
    );
    launch({ kernel: { stem: "test_mismatched", source } });
    await expect(recorder.submit()).rejects.toThrow("Kernel test_mismatched[] does not compile:");
  });
});
