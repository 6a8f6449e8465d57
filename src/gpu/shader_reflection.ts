// Reads a kernel's bindings and its Params struct from the expanded WGSL, so that neither is typed twice.
// It understands the kernel contract only (shaders/README.md), not WGSL at large.

/** One resource of group 0. */
export interface BindingInfo {
  readonly binding: number;
  readonly name: string;
  readonly type: "uniform" | "read-only-storage" | "storage";
}

/** A member of the Params struct: its byte offset and how to write it. */
export interface ParamInfo {
  readonly offset: number;
  readonly scalar: "u32" | "i32" | "f32";
  /** 1 for scalars, 2 to 4 for vectors. */
  readonly components: number;
}

/** What a launcher needs to know about an expanded kernel. */
export interface ShaderReflection {
  readonly bindings: readonly BindingInfo[];
  readonly params: ReadonlyMap<string, ParamInfo>;
  /** Size of Params in bytes, a multiple of 16. */
  readonly paramsBytes: number;
}

/** Reflects an expanded kernel; throws when it breaks the contract (gaps in the binding numbers, no Params). */
export function reflectShader(source: string): ShaderReflection {
  const text = source.replaceAll(/\/\/.*$/gm, "");
  const bindings = [...text.matchAll(/@group\(0\)\s*@binding\((\d+)\)\s*var<([^>]+)>\s*(\w+)/g)].map(
    ([, binding, space = "", name = ""]): BindingInfo => ({
      binding: Number(binding),
      name,
      type: bindingType(space),
    }),
  );
  bindings.sort((a, b) => a.binding - b.binding);
  bindings.forEach(({ binding, name }, index) => {
    if (binding !== index)
      throw new Error(`Binding of ${name} is ${binding}, expected ${index}: bindings have no gaps.`);
  });
  if (bindings[0]?.type !== "uniform") throw new Error("Binding 0 must be the uniform `params: Params`.");
  return { bindings, ...reflectParams(text) };
}

function bindingType(space: string): BindingInfo["type"] {
  const words = space.replaceAll(" ", "");
  if (words === "uniform") return "uniform";
  return words.endsWith("read_write") ? "storage" : "read-only-storage";
}

function reflectParams(text: string): Pick<ShaderReflection, "params" | "paramsBytes"> {
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(text)?.[1];
  if (body === undefined) throw new Error("The kernel has no `struct Params`.");
  const params = new Map<string, ParamInfo>();
  let offset = 0;
  for (const [, name = "", type = ""] of body.matchAll(/(\w+)\s*:\s*([\w<>]+)/g)) {
    const { scalar, components } = memberType(type);
    const alignment = components === 1 ? 4 : components === 2 ? 8 : 16;
    offset = Math.ceil(offset / alignment) * alignment;
    params.set(name, { offset, scalar, components });
    offset += 4 * components;
  }
  return { params, paramsBytes: Math.max(16, Math.ceil(offset / 16) * 16) };
}

function memberType(type: string): Pick<ParamInfo, "scalar" | "components"> {
  const match = /^(?:vec([234])<)?(u32|i32|f32)>?$/.exec(type);
  if (match === null) throw new Error(`Params may hold u32, i32, f32 and vectors of them, not ${type}.`);
  return { scalar: match[2] as ParamInfo["scalar"], components: Number(match[1] ?? 1) };
}
