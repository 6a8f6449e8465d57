// The opened GPU: device, capability table, compiled kernels, memory. One per thread; everything else takes it.

import { DeviceLostError, WebGPUUnavailableError } from "../errors.ts";
import type { OnSpan } from "../util/span.ts";
import { BufferPool } from "./buffer_pool.ts";
import { type Capabilities, readCapabilities, WANTED_FEATURES } from "./capabilities.ts";
import { PipelineCache } from "./pipeline_cache.ts";
import { Profiler } from "./profiler.ts";
import { StagingPool } from "./staging_pool.ts";
import type { TileChoice } from "./tile_choices.ts";

/** Time within which a lost device says so. */
const LOSS_DELAY_MS = 50;

/** How to open a GPU. */
export interface GpuOptions {
  /** The WebGPU entry point; default `navigator.gpu`. */
  readonly gpu?: GPU | undefined;
  /** Most bytes of GPU memory to use; default what `defaultMemoryCap` says. */
  readonly memoryCapBytes?: number | undefined;
  /** Time every dispatch (needs timestamp queries); default no. */
  readonly profile?: boolean | undefined;
  /** What `weft tune` found to be fastest on this adapter; default every op's own tiles. */
  readonly tiles?: readonly TileChoice[] | undefined;
  /**
   * Is told of "encode" (JavaScript makes commands of a recording), "gpu" (a piece of one runs), "readback" (from a read's
   * submission to its arrival). @default nobody
   */
  readonly onSpan?: OnSpan | undefined;
}

/** An opened device and what belongs to it. */
export class Gpu {
  readonly device: GPUDevice;
  readonly capabilities: Capabilities;
  readonly pipelines: PipelineCache;
  readonly memory: BufferPool;
  readonly staging: StagingPool;
  readonly profiler: Profiler | undefined;
  readonly tiles: readonly TileChoice[];
  readonly onSpan: OnSpan | undefined;
  /** Resolves when the device is lost for another reason than `dispose`. */
  readonly lost: Promise<DeviceLostError>;
  #lostError: DeviceLostError | undefined;
  #disposed = false;

  private constructor(device: GPUDevice, capabilities: Capabilities, options: GpuOptions) {
    this.device = device;
    this.capabilities = capabilities;
    this.pipelines = new PipelineCache(device);
    this.memory = new BufferPool(device, options.memoryCapBytes ?? defaultMemoryCap(capabilities));
    this.tiles = options.tiles ?? [];
    this.onSpan = options.onSpan;
    this.staging = new StagingPool(device);
    this.profiler = options.profile === true && capabilities.timestamps ? new Profiler(device) : undefined;
    this.lost = new Promise((resolve) => {
      void device.lost.then(({ message }) => {
        if (this.#disposed) return;
        this.#lostError = new DeviceLostError(
          `The GPU device was lost (${message || "no reason given"}); the job can go on from its last step on a new device.`,
        );
        resolve(this.#lostError);
      });
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

  /** Throws when the device is gone: the `DeviceLostError`, or a plain Error after `dispose`. */
  throwIfLost(): void {
    if (this.#lostError !== undefined) throw this.#lostError;
    if (this.#disposed) throw new Error("The GPU was disposed; open a new one.");
  }

  /** Waits for all submitted work; throws like `throwIfLost` when the device goes away meanwhile. */
  async idle(): Promise<void> {
    // After a loss the queue's promise may stay pending, resolve or reject: implementations differ.
    const done = this.device.queue.onSubmittedWorkDone().catch(() => this.device.lost);
    await Promise.race([done, this.device.lost]);
    this.throwIfLost();
  }

  /**
   * What is really behind an error: when a device is lost, whatever was waiting fails first, each thing in its own
   * words. Returns the `DeviceLostError` then, otherwise the error itself.
   */
  async explain(error: unknown): Promise<unknown> {
    const settled = new Promise<undefined>((resolve) => {
      setTimeout(resolve, LOSS_DELAY_MS, undefined);
    });
    return (await Promise.race([this.lost, settled])) ?? error;
  }

  /** Frees everything the device holds. */
  dispose(): void {
    this.#disposed = true;
    this.memory.dispose();
    this.staging.dispose();
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
