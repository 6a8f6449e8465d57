// A kernel: a WGSL file with its stem. Variants of it (constants, extensions) are expanded and reflected once.

import { SHADER_LIBRARY } from "./shader_library.ts";
import { reflectShader, type ShaderReflection } from "./shader_reflection.ts";
import { expandShader, type ShaderVariant } from "./shader_source.ts";

/** A kernel file and its stem, the name shared by shader, op, twin, test, bench and profile row. */
export interface Kernel {
  readonly stem: string;
  readonly source: string;
}

/** A kernel specialised by constants: ready to be compiled. */
export interface KernelVariant {
  readonly stem: string;
  /** Unique among all variants of all kernels; also the label. */
  readonly key: string;
  readonly source: string;
  readonly reflection: ShaderReflection;
}

const variants = new Map<string, KernelVariant>();

/** The variant of a kernel, from a cache without a cap: the set of variants is small and fixed by the ops. */
export function kernelVariant(kernel: Kernel, variant: ShaderVariant): KernelVariant {
  const key = variantKey(kernel.stem, variant);
  const known = variants.get(key);
  if (known !== undefined) return known;
  const source = expandShader(kernel.source, variant, SHADER_LIBRARY);
  const created = { stem: kernel.stem, key, source, reflection: reflectShader(source) };
  variants.set(key, created);
  return created;
}

function variantKey(stem: string, variant: ShaderVariant): string {
  const { constants, imports = {}, settings = {}, enables = [] } = variant;
  const parts = Object.entries({ ...imports, ...constants, ...settings }).map(
    ([name, value]) => `${name}=${value}`,
  );
  return `${stem}[${[...parts, ...enables].join(",")}]`;
}
