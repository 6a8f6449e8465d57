import { describe, expect, test } from "vitest";
import { expandShader, type ShaderVariant } from "../../../src/gpu/shader_source.ts";

const LIBRARY = new Map([
  ["shared/a", "// a\nfn a() {}\n"],
  ["shared/b", "#import shared/a\nfn b() {}\n"],
  ["shared/weight_f32", "fn load() -> f32\n"],
  ["shared/weight_int8", "fn load() -> u32\n"],
  ["shared/loop", "#repeat i N\nloop $i\n#end\n"],
]);

const expand = (source: string, variant: Partial<ShaderVariant> = {}): string =>
  expandShader(source, { constants: {}, ...variant }, LIBRARY);

describe("the header", () => {
  test("holds extensions first, then constants by type", () => {
    const variant = { enables: ["f16", "subgroups"], constants: { elem: "f16", ROWS: 8, SCALE: 0.5 } };
    expect(expand("body", variant)).toBe(
      "enable f16;\nenable subgroups;\nalias elem = f16;\nconst ROWS = 8u;\nconst SCALE = 0.5f;\nbody",
    );
  });

  test("is nothing when nothing is chosen", () => {
    expect(expand("body")).toBe("body");
  });
});

describe("#import", () => {
  test("puts the file's text in its place", () => {
    expect(expand("x\n#import shared/a\ny")).toBe("x\n// a\nfn a() {}\ny");
  });

  test("imports a file once, however often and from wherever it is named", () => {
    expect(expand("#import shared/a\n#import shared/b\n#import shared/a")).toBe(
      "// a\nfn a() {}\n\nfn b() {}\n",
    );
  });

  test("replaces a choice in the name", () => {
    expect(expand("#import shared/weight_<storage>", { imports: { storage: "int8" } })).toContain("u32");
    expect(expand("#import shared/weight_<storage>", { imports: { storage: "f32" } })).toContain("f32");
  });

  test("names the file that is missing", () => {
    expect(() => expand("#import shared/zzz")).toThrow(
      "Cannot import shared/zzz: there is no shaders/shared/zzz.wgsl.",
    );
    expect(() => expand("#import shared/weight_<storage>", { imports: { storage: "int4" } })).toThrow(
      "there is no shaders/shared/weight_int4.wgsl.",
    );
  });

  test("is only a directive when it stands alone on its line", () => {
    expect(expand("// see #import shared/zzz")).toBe("// see #import shared/zzz");
  });
});

describe("#repeat", () => {
  test("writes the block once per index", () => {
    expect(expand("a\n#repeat i 3\nx$i = $i;\n#end\nb")).toBe("a\nx0 = 0;\nx1 = 1;\nx2 = 2;\nb");
  });

  test("counts to a constant", () => {
    expect(expand("#repeat i N\n$i\n#end", { constants: { N: 2 } })).toBe("const N = 2u;\n0\n1");
    expect(expand("#repeat i 0\n$i\n#end\nrest")).toBe("rest");
  });

  test("nests, with each block's own variable", () => {
    const source = "#repeat i 2\n  #repeat j 2\n  s_$i_$j\n  #end\nend $i\n#end";
    expect(expand(source).replaceAll(" ", "")).toBe("s_0_0\ns_0_1\nend0\ns_1_0\ns_1_1\nend1");
  });

  test("an inner count may be a constant, and blocks may follow each other", () => {
    const source = "#repeat i 2\na$i\n#end\n#repeat i N\nb$i\n#end";
    expect(expand(source, { constants: { N: 1 } })).toBe("const N = 1u;\na0\na1\nb0");
  });

  test("replaces the variable only as a whole word", () => {
    expect(expand("#repeat i 1\n$i $ij $i_x x_$i;\n#end")).toBe("0 $ij 0_x x_0;");
  });

  test("works in imported files", () => {
    expect(expand("#import shared/loop", { constants: { N: 2 } })).toContain("loop 0\nloop 1");
  });

  test("errors name the line and what was expected", () => {
    expect(() => expand("a\n#repeat i 2\nb")).toThrow("#repeat on line 2 has no #end.");
    expect(() => expand("#repeat i 2\n#repeat j 2\n#end")).toThrow("#repeat on line 1 has no #end.");
    expect(() => expand("a\n#end")).toThrow("#end on line 2 ends no #repeat.");
    expect(() => expand("#repeat i ROWS\n#end")).toThrow(
      "#repeat needs a number or a numeric constant, not ROWS.",
    );
    expect(() => expand("#repeat i elem\n#end", { constants: { elem: "f16" } })).toThrow("not elem.");
  });
});

describe("settings", () => {
  const source = "const BAND = 8u; // tiles\nconst BANDS = 8u;\nfn f() { const BAND = 1u; }";

  test("give a constant of the file another value, and nothing else", () => {
    expect(expand(source, { settings: { BAND: 4 } })).toBe(
      source.replace("const BAND = 8u", "const BAND = 4u"),
    );
    expect(expand(source, { settings: {} })).toBe(source);
  });

  test("name what the file has not", () => {
    expect(() => expand(source, { settings: { WIDTH: 4 } })).toThrow(
      'Cannot set WIDTH: the kernel has no line "const WIDTH = …u;".',
    );
  });
});
