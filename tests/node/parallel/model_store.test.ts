import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { requiredFiles } from "../../../src/parallel/model_store.ts";
import { parseModelIndex } from "../../../src/pipelines/model_index.ts";
import { parseManifest } from "../../../src/weights/manifest.ts";

const json = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../../models/weft-nano/${path}`, import.meta.url), "utf8"));
const manifest = parseManifest(json("weights.json"));
const settings = parseModelIndex(json("model_index.json"));

test("a render needs its own transformer and everything that is no transformer", () => {
  const fewstep = requiredFiles(manifest, settings, "transformer_fewstep");
  const base = requiredFiles(manifest, settings, "transformer");
  const folders = (paths: string[]): string[] => [...new Set(paths.map((path) => path.split("/")[0] ?? ""))];
  expect(folders(fewstep)).toContain("transformer_fewstep");
  expect(folders(fewstep)).not.toContain("transformer");
  expect(folders(base)).toContain("transformer");
  expect(folders(base)).not.toContain("transformer_fewstep");
  for (const paths of [fewstep, base]) {
    expect(folders(paths)).toEqual(expect.arrayContaining(["text_encoder", "tokenizer", "vae", "scheduler"]));
  }
  const judge = ["scorer.json", "scorer.onnx"];
  expect([...new Set([...fewstep, ...base, ...judge])].toSorted()).toEqual(
    Object.keys(manifest.files).toSorted(),
  );
  for (const path of judge) expect([...fewstep, ...base]).not.toContain(path);
});
