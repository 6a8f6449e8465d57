// A FileSource whose bytes are checked against the manifest, chunk by chunk, before anybody sees them.
// Keeps the latest chunks, so that many small tensors of one chunk cost one read and one hash.

import { WeightsError } from "../errors.ts";
import type { ByteRange, FileSource } from "./file_source.ts";
import { type Manifest, MANIFEST_PATH, sha256Hex } from "./manifest.ts";
import { assertRangeInside, missingFile } from "./memory_source.ts";

/** Verified chunks kept in memory (32 MiB at the usual chunk size). */
const KEPT_CHUNKS = 8;

/**
 * `source`, restricted to the files the manifest lists. A chunk that does not have its hash is a `WeightsError` naming
 * file and chunk; so is a file of another size.
 */
export function openVerifiedSource(source: FileSource, manifest: Manifest): FileSource {
  const chunks = new VerifiedChunks(source, manifest);
  function listed(path: string): { readonly bytes: number } {
    const file = Object.hasOwn(manifest.files, path) ? manifest.files[path] : undefined;
    if (file === undefined) throw missingFile(path, `the ${MANIFEST_PATH} of ${source.location}`);
    return file;
  }
  return {
    location: source.location,
    has: async (path) => Object.hasOwn(manifest.files, path),
    size: async (path) => listed(path).bytes,
    async read(path, range, signal) {
      const { bytes } = listed(path);
      assertRangeInside(path, range, bytes);
      return chunks.read(path, range ?? { start: 0, end: bytes }, signal);
    },
  };
}

class VerifiedChunks {
  readonly #source: FileSource;
  readonly #manifest: Manifest;
  /** Insertion order is use order: the first is dropped first. */
  readonly #kept = new Map<string, Promise<Uint8Array>>();

  constructor(source: FileSource, manifest: Manifest) {
    this.#source = source;
    this.#manifest = manifest;
  }

  /** A copy of the range, from as many chunks as it touches. */
  async read(path: string, { start, end }: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const size = this.#manifest.chunk_bytes;
    const out = new Uint8Array(end - start);
    for (let index = Math.floor(start / size); index * size < end; index++) {
      const chunk = await this.#chunk(path, index, signal);
      const from = Math.max(start - index * size, 0);
      const part = chunk.subarray(from, Math.min(end - index * size, chunk.byteLength));
      out.set(part, index * size + from - start);
    }
    return out;
  }

  /** Readers of one chunk share its read; when another reader's abort ended it, this one starts over. */
  async #chunk(path: string, index: number, signal?: AbortSignal): Promise<Uint8Array> {
    const key = `${path}#${index}`;
    for (;;) {
      signal?.throwIfAborted();
      const chunk = this.#kept.get(key) ?? this.#load(path, index, signal);
      this.#kept.delete(key);
      this.#kept.set(key, chunk);
      this.#dropOldest();
      try {
        return await chunk;
      } catch (error) {
        if (this.#kept.get(key) === chunk) this.#kept.delete(key);
        const isAbort = error instanceof DOMException && error.name === "AbortError";
        if (!isAbort || signal?.aborted === true) throw error;
      }
    }
  }

  async #load(path: string, index: number, signal?: AbortSignal): Promise<Uint8Array> {
    const file = this.#manifest.files[path];
    const expected = file?.sha256[index];
    if (file === undefined || expected === undefined) throw missingFile(path, this.#source.location);
    const start = index * this.#manifest.chunk_bytes;
    const end = Math.min(start + this.#manifest.chunk_bytes, file.bytes);
    const bytes = await this.#source.read(path, { start, end }, signal);
    if ((await sha256Hex(bytes)) !== expected) {
      throw new WeightsError(
        `${path} (chunk ${index + 1} of ${file.sha256.length}) is not the file its manifest describes; download it again.`,
      );
    }
    return bytes;
  }

  #dropOldest(): void {
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_CHUNKS) return;
      this.#kept.delete(key);
    }
  }
}
