// What the adapter can do, as one plain table: the only thing kernels and pipelines look at to choose a variant.

/** A matrix shape the adapter multiplies per subgroup (Dawn's experimental feature). */
export interface SubgroupMatrixConfig {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** The capability table. Sizes in bytes. Plain data, so that it can be printed and sent between workers. */
export interface Capabilities {
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  /** A CPU pretends to be a GPU (SwiftShader, lavapipe, WARP): correct, about a thousand times slower. */
  readonly software: boolean;
  readonly f16: boolean;
  readonly subgroups: boolean;
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  readonly subgroupMatrices: readonly SubgroupMatrixConfig[];
  readonly timestamps: boolean;
  readonly maxBufferBytes: number;
  readonly maxBindingBytes: number;
  readonly maxWorkgroupBytes: number;
  readonly maxInvocations: number;
  readonly maxStorageBuffers: number;
}

/** Features a kernel may use when the adapter has them. */
export const WANTED_FEATURES: readonly string[] = [
  "shader-f16",
  "subgroups",
  "subgroup-size-control",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
];

/** Reads the table from an adapter; costs nothing and creates no device. */
export function readCapabilities(adapter: GPUAdapter): Capabilities {
  const { info, limits, features } = adapter;
  const has = (name: string): boolean => features.has(name as GPUFeatureName);
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    description: info.description,
    software: isSoftware(info),
    f16: has("shader-f16"),
    subgroups: has("subgroups"),
    subgroupMinSize: info.subgroupMinSize ?? 0,
    subgroupMaxSize: info.subgroupMaxSize ?? 0,
    subgroupMatrices: has("chromium-experimental-subgroup-matrix") ? subgroupMatrices(info) : [],
    timestamps: has("timestamp-query"),
    maxBufferBytes: limits.maxBufferSize,
    maxBindingBytes: limits.maxStorageBufferBindingSize,
    maxWorkgroupBytes: limits.maxComputeWorkgroupStorageSize,
    maxInvocations: limits.maxComputeInvocationsPerWorkgroup,
    maxStorageBuffers: limits.maxStorageBuffersPerShaderStage,
  };
}

function isSoftware(info: GPUAdapterInfo): boolean {
  const names = `${info.vendor} ${info.architecture} ${info.description}`.toLowerCase();
  return info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render|warp/.test(names);
}

/** Not in @webgpu/types: the attribute belongs to Dawn's experimental feature. */
function subgroupMatrices(info: GPUAdapterInfo): SubgroupMatrixConfig[] {
  const { subgroupMatrixConfigs = [] } = info as { subgroupMatrixConfigs?: Iterable<SubgroupMatrixConfig> };
  return Array.from(subgroupMatrixConfigs, ({ componentType, resultComponentType, M, N, K }) => ({
    componentType,
    resultComponentType,
    M,
    N,
    K,
  }));
}
