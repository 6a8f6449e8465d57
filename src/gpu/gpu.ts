// The opened GPU: device, capability table, compiled kernels, memory. One per thread; everything else takes it.

import { DeviceLostError, WebGPUUnavailableError } from "../errors.ts";
import { BufferPool } from "./buffer_pool.ts";
import { type Capabilities, readCapabilities, WANTED_FEATURES } from "./capabilities.ts";
import { PipelineCache } from "./pipeline_cache.ts";
import { Profiler } from "./profiler.ts";

/** How to open a GPU. */
export interface GpuOptions {
  /** The WebGPU entry point; default `navigator.gpu`. */
  readonly gpu?: GPU | undefined;
  /** Most bytes of GPU memory to use; default what `defaultMemoryCap` says. */
  readonly memoryCapBytes?: number | undefined;
  /** Time every dispatch (needs timestamp queries); default no. */
  readonly profile?: boolean | undefined;
}

/** An opened device and what belongs to it. */
export class Gpu {
  readonly device: GPUDevice;
  readonly capabilities: Capabilities;
  readonly pipelines: PipelineCache;
  readonly memory: BufferPool;
  readonly profiler: Profiler | undefined;
  /** Resolves when the device is lost for another reason than `dispose`. */
  readonly lost: Promise<DeviceLostError>;
  #lostError: DeviceLostError | undefined;

  private constructor(device: GPUDevice, capabilities: Capabilities, options: GpuOptions) {
    this.device = device;
    this.capabilities = capabilities;
    this.pipelines = new PipelineCache(device);
    this.memory = new BufferPool(device, options.memoryCapBytes ?? defaultMemoryCap(capabilities));
    this.profiler = options.profile === true && capabilities.timestamps ? new Profiler(device) : undefined;
    this.lost = device.lost.then(({ message }) => {
      this.#lostError = new DeviceLostError(
        `The GPU device was lost (${message || "no reason given"}); the job can go on from its last step on a new device.`,
      );
      return this.#lostError;
    });
  }

  /**
   * Opens the adapter's device with every useful feature and its full limits.
   *
   * @throws {WebGPUUnavailableError} when there is no WebGPU or no adapter.
   */
  static async open(options: GpuOptions = {}): Promise<Gpu> {
    const adapter = await requestAdapter(options.gpu);
    const capabilities = readCapabilities(adapter);
    const device = await adapter.requestDevice({
      label: "weft",
      requiredFeatures: WANTED_FEATURES.filter((name) =>
        adapter.features.has(name as GPUFeatureName),
      ) as GPUFeatureName[],
      requiredLimits: fullLimits(adapter.limits),
    });
    return new Gpu(device, capabilities, options);
  }

  /** Throws the `DeviceLostError` when the device is gone. */
  throwIfLost(): void {
    if (this.#lostError !== undefined) throw this.#lostError;
  }

  /** Frees everything the device holds. */
  dispose(): void {
    this.memory.dispose();
    this.device.destroy();
  }
}

/** Asks for the fastest adapter; also what `weft info` and the page's capability line start from. */
export async function requestAdapter(gpu: GPU | undefined = globalThis.navigator?.gpu): Promise<GPUAdapter> {
  if (gpu === undefined) {
    throw new WebGPUUnavailableError(
      "This browser has no WebGPU; use a current Chrome, Edge, Safari or Firefox, and open the page over https or localhost.",
    );
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) {
    throw new WebGPUUnavailableError(
      "WebGPU is here but no graphics adapter answers; update the graphics driver, or switch on hardware acceleration.",
    );
  }
  return adapter;
}

/** WebGPU does not tell how much memory an adapter has: 4 GiB on software (it is RAM), no cap of ours on hardware. */
export function defaultMemoryCap(capabilities: Capabilities): number {
  return capabilities.software ? 4 * 2 ** 30 : Number.MAX_SAFE_INTEGER;
}

function fullLimits(limits: GPUSupportedLimits): Record<string, number> {
  const names = [
    "maxBufferSize",
    "maxStorageBufferBindingSize",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxComputeWorkgroupSizeY",
    "maxComputeWorkgroupSizeZ",
    "maxStorageBuffersPerShaderStage",
  ] as const;
  return Object.fromEntries(names.map((name) => [name, limits[name]]));
}
