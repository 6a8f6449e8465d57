// `weft search-masks` as a user runs it: interrupted, started again, and its plan rendered with.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fixturePath } from "../../reference/fixture_tensors.ts";
import { runWeft, useFolder } from "./run_weft.ts";

const folder = useFolder();
const SMALL = ["--model", fixturePath("wan_tiny"), "--frames", "9", "--height", "32", "--width", "32"];
const SEARCH = ["search-masks", "a red ball", "a blue cube", ...SMALL, "--steps", "2", "--guidance", "1"];
const FILES = ["--out", "masks.json", "--threshold", "0.2"];

test("an interrupted search goes on and its plan can be rendered", async () => {
  const interrupted = await runWeft(folder, [...SEARCH, ...FILES], {
    onStderr: (text, child) => {
      if (text.includes("measured 1 of 4 states")) child.kill("SIGINT");
    },
  });
  expect(interrupted.code).toBe(130);
  expect(existsSync(join(folder, "masks.json"))).toBe(false);
  const ended = await runWeft(folder, [...SEARCH, ...FILES, "--json"]);
  expect(ended, ended.stderr).toMatchObject({ code: 0 });
  expect(ended.stderr).toMatch(/going on after [123] of 4 states/);
  expect(existsSync(join(folder, "masks.json.partial"))).toBe(false);

  const report = JSON.parse(ended.stdout);
  expect(report).toMatchObject({ output: "masks.json", frames: 9, threshold: 0.2, steps: [0, 1] });
  for (const { error, headErrors, density } of report.byLayer) {
    expect(Math.max(error, ...headErrors)).toBeLessThanOrEqual(0.2);
    expect(density).toBeLessThanOrEqual(1);
  }
  const plan = await runWeft(folder, ["plan", "masks.json", ...SMALL, "--json"]);
  expect(JSON.parse(plan.stdout).total.density).toBeCloseTo(report.density, 9);
  expect(JSON.parse(readFileSync(join(folder, "masks.json"), "utf8")).search.byLayer).toHaveLength(
    report.byLayer.length,
  );
  const dump = ["--steps", "1", "--guidance", "1", "--dump", "x.safetensors"];
  const rendered = await runWeft(folder, [
    "render",
    "a ball",
    ...SMALL,
    ...dump,
    "--attention",
    "masks.json",
  ]);
  expect(rendered, rendered.stderr).toMatchObject({ code: 0 });
});

test("bad wishes are refused in a sentence before anything is read", async () => {
  const threshold = await runWeft(folder, [...SEARCH, "--threshold", "2"]);
  expect(threshold).toMatchObject({ code: 2 });
  expect(threshold.stderr).toContain("The threshold must be above 0 and below 1, not 2.");
  const step = await runWeft(folder, [...SEARCH, "--at", "5"]);
  expect(step).toMatchObject({ code: 2 });
  expect(step.stderr).toContain("There is no step 5: the render has 2, 0 to 1.");
});
