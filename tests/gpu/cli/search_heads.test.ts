// `weft search-heads` as a user runs it, on a tiny random model: interrupted, started again, and its heads rendered with.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fixturePath } from "../../reference/fixture_tensors.ts";
import { runWeft, useFolder } from "./run_weft.ts";

const folder = useFolder();
const MODEL = ["--model", fixturePath("wan_tiny"), "--vae", fixturePath("taehv_tiny/taehv.safetensors")];
const SIZE = ["--frames", "5", "--height", "32", "--width", "32", "--steps", "2", "--guidance", "1"];
const SMALL = [...MODEL, ...SIZE, "--engine", "onnx"];
const SEARCH = ["search-heads", "a red ball", "a blue cube", ...SMALL, "--out", "heads.json"];

interface HeadsFile {
  readonly heads: readonly { readonly layer: number; readonly head: number }[];
  readonly softness: number;
  readonly search: {
    readonly trials: number;
    readonly final: { readonly mean: number };
    readonly rounds: readonly {
      readonly baseline: { readonly mean: number };
      readonly candidates: readonly { readonly gain: number; readonly scores: readonly number[] }[];
    }[];
  };
}

test("an interrupted search goes on, and its heads make the videos it promised", async () => {
  const options = ["--objective", "sharpness - flicker", "--rounds", "1", "--top", "2", "--softness", "0.8"];
  const interrupted = await runWeft(folder, [...SEARCH, ...options], {
    onStderr: (text, child) => {
      if (text.includes("round 1, head 0.1")) child.kill("SIGINT");
    },
  });
  expect(interrupted.code).toBe(130);
  expect(existsSync(join(folder, "heads.json"))).toBe(false);
  const ended = await runWeft(folder, [...SEARCH, ...options, "--softness-after", "0.25", "--json"]);
  expect(ended, ended.stderr).toMatchObject({ code: 0 });
  expect(ended.stderr).toMatch(/going on after [678] trials/);
  expect(existsSync(join(folder, "heads.json.partial"))).toBe(false);

  const file = JSON.parse(ended.stdout) as HeadsFile;
  expect(JSON.parse(readFileSync(join(folder, "heads.json"), "utf8"))).toEqual(file);
  expect(file).toMatchObject({ format: "weft-heads", softness: 0.25, search: { trials: 16 } });
  const [round] = file.search.rounds;
  const gains = round!.candidates.map(({ gain }) => gain);
  expect(gains).toHaveLength(6); // 3 layers of 2 heads
  expect(gains).toEqual(gains.toSorted((a, b) => b - a));
  expect(gains[0]).toBeGreaterThan(0);

  const guided = ["--softpag", "3", "--heads", "heads.json", "--json"];
  const rendered = await runWeft(folder, ["render", "a red ball", ...SMALL, ...guided, "--out", "x.png"]);
  expect(rendered, rendered.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(rendered.stdout)).toMatchObject({
    settings: { perturbedGuidance: { scale: 3, perturbation: { kind: "heads" } } },
  });
});

test("what cannot be a search is refused in a sentence", async () => {
  const refused = async (args: readonly string[]): Promise<string> => {
    const { code, stderr } = await runWeft(folder, [...SEARCH, ...args]);
    expect(code).toBe(2);
    return stderr;
  };
  expect(await refused(["--rounds", "0"])).toContain("--rounds must be at least 1, not 0.");
  expect(await refused(["--softness", "0"])).toContain("--softness must be above 0");
  expect(await refused(["--objective", "2*"])).toContain('The objective "2*" is no sum of measures');
  expect(await refused(["--objective", "beauty"])).toContain("what can be measured is");
  expect(await refused(["--scorer", folder])).toContain("it needs scorer.json and scorer.onnx");
});
