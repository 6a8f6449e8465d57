// What a recording consists of: kernel launches and copies, as plain data.

import type { Kernel, KernelVariant } from "./kernel.ts";
import type { CompiledKernel } from "./pipeline_cache.ts";
import type { ShaderVariant } from "./shader_source.ts";

/** A range of a buffer given to a kernel. */
export interface BufferRange {
  readonly buffer: GPUBuffer;
  /** In bytes, a multiple of 256; default 0. */
  readonly offset?: number;
  /** In bytes; default the rest of the buffer. */
  readonly size?: number;
}

/** One kernel launch. */
export interface DispatchDescriptor extends ShaderVariant {
  readonly kernel: Kernel;
  /** Members of the kernel's Params struct, all of them. */
  readonly params: Readonly<Record<string, number | readonly number[]>>;
  /** The kernel's storage bindings by name, all of them. */
  readonly buffers: Readonly<Record<string, BufferRange>>;
  /** Workgroups in x, y, z. */
  readonly workgroups: readonly [number, number?, number?];
  /** Floating-point operations and bytes of traffic, for the profile and for cutting pieces. */
  readonly flops: number;
  readonly bytes: number;
}

/** A recorded command. */
export type Command =
  | {
      readonly type: "dispatch";
      readonly variant: KernelVariant;
      readonly compiled: Promise<CompiledKernel>;
      readonly descriptor: DispatchDescriptor;
      /** The descriptor's params as the shader reads them. */
      readonly params: Uint8Array;
    }
  | {
      readonly type: "copy";
      readonly source: BufferRange & { readonly size: number };
      readonly target: BufferRange;
    };
