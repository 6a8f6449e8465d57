import { expect, test } from "vitest";
import { ShaderCompileError } from "../../../src/errors.ts";
import { kernelVariant } from "../../../src/gpu/kernel.ts";
import { openGpu } from "../device.ts";

const source = `
struct Params {
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(1)
fn main() {
    out[0] = f32(params.count) * FACTOR;
}
`;

function variant(factor: number): ReturnType<typeof kernelVariant> {
  return kernelVariant({ stem: "test_pipeline", source }, { constants: { FACTOR: factor } });
}

test("every variant is compiled once, and ready() waits for all that were asked for", async () => {
  const gpu = await openGpu();
  const { pipelines } = gpu;
  let compiled = 0;
  const asked = [0.5, 1.5, 0.5].map((factor) => pipelines.compile(variant(factor)));
  for (const kernel of asked) void kernel.then(() => compiled++);
  expect(asked[2]).toBe(asked[0]);
  expect(pipelines.size).toBe(2);
  expect(compiled).toBe(0);
  await pipelines.ready();
  expect(compiled).toBe(3);
  gpu.dispose();
});

test("a kernel that does not compile is told to those who asked for it, not to ready()", async () => {
  const gpu = await openGpu();
  const broken = gpu.pipelines.compile(
    kernelVariant({ stem: "test_uncompilable", source }, { constants: {} }),
  );
  await expect(gpu.pipelines.ready()).resolves.toBeUndefined();
  await expect(broken).rejects.toThrow(ShaderCompileError);
  gpu.dispose();
});
