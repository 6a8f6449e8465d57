// WebGPU in Node: npm `webgpu` (Dawn), hardware adapter or SwiftShader.

import { create, globals } from "webgpu";
import { pacePolling } from "./paced_polling_node.ts";

/** Dawn toggles that give f16 and subgroup matrices where the driver has them (platform notes in ARCHITECTURE.md). */
const DAWN_FEATURES = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"];

/** How to start Dawn. */
export interface DawnOptions {
  /** More toggles, for instance "disable_robustness". */
  readonly toggles?: readonly string[];
  /** Dawn backend; "null" compiles shaders without any adapter. */
  readonly backend?: string;
}

/**
 * Starts Dawn and returns its `navigator.gpu`. The WebGPU globals (GPUDevice, …) are defined as in a browser.
 *
 * The instance is pinned on globalThis: were it collected while anything of it lives, the process would crash at
 * random. `releaseDawn` unpins it; until then the process does not exit by itself.
 */
export function startDawn({ toggles = [], backend }: DawnOptions = {}): GPU {
  Object.assign(globalThis, globals);
  pacePolling();
  const features = [...DAWN_FEATURES, ...toggles].join(",");
  const gpu = create([
    `enable-dawn-features=${features}`,
    // Browsers blur GPU timestamps to 65 us against fingerprinting; a script may measure.
    "disable-dawn-features=timestamp_quantization",
    ...(backend === undefined ? [] : [`backend=${backend}`]),
  ]);
  pins.weftDawn = [...(pins.weftDawn ?? []), gpu];
  return gpu;
}

/** Lets go of Dawn so that the process can exit. */
export function releaseDawn(): void {
  delete pins.weftDawn;
}

const pins = globalThis as { weftDawn?: GPU[] };
