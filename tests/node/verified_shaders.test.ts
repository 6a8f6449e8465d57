// The kernels of linear layers and attention have been verified and timed on hardware that no test here has. With default
// tiles their text must therefore stay what was verified, byte for byte; other tiles and new kernels are candidates
// (src/ops/tile.ts). Whoever changes a text on purpose verifies it again (BENCHMARKS.md) and writes the new hash here.
import { createHash } from "node:crypto";
import { afterAll, expect, test, vi } from "vitest";
import { releaseDawn, startDawn } from "../../src/cli/dawn_node.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { SHADER_CASES } from "./shader_cases.ts";

/** SHA-256 over the sources of all variants of the cases, in the order of their keys; its first 16 digits. */
const VERIFIED: Readonly<Record<string, string>> = {
  attention: "2d62b25c3964c3cb",
  attention_direct: "e9b72bf0d3c2e154",
  attention_f16: "60d831784cadea12",
  attention_subgroup_matrix: "c815fdb646e7dcf3",
  linear: "7c6e9316bbb3ea9e",
  linear_direct: "c8e4b3593f9059a3",
  linear_f16: "b7430d1d712a1737",
  linear_subgroup_matrix: "7cb8731f6eaba575",
};

afterAll(releaseDawn);

test("default tiles give the sources that were verified on hardware", async () => {
  const gpu = await Gpu.open({ gpu: startDawn({ backend: "null" }) });
  Object.assign(gpu.capabilities, { maxWorkgroupBytes: 49_152 }); // as that hardware; the null backend has 16 KiB
  const sources = new Map<string, Map<string, string>>();
  vi.spyOn(gpu.pipelines, "compile").mockImplementation(({ stem, key, source }) => {
    sources.set(stem, (sources.get(stem) ?? new Map<string, string>()).set(key, source));
    return new Promise(() => undefined); // nothing is compiled
  });
  for (const { record } of SHADER_CASES) {
    const recorder = new Recorder(gpu, "test");
    record(recorder);
    recorder.discard();
  }
  gpu.dispose();
  for (const [stem, hash] of Object.entries(VERIFIED)) expect(digest(sources.get(stem)), stem).toBe(hash);
});

function digest(sources: ReadonlyMap<string, string> = new Map()): string {
  const hash = createHash("sha256");
  for (const [key, source] of [...sources].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${key}\n${source}\n`);
  return hash.digest("hex").slice(0, 16);
}
