// `weft plan` with weft-nano: 12 layers of 4 heads.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { tile } from "../../../src/attention/plan_constructors.ts";
import { PLAN_NAMES, planByName } from "../../../src/attention/plan_name.ts";
import { addPlanCommand } from "../../../src/cli/plan_command.ts";
import { runCommand } from "./run_command.ts";

const folder = mkdtempSync(join(tmpdir(), "weft-plan-"));
const path = (name: string): string => join(folder, name);
const show = (...args: string[]): Promise<string> => runCommand(addPlanCommand, ["plan", ...args]);
afterAll(() => rmSync(folder, { recursive: true }));

describe("weft plan", () => {
  test("prints density, operations and traffic beside full attention's", async () => {
    const report = JSON.parse(await show("tile:2", "--frames", "33", "--json"));
    const density = (9 ** 2 - 7 ** 2 + 7) / 9 ** 2;
    expect(report).toMatchObject({ numFrames: 9, tokensPerFrame: 64, layers: 12, heads: 4, headDim: 64 });
    expect(report.total.density).toBeCloseTo(density, 9);
    expect(report.full.flops).toBe(48 * 4 * 64 * 576 ** 2);
    expect(report.total.flops).toBeCloseTo(density * report.full.flops, 0);
    // Full: q and out once, k and v for each of 9 query tiles; f32.
    expect(report.full.bytes).toBe(48 * (2 * 576 + 2 * 9 * 576) * 64 * 4);
    expect(report.plan).toEqual(tile(2));
    const text = await show("tile:2", "--frames", "33");
    expect(text).toContain("9 latent frames of 64 tokens, 576 in all; step 0 of 4 (timestep 1000)");
    expect(text).toMatch(/48 +48\.1 % .* tile_2 +all layers/);
    expect(text).toMatch(/48 +100\.0 % .* full attention/);
  });

  test.for(["full", "tile:3", "dual-scope", "dual-scope:2,4", "radial", "radial:0.5"])(
    "knows %s",
    async (name) => {
      const { total, full } = JSON.parse(await show(name, "--frames", "65", "--json"));
      expect(total.heads).toBe(48);
      expect(total.flops).toBeLessThanOrEqual(full.flops);
      expect(total.density === 1).toBe(name === "full");
    },
  );

  test("tells what workers would send each other", async () => {
    const frames = 4 * (9 - 1) + 1;
    const rows = 9 * 64 * 256; // hidden states: tokens of all frames, width of all heads
    const { exchange } = JSON.parse(await show("full", "--frames", `${frames}`, "--workers", "3", "--json"));
    // Everybody is sent what the two others have.
    expect(exchange).toMatchObject({ workers: 3, clips: [3, 3, 3], bytes: { f16: 12 * 2 * rows * 2 } });
    expect(exchange.byLayer).toEqual(Array.from({ length: 12 }, () => 2 * rows * 2));
    const text = await show("tile:1", "--frames", `${frames}`, "--workers", "3");
    expect(text).toMatch(/3 workers of \d, \d, \d latent frames send each other/);
    const halo = JSON.parse(
      await show("dual-scope:1,1", "--frames", `${frames}`, "--workers", "3", "--json"),
    ).exchange;
    expect(halo.bytes.f16).toBeLessThan(exchange.bytes.f16 / 2);
  });

  test("draws all masks, or one", async () => {
    const [all, one] = [path("all.svg"), path("one.svg")];
    expect(await show("dual-scope", "--frames", "129", "--image", all)).toContain(all);
    await show("dual-scope", "--frames", "129", "--layer", "3", "--step", "2", "--image", one);
    expect(readFileSync(all, "utf8")).toMatch(/different masks/);
    expect(readFileSync(one, "utf8")).toMatch(/33 latent frames, layer 3, head 0, step 2 \(timestep \d+\)/);
  });

  test("reads a plan from a file", async () => {
    const plan = { ...tile(2), perturbations: [{ layers: [0], heads: [1], strength: 1 }] };
    writeFileSync(path("plan.json"), JSON.stringify(plan));
    const { rows, total } = JSON.parse(await show(path("plan.json"), "--json"));
    expect(rows).toHaveLength(2);
    expect(rows[1]).toMatchObject({ places: "layer 0, head 1", perturbation: 1, density: 0, flops: 0 });
    expect(total.density).toBeCloseTo((47 / 48) * rows[0].density, 9);
  });

  test.for([
    [["tile"], /numbers that tile does not take/],
    [["tile:x"], /numbers that tile does not take/],
    [["dual-scope:3"], /numbers that dual-scope does not take/],
    [["sparse"], /There is no attention plan "sparse": give a JSON file/],
    [["full", "--frames", "32"], /32/],
    [["full", "--layer", "12"], /no layer 12: there are 12, 0 to 11/],
    [["full", "--head", "4"], /no head 4/],
    [["full", "--step", "4"], /no step 4: there are 4/],
    [["full", "--image", "plan.png"], /must end in .svg/],
  ] as const)("refuses %j", async ([args, message]) => {
    await expect(show(...args)).rejects.toThrow(message);
  });
});

test("planByName(): a dual-scope plan fills the trained length, and covers every frame in few steps", () => {
  const context = { trainedFrames: 21, temporalFrequencies: 22, steps: 4, layers: 30 };
  const plan = planByName("dual-scope", context);
  expect(plan?.rules["dual_scope"]?.groups).toMatchObject([
    { frames: { kind: "window", radius: 3 } },
    { frames: { kind: "anchors", frames: { kind: "coverage", count: 14, steps: 4, layers: 30 } } },
  ]);
  expect(planByName("plan.json", context)).toBeUndefined();
  expect(planByName("toString", context)).toBeUndefined();
  expect(PLAN_NAMES).toContain("dual-scope");
});
