// Recorded commands as a command buffer.

import type { Command } from "./command.ts";
import type { Gpu } from "./gpu.ts";
import type { CompiledKernel } from "./pipeline_cache.ts";
import type { PendingTimes, Profiler } from "./profiler.ts";
import { UniformArena } from "./uniform_arena.ts";

/** Commands that are ready for the queue, and what the profiler will read of them. */
export interface EncodedCommands {
  readonly commands: GPUCommandBuffer;
  readonly times: PendingTimes | undefined;
}

/** A command with the kernel that it launches; a copy has none. */
export interface ReadyCommand {
  readonly command: Command;
  readonly compiled: CompiledKernel | undefined;
}

/** Encodes commands; their parameters wait in the device's `UniformArena` and must be flushed before they are submitted. */
export function encodeCommands(gpu: Gpu, label: string, commands: readonly ReadyCommand[]): EncodedCommands {
  const { device, profiler } = gpu;
  const encoder = device.createCommandEncoder({ label });
  const uniforms = UniformArena.of(gpu);
  uniforms.clear();
  let pass: GPUComputePassEncoder | undefined;
  for (const { command, compiled } of commands) {
    if (command.type === "copy" || profiler !== undefined) {
      pass?.end();
      pass = undefined;
    }
    if (command.type === "copy") encodeCopy(encoder, command, profiler);
    else if (compiled !== undefined) {
      pass ??= encoder.beginComputePass(passDescriptor(gpu, label, command));
      encodeDispatch(pass, { device, uniforms, command, compiled });
    }
  }
  pass?.end();
  const times = profiler?.encodeResolve(encoder);
  return { commands: encoder.finish(), times };
}

interface DispatchContext {
  readonly device: GPUDevice;
  readonly uniforms: UniformArena;
  readonly command: Command & { type: "dispatch" };
  readonly compiled: CompiledKernel;
}

function encodeDispatch(
  pass: GPUComputePassEncoder,
  { device, uniforms, command, compiled }: DispatchContext,
): void {
  const { variant, descriptor, params } = command;
  const { bindings, paramsBytes } = variant.reflection;
  const entries = bindings.map(({ binding, name, type }): GPUBindGroupEntry => {
    if (type === "uniform") return { binding, resource: { buffer: uniforms.buffer, size: paramsBytes } };
    const range = descriptor.buffers[name];
    if (range === undefined) throw new Error(`${variant.key} needs a buffer for its binding ${name}.`);
    const { buffer, offset = 0, size = buffer.size - offset } = range;
    return { binding, resource: { buffer, offset, size } };
  });
  pass.setPipeline(compiled.pipeline);
  const group = device.createBindGroup({ label: variant.key, layout: compiled.layout, entries });
  pass.setBindGroup(0, group, [uniforms.append(params)]);
  const [x, y = 1, z = 1] = descriptor.workgroups;
  pass.dispatchWorkgroups(x, y, z);
}

function encodeCopy(
  encoder: GPUCommandEncoder,
  { source, target }: Command & { type: "copy" },
  profiler: Profiler | undefined,
): void {
  const label = copyLabel(source.buffer, target.buffer);
  const around = profiler?.passWrites({ label, flops: 0, bytes: 2 * source.size });
  // Only passes are timed: one without launches ends when the copy may begin, and one begins when it is done.
  if (around) {
    const { querySet, beginningOfPassWriteIndex } = around;
    encoder.beginComputePass({ label, timestampWrites: { querySet, beginningOfPassWriteIndex } }).end();
  }
  encoder.copyBufferToBuffer(
    source.buffer,
    source.offset ?? 0,
    target.buffer,
    target.offset ?? 0,
    source.size,
  );
  if (around) {
    const { querySet, endOfPassWriteIndex } = around;
    encoder.beginComputePass({ label, timestampWrites: { querySet, endOfPassWriteIndex } }).end();
  }
}

/** A copy's row in a profile. */
function copyLabel(source: GPUBuffer, target: GPUBuffer): string {
  if (target.usage & MAP_READ) return "copy to the CPU";
  return source.usage & MAP_WRITE ? "copy from the CPU" : "copy";
}

const MAP_READ = 0x01;
const MAP_WRITE = 0x02;

function passDescriptor(
  { profiler }: Gpu,
  label: string,
  { variant, descriptor: { flops, bytes } }: Command & { type: "dispatch" },
): GPUComputePassDescriptor {
  if (profiler === undefined) return { label };
  const timestampWrites = profiler.passWrites({ label: variant.key, flops, bytes });
  return { label: variant.key, timestampWrites };
}
