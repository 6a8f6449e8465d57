import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { quantizeModel, readRules } from "../../../src/cli/quantize_command.ts";
import { parseWanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { InputError } from "../../../src/errors.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { modelHash, readManifest } from "../../../src/weights/manifest.ts";
import { packBits, unpackBits } from "../../../src/weights/packed_bits.ts";
import { quantizeCheckpoint } from "../../../src/weights/quantize_checkpoint.ts";
import { openVerifiedSource } from "../../../src/weights/verified_source.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";
import { randomWan, shardedFiles } from "../../reference/random_wan.ts";
import {
  expectWeightsError,
  f32Tensor,
  gaussian,
  relativeError,
  sourceOf,
  transformerOf,
} from "./model_files.ts";

/** wan_head128 with a random transformer in two shards. */
let sharded: string;
beforeAll(async () => {
  sharded = await mkdtemp(join(tmpdir(), "weft-sharded-"));
  await cp("tests/fixtures/wan_head128", sharded, { recursive: true });
  const config = parseWanTransformerConfig(readFixtureJson("wan_head128/transformer/config.json"));
  for (const [path, bytes] of shardedFiles(randomWan(config, 1), 2)) {
    await rm(join(sharded, "transformer", path), { force: true }); // the fixture's index, maybe read-only
    await writeFile(join(sharded, "transformer", path), bytes);
  }
});
afterAll(() => rm(sharded, { recursive: true }));

let folder: string;
beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "weft-quantize-")), "model");
});
afterEach(() => rm(join(folder, ".."), { recursive: true }));

test.each([1, 2, 3, 4, 5, 6, 7, 8])("%i-bit integers are packed and unpacked", (bits) => {
  const integers = Uint8Array.from({ length: 64 }, (_, i) => (i * 37) % 2 ** bits);
  const packed = packBits(integers, bits);
  expect(packed.length).toBe(8 * bits);
  expect(unpackBits(packed, bits)).toEqual(integers);
});

test("packing is MLX's: lowest bits first, across bytes", () => {
  expect([...packBits(Uint8Array.of(1, 2), 4)]).toEqual([0x21]);
  expect([...packBits(Uint8Array.of(0b111111, 0, 0b000001, 0b100000), 6)]).toEqual([
    0b00111111, 0b00010000, 0b10000000,
  ]);
});

test("a whole model: matrices become int8, the rest keeps every byte, the manifest verifies, shards become one file", async () => {
  const folders: string[] = [];
  const result = await quantizeModel(sharded, folder, {
    onFolder: (name) => folders.push(name),
  });
  expect(folders).toEqual(["scheduler", "text_encoder", "tokenizer", "transformer"]);
  expect((await readdir(join(folder, "transformer"))).sort()).toEqual([
    "config.json",
    "diffusion_pytorch_model.safetensors",
  ]);
  const manifest = await readManifest(openFolderSource(folder));
  if (manifest === undefined) throw new Error("no manifest");
  expect(await modelHash(manifest)).toBe(result.modelHash);
  expect(Object.keys(manifest.files)).toContain("tokenizer/tokenizer.json");

  const source = openVerifiedSource(openFolderSource(folder), manifest);
  const stored = await openCheckpoint(source, "transformer");
  const original = await openCheckpoint(openFolderSource(sharded), "transformer");
  expect([...stored.names].sort()).toEqual([...original.names].sort());
  for (const name of original.names) {
    const { shape } = original.info(name);
    const [before, after] = [await original.readF32(name), await stored.readF32(name, { shape })];
    if (stored.info(name).storage === "int8") expect(relativeError(after, before)).toBeLessThan(0.008);
    else expect(relativeError(after, before)).toBe(0);
  }
  const int8 = original.names.filter((name) => stored.info(name).storage === "int8");
  expect(int8.length).toBe(2 * 10 + 2); // per block 8 attention and 2 feed-forward matrices; time_proj, text linear_2
  expect(stored.info("condition_embedder.text_embedder.linear_1.weight").storage).toBe("f32"); // rows of 48
  expect(stored.info("proj_out.weight").storage).toBe("f32");
  expect(result.errors.map(({ name }) => name)).toContain("transformer/blocks.1.ffn.net.2.weight");
});

test("rules choose bits, drop tensors, and reach other folders", async () => {
  const rules = [
    ["^transformer/blocks\\.0\\.", "int6"],
    ["^transformer/blocks\\.1\\.", "drop"],
    ["^text_encoder/shared", "int8"],
  ] as const;
  const { errors } = await quantizeModel(sharded, folder, { rules });
  const stored = await openCheckpoint(openFolderSource(folder), "transformer");
  expect(stored.has("blocks.1.attn1.to_q.weight")).toBe(false);
  const original = await openCheckpoint(openFolderSource(sharded), "transformer");
  const name = "blocks.0.attn1.to_q.weight";
  const measured = relativeError(await stored.readF32(name), await original.readF32(name));
  expect(measured).toBeGreaterThan(0.01);
  expect(errors.find((error) => error.name === `transformer/${name}`)?.relative).toBeCloseTo(measured, 6);
});

test("a folder with files in it, one that is no model, and bad rules are refused", async () => {
  await quantizeModel("tests/fixtures/wan_tiny", folder, { rules: [] });
  await expect(quantizeModel("tests/fixtures/wan_tiny", folder)).rejects.toThrow(
    /has files in it; give a new or empty folder/,
  );
  await expect(quantizeModel("tests/fixtures/schedulers", join(folder, "x"))).rejects.toThrow(
    /no model_index.json/,
  );
  const rules = join(folder, "rules.json");
  await writeFile(rules, '[["a", "int9"]]');
  await expect(readRules(rules)).rejects.toThrow(InputError);
  expect((await readRules("models/export/weft_nano_rules.json")).length).toBeGreaterThan(3);
});

async function drain(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return new Uint8Array(Buffer.concat(parts));
}

test("convolutions are int8 over all inputs of an output channel, with a short last group", async () => {
  const weights = gaussian(4 * 24 * 9);
  const source = transformerOf({ conv: f32Tensor([4, 24, 3, 3], [...weights]) });
  const { pieces, errors } = quantizeCheckpoint(await openCheckpoint(source, "transformer"), () => "int8");
  const stored = await openCheckpoint(sourceOf({ "vae/model.safetensors": await drain(pieces) }), "vae");
  expect(stored.info("conv")).toMatchObject({ storage: "int8", shape: [4, 24, 3, 3] });
  expect(relativeError(await stored.readF32("conv"), weights)).toBeLessThan(0.008);
  expect(errors).toEqual([expect.objectContaining({ name: "conv", format: "int8" })]);
});

test("weights that cannot be quantised are named; so is a model that is quantised already", async () => {
  const source = transformerOf({
    big: f32Tensor(
      [1, 64],
      Array.from({ length: 64 }, () => 1e6),
    ),
  });
  const { pieces } = quantizeCheckpoint(await openCheckpoint(source, "transformer"), () => "int8");
  await expectWeightsError(
    drain(pieces),
    /tensor "big" cannot be quantised: The weight 1000000 has no place in f16/,
  );
  await expectWeightsError(quantizeModel("models/weft-nano", folder), /quantised already/);
});
