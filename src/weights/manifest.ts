// weights.json: the size and the hashes of every file of a model folder, so that a download can be trusted.
// Hashes are per chunk, so that a range can be verified without reading the whole file. verified_source.ts uses them.

import * as v from "valibot";
import { WeightsError } from "../errors.ts";
import type { FileSource } from "./file_source.ts";
import { readJson } from "./json_file.ts";
import { assertModelPath } from "./model_path.ts";

/** Name of the manifest in the model's folder. */
export const MANIFEST_PATH = "weights.json";

/** Bytes of a chunk, unless a manifest says otherwise. */
export const CHUNK_BYTES = 4 * 1024 * 1024;

const SHA256_HEX = /^[0-9a-f]{64}$/;

const manifestSchema = v.object({
  format: v.literal("weft-weights"),
  version: v.literal(1),
  chunk_bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(4096)),
  files: v.record(
    v.string(),
    v.object({
      bytes: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
      sha256: v.array(v.pipe(v.string(), v.regex(SHA256_HEX))),
    }),
  ),
});

/** `files[path].sha256[i]` is the hash of bytes `i * chunk_bytes` up to the next chunk or the end; an empty file has none. */
export type Manifest = v.InferOutput<typeof manifestSchema>;

/** The folder's manifest; undefined when it has none (its files cannot be verified then). Throws `WeightsError`. */
export async function readManifest(source: FileSource, signal?: AbortSignal): Promise<Manifest | undefined> {
  if (!(await source.has(MANIFEST_PATH))) return undefined;
  return parseManifest(await readJson(source, MANIFEST_PATH, signal));
}

/** Checks the parsed JSON of a manifest. Throws `WeightsError`. */
export function parseManifest(json: unknown): Manifest {
  const result = v.safeParse(manifestSchema, json);
  if (!result.success)
    throw invalid(result.issues.map((issue) => `${v.getDotPath(issue) ?? ""} ${issue.message}`.trim()));
  const manifest = result.output;
  for (const [path, { bytes, sha256 }] of Object.entries(manifest.files)) {
    assertModelPath(path);
    const chunks = Math.ceil(bytes / manifest.chunk_bytes);
    if (sha256.length !== chunks)
      throw invalid([`${path} has ${sha256.length} hashes, its size needs ${chunks}`]);
  }
  return manifest;
}

/** Reads and hashes `paths` chunk by chunk. */
export async function createManifest(
  source: FileSource,
  paths: readonly string[],
  signal?: AbortSignal,
): Promise<Manifest> {
  const files: Manifest["files"] = {};
  for (const path of paths) {
    const bytes = await source.size(path);
    const sha256: string[] = [];
    for (let start = 0; start < bytes; start += CHUNK_BYTES) {
      const end = Math.min(start + CHUNK_BYTES, bytes);
      sha256.push(await sha256Hex(await source.read(path, { start, end }, signal)));
    }
    files[path] = { bytes, sha256 };
  }
  return { format: "weft-weights", version: 1, chunk_bytes: CHUNK_BYTES, files };
}

/** The manifest as the text of weights.json. */
export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 1)}\n`;
}

/**
 * 16 hex digits that name the model in a video's metadata: SHA-256 over paths, sizes and hashes, so it depends on the
 * files alone and not on the manifest's order or spacing.
 */
export async function modelHash(manifest: Manifest): Promise<string> {
  const lines = Object.entries(manifest.files)
    .map(([path, { bytes, sha256 }]) => `${path}\n${bytes}\n${sha256.join(",")}\n`)
    .sort();
  const text = `${manifest.chunk_bytes}\n${lines.join("")}`;
  return (await sha256Hex(new TextEncoder().encode(text))).slice(0, 16);
}

/** SHA-256 as 64 hex digits. */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  // WebCrypto refuses views on shared memory, which no source returns; the cast only drops that possibility.
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function invalid(problems: readonly string[]): WeightsError {
  return new WeightsError(
    `${MANIFEST_PATH} is not a weft-weights manifest of version 1: ${problems.slice(0, 3).join("; ")}. Download it again.`,
  );
}
