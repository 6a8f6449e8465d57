import { describe, expect, test } from "vitest";
import { packParams } from "../../../src/gpu/uniform_arena.ts";
import { reflectShader, type ShaderReflection } from "../../../src/gpu/shader_reflection.ts";

const BINDINGS = `
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
`;

const reflect = (members: string): ShaderReflection =>
  reflectShader(`struct Params {\n${members}\n}\n${BINDINGS}`);

/** Offsets by the WGSL rules: scalars align to 4, vec2 to 8, vec3 and vec4 to 16; a vec3 takes 12 bytes. */
describe("the layout of Params", () => {
  test.each([
    ["a: u32,\nb: f32,\nc: i32,", { a: 0, b: 4, c: 8 }, 16],
    ["a: u32,\nb: vec2<f32>,", { a: 0, b: 8 }, 16],
    ["a: u32,\nb: vec3<u32>,\nc: f32,", { a: 0, b: 16, c: 28 }, 32],
    ["a: vec3<u32>,\nb: vec3<u32>,", { a: 0, b: 16 }, 32],
    ["a: vec3<f32>,\nb: vec2<f32>,", { a: 0, b: 16 }, 32],
    ["a: u32,\nb: vec4<i32>,\nc: u32,", { a: 0, b: 16, c: 32 }, 48],
    ["a: vec2<u32>,\nb: u32,\nc: u32", { a: 0, b: 8, c: 12 }, 16],
    ["a: u32,", { a: 0 }, 16],
  ])("%j", (members, offsets, bytes) => {
    const { params, paramsBytes } = reflect(members);
    expect(Object.fromEntries([...params].map(([name, { offset }]) => [name, offset]))).toEqual(offsets);
    expect(paramsBytes).toBe(bytes);
  });

  test("ignores comments", () => {
    expect([...reflect("/// Rows: u32, at most 64.\na: u32, // b: f32\nc: f32,").params.keys()]).toEqual([
      "a",
      "c",
    ]);
  });

  test("refuses what uniforms of this house do not hold", () => {
    expect(() => reflect("a: array<u32, 4>,")).toThrow(
      "Params may hold u32, i32, f32 and vectors of them, not array<",
    );
    expect(() => reflect("a: mat4x4<f32>,")).toThrow("not mat4x4<f32>");
    expect(() => reflectShader(BINDINGS)).toThrow("The kernel has no `struct Params`.");
  });
});

describe("the bindings", () => {
  test("come in order, with their access", () => {
    expect(reflect("a: u32,").bindings).toEqual([
      { binding: 0, name: "params", type: "uniform" },
      { binding: 1, name: "x", type: "read-only-storage" },
      { binding: 2, name: "out", type: "storage" },
    ]);
  });

  test("must start with the parameters and have no gaps", () => {
    const params = "struct Params { a: u32, }\n";
    expect(() => reflectShader(params + BINDINGS.replace("binding(2)", "binding(3)"))).toThrow(
      "Binding of out is 3, expected 2: bindings have no gaps.",
    );
    expect(() => reflectShader(params + BINDINGS.replace("<uniform>", "<storage, read>"))).toThrow(
      "Binding 0 must be the uniform `params: Params`.",
    );
    expect(() => reflectShader(params + BINDINGS.replace("binding(1)", "binding(0)"))).toThrow(
      "bindings have no gaps",
    );
  });
});

describe("packParams", () => {
  const variant = (members: string): Parameters<typeof packParams>[0] => ({
    stem: "k",
    key: "k[]",
    source: "",
    reflection: reflect(members),
  });

  test("puts every number where the shader reads it", () => {
    const bytes = packParams(variant("a: u32,\nb: vec3<f32>,\nc: i32,"), {
      a: 4_000_000_000,
      b: [1, -2, 0.5],
      c: -7,
    });
    const view = new DataView(bytes.buffer);
    expect(view.byteLength).toBe(32);
    expect(view.getUint32(0, true)).toBe(4_000_000_000);
    expect([16, 20, 24].map((offset) => view.getFloat32(offset, true))).toEqual([1, -2, 0.5]);
    expect(view.getInt32(28, true)).toBe(-7);
  });

  test("lets infinities through, and nothing that an integer cannot hold", () => {
    const bytes = packParams(variant("a: f32,"), { a: -Infinity });
    expect(new DataView(bytes.buffer).getUint32(0, true)).toBe(0xff800000);
    for (const value of [-1, 2 ** 32, 0.5, NaN])
      expect(() => packParams(variant("a: u32,"), { a: value })).toThrow(
        `parameter a is ${value}, expected u32.`,
      );
    expect(() => packParams(variant("a: i32,"), { a: 2 ** 31 })).toThrow("expected i32.");
  });
});
