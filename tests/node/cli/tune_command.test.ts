// `weft tune` without a graphics card, and what it shows and forgets of one that is made up. What it measures is tested in
// tests/gpu/tuning.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test, vi } from "vitest";
import { openHardware } from "../../../src/cli/adapter_node.ts";
import { checkTuning } from "../../../src/cli/engine_option.ts";
import { addTuneCommand } from "../../../src/cli/tune_command.ts";
import { writeTuning } from "../../../src/cli/tuning_cache.ts";
import { runCommand } from "./run_command.ts";

vi.mock("../../../src/cli/adapter_node.ts", async (original) => ({
  ...(await original<typeof import("../../../src/cli/adapter_node.ts")>()),
  openHardware: vi.fn(),
}));

const folder = mkdtempSync(join(tmpdir(), "weft-tune-"));
vi.stubEnv("XDG_CACHE_HOME", folder);
const tune = (...args: string[]): Promise<string> => runCommand(addTuneCommand, ["tune", ...args]);

const CARD = {
  info: { vendor: "acme", architecture: "x1", device: "card", description: "driver 1" },
  limits: {},
  features: new Set(),
} as unknown as GPUAdapter;

beforeEach(() => {
  vi.mocked(openHardware).mockResolvedValue({ requestAdapter: async () => CARD } as unknown as GPU);
});
afterAll(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

test("says in a sentence that there is nothing to tune without a graphics card", async () => {
  vi.mocked(openHardware).mockResolvedValue(undefined);
  expect(await tune()).toBe(
    "There is nothing to tune here: no graphics card was found, and on the CPU videos are computed by onnxruntime.\n",
  );
  expect(JSON.parse(await tune("--json"))).toMatchObject({ path: null, results: [] });
});

test("shows what was measured, and forgets it", async () => {
  await expect(tune("--show")).rejects.toThrow("This adapter has not been tuned; weft tune does it.");
  expect(await tune("--reset")).toBe("This adapter had not been tuned.\n");
  const standard = { tile: "64x64", milliseconds: 10, range: [9, 11], teraflops: 40, difference: 0 } as const;
  const result = {
    work: "a",
    rows: 1,
    title: "linear 1 x 2 x 3",
    tile: "64x64",
    speedUp: 1,
    tiles: [standard],
  };
  const { path } = await writeTuning(CARD, [result]);
  expect(await tune("--show")).toMatch(
    /linear 1 x 2 x 3\n\* .*64x64 \(default\)\n\d{4}-\d\d-\d\d, weft .*\.json\n$/,
  );
  expect(JSON.parse(await tune("--show", "--json"))).toMatchObject({ state: "tuned", results: [result] });
  expect(await tune("--reset")).toBe(`Removed ${path}.\n`);
  expect(JSON.parse(await tune("--show", "--json"))).toMatchObject({ state: "none" });
});

test("--show and --reset exclude each other", async () => {
  await expect(tune("--show", "--reset")).rejects.toThrow("cannot be used with");
});

test("--no-tuning is refused where kernels are never tuned", () => {
  const check =
    (host: "node" | "chromium", engine: "auto" | "webgpu" | "onnx", tuning = false) =>
    (): void =>
      checkTuning({ host, engine, tuning });
  expect(check("node", "onnx")).toThrow("--no-tuning cannot be used with --engine onnx");
  expect(check("chromium", "auto")).toThrow("--no-tuning cannot be used with --host chromium");
  for (const fine of [check("node", "auto"), check("node", "webgpu"), check("chromium", "onnx", true)])
    expect(fine).not.toThrow();
});
