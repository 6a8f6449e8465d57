// A model folder on disk, read by range with node:fs. Node only; the page uses url_source.ts and opfs_source.ts.

import { open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { WeightsError } from "../errors.ts";
import type { ByteRange, FileSource } from "./file_source.ts";
import { assertRangeInside, missingFile } from "./memory_source.ts";
import { assertModelPath } from "./model_path.ts";

/** Largest single read, so that an abort is noticed in between. */
const PIECE_BYTES = 32 * 1024 * 1024;

/** The files under `folder`. Nothing is opened yet; a missing folder shows up as missing files. */
export function openFolderSource(folder: string): FileSource {
  const root = resolve(folder);
  return {
    location: folder,
    has: async (path) => (await fileBytes(root, path)) !== undefined,
    async size(path) {
      const bytes = await fileBytes(root, path);
      if (bytes === undefined) throw missingFile(path, folder);
      return bytes;
    },
    async read(path, range, signal) {
      const bytes = await fileBytes(root, path);
      if (bytes === undefined) throw missingFile(path, folder);
      assertRangeInside(path, range, bytes);
      return readRange(resolve(root, path), range ?? { start: 0, end: bytes }, signal);
    },
  };
}

/** Size of a regular file; undefined when there is none. */
async function fileBytes(root: string, path: string): Promise<number | undefined> {
  assertModelPath(path);
  try {
    const info = await stat(resolve(root, path));
    return info.isFile() ? info.size : undefined;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw new WeightsError(`Cannot read ${path} in ${root} (${String(code)}); check its permissions.`, {
      cause: error,
    });
  }
}

async function readRange(file: string, { start, end }: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const handle = await open(file, "r");
  try {
    const out = new Uint8Array(end - start);
    let done = 0;
    while (done < out.byteLength) {
      signal?.throwIfAborted();
      const length = Math.min(PIECE_BYTES, out.byteLength - done);
      const { bytesRead } = await handle.read(out, done, length, start + done);
      if (bytesRead === 0) throw new WeightsError(`${file} became shorter while it was read; read it again.`);
      done += bytesRead;
    }
    return out;
  } finally {
    await handle.close();
  }
}
