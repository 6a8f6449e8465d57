// Record, then execute: ops append commands; `submit` sends them to the queue in pieces short enough for a watchdog
// and for Cancel (about 100 ms each). The only place that submits.

import type { Gpu } from "./gpu.ts";
import type { BufferRange, Command, DispatchDescriptor } from "./command.ts";
import { kernelVariant } from "./kernel.ts";
import { readMapped } from "./mapped.ts";
import type { CompiledKernel } from "./pipeline_cache.ts";
import { UniformArena } from "./uniform_arena.ts";
import { nextPiece, PieceTimer } from "./work_pieces.ts";

/** Progress of a submission. */
export interface SubmitOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called as commands finish. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Collects commands in order and the temporaries they need. */
export class Recorder {
  readonly gpu: Gpu;
  readonly label: string;
  #commands: Command[] = [];
  readonly #temporaries = new Set<GPUBuffer>();

  constructor(gpu: Gpu, label: string) {
    this.gpu = gpu;
    this.label = label;
  }

  /** Appends a kernel launch; compiling starts now. */
  dispatch(descriptor: DispatchDescriptor): void {
    const variant = kernelVariant(descriptor.kernel, descriptor);
    checkWorkgroups(variant.key, descriptor.workgroups);
    this.#commands.push({
      type: "dispatch",
      variant,
      compiled: this.gpu.pipelines.compile(variant),
      descriptor,
    });
  }

  /** Appends a copy of `source.size` bytes, a multiple of 4. */
  copy(source: BufferRange & { readonly size: number }, target: BufferRange): void {
    this.#commands.push({ type: "copy", source, target });
  }

  /** A buffer for this recording's commands; returned to the pool by `release` or when the recording was submitted. */
  temporary(bytes: number, label: string): GPUBuffer {
    const buffer = this.gpu.memory.acquire(bytes, label);
    this.#temporaries.add(buffer);
    return buffer;
  }

  /** Gives a temporary back for the commands recorded after this call. Buffers of others are left alone. */
  release(buffer: GPUBuffer): void {
    if (this.#temporaries.delete(buffer)) this.gpu.memory.release(buffer);
  }

  /** Makes a temporary outlive the recording: the caller must release it to `gpu.memory`. */
  keep(buffer: GPUBuffer): GPUBuffer {
    this.#temporaries.delete(buffer);
    return buffer;
  }

  /**
   * Runs everything recorded and waits for it; the recorder is empty and reusable afterwards.
   *
   * @throws {DeviceLostError}, {ShaderCompileError}, {GpuOutOfMemoryError}, AbortError between two pieces.
   */
  async submit({ signal, onProgress }: SubmitOptions = {}): Promise<void> {
    const commands = this.#commands;
    this.#commands = [];
    try {
      const kernels = await Promise.all(
        commands.map((command) => (command.type === "dispatch" ? command.compiled : undefined)),
      );
      const timer = PieceTimer.of(this.gpu);
      for (let start = 0; start < commands.length;) {
        signal?.throwIfAborted();
        const end = nextPiece(commands, start, timer.budgetFlops);
        await timer.measure(commands.slice(start, end), () => this.#run(commands, kernels, { start, end }));
        start = end;
        onProgress?.(end, commands.length);
      }
    } finally {
      for (const buffer of this.#temporaries) this.gpu.memory.release(buffer);
      this.#temporaries.clear();
    }
  }

  async #run(
    commands: readonly Command[],
    kernels: readonly (CompiledKernel | undefined)[],
    { start, end }: { start: number; end: number },
  ): Promise<void> {
    const { device, profiler } = this.gpu;
    this.gpu.throwIfLost();
    device.pushErrorScope("out-of-memory");
    device.pushErrorScope("validation");
    const encoder = device.createCommandEncoder({ label: this.label });
    const uniforms = UniformArena.of(this.gpu);
    let pass: GPUComputePassEncoder | undefined;
    for (let i = start; i < end; i++) {
      const command = commands[i];
      const compiled = kernels[i];
      if (command === undefined) continue;
      if (command.type === "copy" || profiler !== undefined) {
        pass?.end();
        pass = undefined;
      }
      if (command.type === "copy") encodeCopy(encoder, command);
      else if (compiled !== undefined) {
        pass ??= encoder.beginComputePass(this.#passDescriptor(command));
        encodeDispatch(pass, { device, uniforms, command, compiled });
      }
    }
    pass?.end();
    const timestamps = profiler?.encodeResolve(encoder);
    uniforms.flush();
    device.queue.submit([encoder.finish()]);
    const scopes = [device.popErrorScope(), device.popErrorScope()];
    await Promise.race([device.queue.onSubmittedWorkDone(), this.gpu.lost]);
    this.gpu.throwIfLost();
    for (const error of await Promise.all(scopes)) {
      if (error !== null) throw new Error(`${this.label}: ${error.message}`);
    }
    if (timestamps !== undefined) profiler?.add(await readTimestamps(timestamps));
  }

  #passDescriptor(command: Command & { type: "dispatch" }): GPUComputePassDescriptor {
    const { profiler } = this.gpu;
    if (profiler === undefined) return { label: this.label };
    const { flops, bytes } = command.descriptor;
    return {
      label: command.variant.key,
      timestampWrites: profiler.passWrites({ label: command.variant.key, flops, bytes }),
    };
  }
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
  const { variant, descriptor } = command;
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
  pass.setBindGroup(0, group, [uniforms.write(variant, descriptor.params)]);
  const [x, y = 1, z = 1] = descriptor.workgroups;
  pass.dispatchWorkgroups(x, y, z);
}

function encodeCopy(encoder: GPUCommandEncoder, { source, target }: Command & { type: "copy" }): void {
  encoder.copyBufferToBuffer(
    source.buffer,
    source.offset ?? 0,
    target.buffer,
    target.offset ?? 0,
    source.size,
  );
}

async function readTimestamps(staging: GPUBuffer): Promise<BigUint64Array> {
  return new BigUint64Array(await readMapped(staging, staging.size));
}

const MAX_WORKGROUPS = 65_535;

function checkWorkgroups(key: string, workgroups: readonly (number | undefined)[]): void {
  for (const count of workgroups) {
    if (count !== undefined && (!Number.isInteger(count) || count < 1 || count > MAX_WORKGROUPS)) {
      throw new Error(
        `Cannot dispatch ${key} with [${workgroups.join(", ")}] workgroups: each must be 1 to ${MAX_WORKGROUPS}.`,
      );
    }
  }
}
