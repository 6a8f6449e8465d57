// A model that lies in memory: for tests, and for files a page was handed by the user.

import { WeightsError } from "../errors.ts";
import type { ByteRange, FileSource } from "./file_source.ts";

/** Serves copies of the bytes in `files` (path -> content). Throws `WeightsError` for missing files and short ranges. */
export function openMemorySource(files: ReadonlyMap<string, Uint8Array>, location = "memory"): FileSource {
  function find(path: string): Uint8Array {
    const bytes = files.get(path);
    if (bytes === undefined) throw missingFile(path, location);
    return bytes;
  }
  return {
    location,
    has: async (path) => files.has(path),
    size: async (path) => find(path).byteLength,
    async read(path, range, signal) {
      signal?.throwIfAborted();
      const bytes = find(path);
      assertRangeInside(path, range, bytes.byteLength);
      return range === undefined ? bytes.slice() : bytes.slice(range.start, range.end);
    },
  };
}

/** What every source says about a file that is not there. */
export function missingFile(path: string, location: string): WeightsError {
  return new WeightsError(
    `${path} is missing in ${location}; the model folder is incomplete, download it again.`,
  );
}

/** What every source says about a range the file does not have. */
export function assertRangeInside(path: string, range: ByteRange | undefined, fileBytes: number): void {
  if (range === undefined || (range.start >= 0 && range.start <= range.end && range.end <= fileBytes)) return;
  throw new WeightsError(
    `${path} is truncated: bytes ${range.start} to ${range.end} were asked for, the file has ${fileBytes}; download it again.`,
  );
}
