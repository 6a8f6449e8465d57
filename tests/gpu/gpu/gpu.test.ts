import { expect, test } from "vitest";
import { DeviceLostError, WebGPUUnavailableError } from "../../../src/errors.ts";
import { type Gpu, requestAdapter } from "../../../src/gpu/gpu.ts";
import { readBuffer } from "../../../src/gpu/readback.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { openGpu, useGpu } from "../device.ts";
import { add, COUNT, numbers } from "./add_kernel.ts";

const shared = useGpu();

/** Ten launches that are pieces of their own. */
function tenPieces(gpu: Gpu): Recorder {
  const recorder = new Recorder(gpu, "test");
  const [x, out] = [numbers(gpu), recorder.temporary(4 * COUNT, "out")];
  for (let i = 0; i < 10; i++) recorder.dispatch({ ...add(x, out, 1), flops: 1e18 });
  return recorder;
}

test("a device that is lost in the middle of a submission ends it with DeviceLostError", async () => {
  const gpu = await openGpu();
  const submitted = tenPieces(gpu).submit({ onProgress: (done) => done === 3 && gpu.device.destroy() });
  await expect(submitted).rejects.toThrow(DeviceLostError);
  await expect(submitted).rejects.toThrow(
    /^The GPU device was lost \(.+\); the job can go on from its last step/,
  );
  await expect(gpu.lost).resolves.toBeInstanceOf(DeviceLostError);
  expect(() => gpu.throwIfLost()).toThrow(DeviceLostError);
});

test("after a loss everything says so, instead of failing in its own way", async () => {
  const gpu = await openGpu();
  const x = numbers(gpu);
  gpu.device.destroy();
  await gpu.lost;
  await expect(readBuffer(gpu, { buffer: x, size: 4 })).rejects.toThrow(DeviceLostError);
  await expect(tenPieces(gpu).submit()).rejects.toThrow(DeviceLostError);
});

test("a loss while reading back is not taken for an abort", async () => {
  const gpu = await openGpu();
  const reading = readBuffer(gpu, { buffer: numbers(gpu), size: 4 });
  gpu.device.destroy();
  await expect(reading).rejects.toThrow(DeviceLostError);
});

test("dispose is not a loss, but ends what is under way", async () => {
  const gpu = await openGpu();
  let isLost = false;
  void gpu.lost.then(() => (isLost = true));
  const submitted = tenPieces(gpu).submit({ onProgress: (done) => done === 2 && gpu.dispose() });
  const error = await submitted.catch((reason: unknown) => reason);
  expect(error).not.toBeInstanceOf(DeviceLostError);
  expect(String(error)).toBe("Error: The GPU was disposed; open a new one.");
  await gpu.device.lost;
  expect(isLost).toBe(false);
  expect(() => gpu.throwIfLost()).toThrow("The GPU was disposed; open a new one.");
});

test("capabilities are plain data and agree with the device", () => {
  const { capabilities, device } = shared();
  expect(structuredClone(capabilities)).toEqual(capabilities);
  expect(device.features.has("shader-f16")).toBe(capabilities.f16);
  expect(device.limits.maxStorageBufferBindingSize).toBe(capabilities.maxBindingBytes);
  expect(device.limits.maxComputeInvocationsPerWorkgroup).toBe(capabilities.maxInvocations);
});

test("without WebGPU or an adapter the message says what to do", async () => {
  const none = { requestAdapter: async () => null } as unknown as GPU; // all that is asked of it
  await expect(requestAdapter(none)).rejects.toThrow(WebGPUUnavailableError);
  await expect(requestAdapter(none)).rejects.toThrow("update the graphics driver");
});
