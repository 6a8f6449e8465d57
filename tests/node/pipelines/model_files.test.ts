import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openModel, readTransformerConfig } from "../../../src/pipelines/model_files.ts";
import type { FileSource } from "../../../src/weights/file_source.ts";
import { openMemorySource } from "../../../src/weights/memory_source.ts";
import { fixturePath } from "../../reference/fixture_tensors.ts";

const CONFIG = "transformer/config.json";

/** The small files of the tiny model, with a changed transformer/config.json. */
function tinyModel(change: Record<string, unknown>): FileSource {
  const folder = fixturePath("wan_tiny");
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" });
  const files = new Map(
    paths.filter((path) => path.endsWith(".json")).map((path) => [path, readFileSync(join(folder, path))]),
  );
  const json = JSON.parse(String(files.get(CONFIG))) as Record<string, unknown>;
  files.set(CONFIG, Buffer.from(JSON.stringify({ ...json, ...change })));
  return openMemorySource(files);
}

test("a transformer is refused when its texts are not the text encoder's", async () => {
  const files = await openModel(tinyModel({ text_dim: 64 }));
  await expect(readTransformerConfig(files, "transformer")).rejects.toMatchObject({
    name: "InputError",
    message: expect.stringContaining('"text_dim" is 64, but text_encoder/config.json has "d_model" 48'),
  });
  const fitting = await openModel(tinyModel({}));
  expect((await readTransformerConfig(fitting, "transformer")).text_dim).toBe(48);
});
