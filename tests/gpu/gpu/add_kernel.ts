// A kernel for tests of the launcher itself: out[i] = x[i] + amount, for count elements.
import type { Gpu } from "../../../src/gpu/gpu.ts";
import type { DispatchDescriptor } from "../../../src/gpu/command.ts";

const source = `
struct Params {
    count: u32,
    amount: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x < params.count {
        out[thread.x] = x[thread.x] + params.amount;
    }
}
`;

/** Elements of `numbers` and of what `add` writes. */
export const COUNT = 64;

/** A launch of the kernel on COUNT elements. */
export function add(x: GPUBuffer, out: GPUBuffer, amount: number): DispatchDescriptor {
  return {
    kernel: { stem: "test_add", source },
    constants: {},
    params: { count: COUNT, amount },
    buffers: { x: { buffer: x }, out: { buffer: out } },
    workgroups: [1],
    flops: COUNT,
    bytes: 8 * COUNT,
  };
}

/** A buffer with the numbers 0 to COUNT - 1; release it to `gpu.memory`. */
export function numbers(gpu: Gpu): GPUBuffer {
  const buffer = gpu.memory.acquire(4 * COUNT, "numbers");
  gpu.device.queue.writeBuffer(
    buffer,
    0,
    Float32Array.from({ length: COUNT }, (_, i) => i),
  );
  return buffer;
}
