// Compiles every variant of every kernel with Tint (Dawn's null backend: no adapter, nothing runs), through the ops
// themselves, so that bindings, parameters and layouts are the ops' own. Then checks the kernel contract.
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { releaseDawn, startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { reflectShader } from "../../src/gpu/shader_reflection.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { repoPath } from "../repo_path.ts";
import { SHADER_CASES, TILE_CASES } from "./shader_cases.ts";

const FILES = readdirSync(repoPath("shaders"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".wgsl"))
  .map((file) => ({ file, text: readFileSync(repoPath(`shaders/${file}`), "utf8") }));
const KERNELS = FILES.filter(({ file }) => !file.includes("/")).map((entry) => ({
  ...entry,
  stem: entry.file.replace(".wgsl", ""),
}));

/** Kernels that are another way to compute what a kernel with a twin and a test of its own computes. */
const VARIANT_OF: Readonly<Record<string, string>> = {
  attention_direct: "attention",
  attention_f16: "attention",
  attention_subgroup_matrix: "attention",
  linear_direct: "linear",
  linear_f16: "linear",
  linear_subgroup_matrix: "linear",
};

/** Half of the 48 KiB that an NVIDIA multiprocessor gives to all workgroups it runs: one alone is half as fast. */
const MOST_WORKGROUP_BYTES = 24_576;

/**
 * The null backend has WebGPU's least workgroup memory, 16 KiB. More is its last complaint, after the shader and its
 * layout have been checked; anything else is an error.
 */
function expectOnlyTooLarge(error: unknown): void {
  const bytes = /total use of workgroup storage \((\d+) bytes\) is larger/.exec(String(error))?.[1];
  if (bytes === undefined) throw error;
  expect(Number(bytes)).toBeLessThanOrEqual(MOST_WORKGROUP_BYTES);
}

describe("every variant compiles and fits its op", () => {
  let gpu: Gpu;
  const stems = new Set<string>();
  const compiling: Promise<unknown>[] = [];

  beforeAll(async () => {
    gpu = await Gpu.open({ gpu: startDawn({ backend: "null" }) });
    Object.assign(gpu.capabilities, { maxWorkgroupBytes: MOST_WORKGROUP_BYTES }); // so that ops offer all of their tiles
    const compile = gpu.pipelines.compile.bind(gpu.pipelines);
    vi.spyOn(gpu.pipelines, "compile").mockImplementation((variant) => {
      stems.add(variant.stem);
      const compiled = compile(variant);
      compiling.push(compiled);
      return compiled;
    });
  });

  afterAll(() => {
    gpu.dispose();
    releaseDawn();
  });

  test("the null backend knows f16, so those variants are compiled too", () => {
    expect(gpu.capabilities.f16).toBe(true);
  });

  test.each([...SHADER_CASES, ...TILE_CASES].map(({ name, record }) => [name, record] as const))(
    "%s",
    async (_name, record) => {
      const recorder = new Recorder(gpu, "test");
      compiling.length = 0;
      record(recorder);
      const failures = (await Promise.allSettled(compiling)).filter(({ status }) => status === "rejected");
      for (const { reason } of failures as PromiseRejectedResult[]) expectOnlyTooLarge(reason);
      if (failures.length === 0) await recorder.submit();
      else recorder.discard();
    },
  );

  test("no kernel is left out", () => {
    expect([...stems].sort()).toEqual(KERNELS.map(({ stem }) => stem).sort());
  });

  test("a kernel with an error would not pass", async () => {
    const recorder = new Recorder(gpu, "test");
    const { text } = KERNELS.find(({ stem }) => stem === "gelu_gate")!;
    const buffer = { buffer: recorder.temporary(256, "operand") };
    recorder.dispatch({
      kernel: { stem: "broken", source: text.replace("gate[i]", "gate[j]") },
      constants: { ACTIVATION: 0 },
      params: { count4: 1 },
      buffers: { x: buffer, gate: buffer, out: buffer },
      workgroups: [1],
      flops: 0,
      bytes: 0,
    });
    await expect(recorder.submit()).rejects.toThrow("Kernel broken[ACTIVATION=0] does not compile");
  });
});

describe.each(KERNELS)("$stem keeps the kernel contract", ({ stem, text }) => {
  const lines = text.split("\n");
  const head = lines.slice(
    0,
    lines.findIndex((line) => !line.startsWith("//")),
  );

  test("a head of 5 to 30 lines", () => {
    expect(head.length).toBeGreaterThanOrEqual(5);
    expect(head.length).toBeLessThanOrEqual(30);
  });

  test("parts in order: imports, Params, bindings, main", () => {
    const parts = [
      "#import",
      "struct Params",
      "@group(0) @binding(0) var<uniform> params: Params;",
      "@compute",
    ];
    const places = parts
      .map((part) => lines.findIndex((line) => line.startsWith(part)))
      .filter((at) => at >= 0);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(text.match(/@compute/g)).toHaveLength(1);
    expect(text).toMatch(/^fn main\(/m);
  });

  test("bindings: parameters, then what is read, then what is written", () => {
    // Imported files may add what they read; that there are no gaps is checked where the variants are compiled.
    const types = [...text.matchAll(/@binding\(\d+\) var<([^>]+)>/g)].map(([, type]) => type);
    const ranks = types.map((type) => ["uniform", "storage, read", "storage, read_write"].indexOf(type!));
    expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
    expect(types.filter((type) => type === "uniform")).toHaveLength(1);
    const shared = "#import shared/attention_tiles"; // has their Params
    const whole = text.replace(shared, readFileSync(repoPath("shaders/shared/attention_tiles.wgsl"), "utf8"));
    if (!text.includes("#import shared/weight"))
      expect(reflectShader(whole).bindings.length).toBe(types.length);
  });

  test("an op, a twin and a test with the kernel's stem", () => {
    const known = VARIANT_OF[stem] ?? stem;
    const read = (path: string): string => readFileSync(repoPath(path), "utf8");
    expect(read(`src/ops/${stem}.ts`)).toContain(`"../../shaders/${stem}.wgsl?raw"`);
    expect(read(`tests/reference/${known}.ts`)).toContain(`shaders/${known}.wgsl`);
    expect(read(`tests/gpu/ops/${known}.test.ts`)).toContain(`reference/${known}.ts`);
  });

  test("a row in shaders/README.md", () => {
    expect(readFileSync(repoPath("shaders/README.md"), "utf8")).toContain(`\`${stem}\``);
  });
});

test.each(FILES)(
  "$file is formatted: at most 250 lines of 120 characters, no trailing blanks",
  ({ text }) => {
    const lines = text.split("\n");
    expect(lines.length).toBeLessThanOrEqual(251);
    for (const line of lines) {
      expect(line.length, line).toBeLessThanOrEqual(120);
      expect(line).toBe(line.trimEnd());
    }
    expect(text.endsWith("\n")).toBe(true);
    expect(text).not.toContain("\t");
  },
);
