import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import type { FileSource } from "../../../src/weights/file_source.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import {
  createManifest,
  formatManifest,
  type Manifest,
  modelHash,
  parseManifest,
  readManifest,
} from "../../../src/weights/manifest.ts";
import { openVerifiedSource } from "../../../src/weights/verified_source.ts";
import { expectWeightsError, sourceOf } from "./model_files.ts";

const CHUNK = 4096;
const BYTES = Uint8Array.from({ length: 3 * CHUNK + 100 }, (_, i) => (i * 7) % 253);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const chunksOf = (bytes: Uint8Array): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / CHUNK) }, (_, i) => bytes.slice(i * CHUNK, (i + 1) * CHUNK));

const manifest: Manifest = {
  format: "weft-weights",
  version: 1,
  chunk_bytes: CHUNK,
  files: {
    "t/w.safetensors": { bytes: BYTES.length, sha256: chunksOf(BYTES).map(sha256) },
    "empty.json": { bytes: 0, sha256: [] },
  },
};

test("the hashes are SHA-256 of 4 MiB chunks", async () => {
  const big = new Uint8Array(4 * 1024 * 1024 + 5).fill(3);
  const made = await createManifest(sourceOf({ big, small: Uint8Array.of(1) }), ["big", "small"]);
  expect(made.files["big"]).toEqual({
    bytes: big.length,
    sha256: [sha256(big.slice(0, 4 * 1024 * 1024)), sha256(big.slice(4 * 1024 * 1024))],
  });
  expect(parseManifest(JSON.parse(formatManifest(made)))).toEqual(made);
});

test("a verified source gives the same bytes for whole files and any range", async () => {
  const source = openVerifiedSource(
    sourceOf({ "t/w.safetensors": BYTES, "empty.json": new Uint8Array(0) }),
    manifest,
  );
  expect(await source.read("t/w.safetensors")).toEqual(BYTES);
  expect(await source.read("empty.json")).toEqual(new Uint8Array(0));
  for (const [start, end] of [
    [0, 1],
    [CHUNK - 1, CHUNK + 1],
    [CHUNK, 2 * CHUNK],
    [5, 3 * CHUNK + 100],
    [7, 7],
  ] as const) {
    expect(await source.read("t/w.safetensors", { start, end })).toEqual(BYTES.slice(start, end));
  }
  expect(await source.has("t/w.safetensors")).toBe(true);
  expect(await source.size("t/w.safetensors")).toBe(BYTES.length);
});

test("one changed byte is caught, in its chunk only", async () => {
  const changed = BYTES.slice();
  changed[CHUNK + 17] = (changed[CHUNK + 17] ?? 0) ^ 1;
  const source = openVerifiedSource(sourceOf({ "t/w.safetensors": changed }), manifest);
  expect(await source.read("t/w.safetensors", { start: 0, end: CHUNK })).toEqual(BYTES.slice(0, CHUNK));
  await expectWeightsError(
    source.read("t/w.safetensors", { start: 0, end: CHUNK + 1 }),
    /t\/w.safetensors \(chunk 2 of 4\) is not the file its manifest describes; download it again/,
  );
});

test("a shorter file, a missing one and one the manifest does not list", async () => {
  const source = openVerifiedSource(
    sourceOf({ "t/w.safetensors": BYTES.slice(0, -1), extra: BYTES }),
    manifest,
  );
  await expectWeightsError(source.read("t/w.safetensors"), /truncated/);
  await expectWeightsError(
    source.read("empty.json").then(() => source.read("extra")),
    /extra is missing in the weights.json/,
  );
  expect(await source.has("extra")).toBe(false);
  await expectWeightsError(openVerifiedSource(sourceOf({}), manifest).read("t/w.safetensors"), /is missing/);
  await expectWeightsError(source.read("t/w.safetensors", { start: 0, end: BYTES.length + 1 }), /truncated/);
});

function counting(source: FileSource): { source: FileSource; reads: () => number } {
  let reads = 0;
  const read: FileSource["read"] = async (...args) => {
    reads++;
    await new Promise((done) => setTimeout(done, 5));
    return source.read(...args);
  };
  return { source: { ...source, read }, reads: () => reads };
}

test("many small reads of one chunk cost one read, also at the same time; nobody can spoil the kept bytes", async () => {
  const { source, reads } = counting(sourceOf({ "t/w.safetensors": BYTES }));
  const verified = openVerifiedSource(source, manifest);
  const ranges = Array.from({ length: 20 }, (_, i) => ({ start: i * 10, end: i * 10 + 10 }));
  const first = await Promise.all(ranges.map((range) => verified.read("t/w.safetensors", range)));
  for (const bytes of first) bytes.fill(0);
  expect(await verified.read("t/w.safetensors", { start: 0, end: 10 })).toEqual(BYTES.slice(0, 10));
  expect(reads()).toBe(1);
});

test("one reader's abort does not fail another", async () => {
  const { source } = counting(sourceOf({ "t/w.safetensors": BYTES }));
  const verified = openVerifiedSource(source, manifest);
  const controller = new AbortController();
  const aborted = verified.read("t/w.safetensors", { start: 0, end: 1 }, controller.signal);
  const other = verified.read("t/w.safetensors", { start: 0, end: 1 });
  controller.abort();
  await expect(aborted).rejects.toMatchObject({ name: "AbortError" });
  expect(await other).toEqual(BYTES.slice(0, 1));
});

test("the model hash depends on the files and not on their order", async () => {
  const reversed = { ...manifest, files: Object.fromEntries(Object.entries(manifest.files).reverse()) };
  const hash = await modelHash(manifest);
  expect(hash).toMatch(/^[0-9a-f]{16}$/);
  expect(await modelHash(reversed)).toBe(hash);
  const changed = { ...manifest, files: { "empty.json": { bytes: 0, sha256: [] } } };
  expect(await modelHash(changed)).not.toBe(hash);
});

test.each<[string, unknown, RegExp]>([
  ["another format", { ...manifest, format: "x" }, /not a weft-weights manifest of version 1: format/],
  [
    "a hash too few",
    { ...manifest, files: { a: { bytes: CHUNK + 1, sha256: [sha256(BYTES)] } } },
    /a has 1 hashes, its size needs 2/,
  ],
  ["no hash", { ...manifest, files: { a: { bytes: 1, sha256: ["abc"] } } }, /files\.a\.sha256\.0/],
  [
    "a path out of the folder",
    { ...manifest, files: { "../a": { bytes: 0, sha256: [] } } },
    /not a path inside a model folder/,
  ],
  ["a list", [], /not a weft-weights manifest/],
])("a manifest with %s is refused", async (_, json, message) => {
  await expectWeightsError(readManifest(sourceOf({ "weights.json": json as object })), message);
});

test("no manifest is no error", async () => {
  expect(await readManifest(sourceOf({}))).toBeUndefined();
});

test("the embedded model is what its manifest describes", async () => {
  const folder = openFolderSource("models/weft-nano");
  const embedded = await readManifest(folder);
  if (embedded === undefined) throw new Error("models/weft-nano has no weights.json");
  const verified = openVerifiedSource(folder, embedded);
  let bytes = 0;
  for (const path of Object.keys(embedded.files)) bytes += (await verified.read(path)).byteLength;
  expect(bytes).toBeLessThan(30_000_000);
  expect(Object.keys(embedded.files)).toContain("transformer_fewstep/diffusion_pytorch_model.safetensors");
});
