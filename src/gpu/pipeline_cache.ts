// Compiles kernel variants once per device, in parallel, and reports compile errors with the source they name.

import { ShaderCompileError } from "../errors.ts";
import type { KernelVariant } from "./kernel.ts";

/** A compiled kernel with its explicit layout; binding 0 takes a dynamic offset into the recorder's uniforms. */
export interface CompiledKernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** The device's compiled kernels. No cap: the set of variants is small and fixed by the ops. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #asked = new Map<string, Promise<CompiledKernel>>();
  readonly #compiled = new Map<string, CompiledKernel>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** How many variants were asked for so far. */
  get size(): number {
    return this.#asked.size;
  }

  /** Resolves when everything that was asked for is compiled; failures are told to those who asked. */
  async ready(): Promise<void> {
    await Promise.allSettled(this.#asked.values());
  }

  /** Starts compiling, or returns what is there; rejects with `ShaderCompileError`. */
  compile(variant: KernelVariant): Promise<CompiledKernel> {
    const known = this.#asked.get(variant.key);
    if (known !== undefined) return known;
    const compiled = this.#create(variant);
    // A rejection is reported by whoever awaits; this only keeps an early failure from being "unhandled".
    compiled.then((kernel) => this.#compiled.set(variant.key, kernel)).catch(() => undefined);
    this.#asked.set(variant.key, compiled);
    return compiled;
  }

  /** What is compiled by now. */
  compiled({ key }: KernelVariant): CompiledKernel | undefined {
    return this.#compiled.get(key);
  }

  async #create(variant: KernelVariant): Promise<CompiledKernel> {
    const device = this.#device;
    // Everything a bad kernel breaks is reported once, by the rejection; the scope keeps the rest from the console.
    device.pushErrorScope("validation");
    const layout = device.createBindGroupLayout({
      label: variant.key,
      entries: variant.reflection.bindings.map(({ binding, type }) => ({
        binding,
        visibility: 4, // GPUShaderStage.COMPUTE
        buffer: { type, hasDynamicOffset: type === "uniform" },
      })),
    });
    const module = device.createShaderModule({ label: variant.key, code: variant.source });
    const pipelineLayout = device.createPipelineLayout({ label: variant.key, bindGroupLayouts: [layout] });
    const scope = device.popErrorScope();
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: variant.key,
        layout: pipelineLayout,
        compute: { module, entryPoint: "main" },
      });
      return { pipeline, layout };
    } catch (error) {
      throw await compileError({ variant, module, error });
    } finally {
      await scope;
    }
  }
}

interface Failure {
  readonly variant: KernelVariant;
  readonly module: GPUShaderModule;
  readonly error: unknown;
}

async function compileError({ variant, module, error }: Failure): Promise<ShaderCompileError> {
  const { messages } = await module.getCompilationInfo();
  const lines = variant.source.split("\n");
  const details = messages
    .filter(({ type }) => type === "error")
    .map(
      ({ lineNum, linePos, message }) =>
        `  line ${lineNum}:${linePos}: ${message}\n    ${lines[lineNum - 1] ?? ""}`,
    );
  const reason =
    details.length > 0 ? details.join("\n") : `  ${error instanceof Error ? error.message : String(error)}`;
  return new ShaderCompileError(`Kernel ${variant.key} does not compile:\n${reason}`, variant.source);
}
