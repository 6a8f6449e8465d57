// Files that are either whole or not there: written under a temporary name in the same folder, renamed at the end.

import { rmSync } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { InputError } from "../errors.ts";

const partial = new Set<string>();

/**
 * Writes `pieces` as the file `path`, replacing what is there only when all of it is on disk. A device or pipe of that
 * name is written to instead of replaced.
 *
 * @throws {InputError} when the folder does not exist or may not be written to; a plain Error with a sentence when the
 *   disk is full; AbortError. None of them leaves a file.
 */
export async function writeFileAtomically(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<number> {
  signal?.throwIfAborted();
  if (await isDevice(path)) {
    return await writePieces(path, pieces, signal).catch((error: unknown) => {
      throw explainWriteError(path, error);
    });
  }
  const temporary = partialPath(path);
  partial.add(temporary);
  try {
    const bytes = await writePieces(temporary, pieces, signal);
    signal?.throwIfAborted();
    await rename(temporary, path);
    return bytes;
  } catch (error) {
    await rm(temporary, { force: true });
    throw explainWriteError(path, error);
  } finally {
    partial.delete(temporary);
  }
}

/**
 * A file without a name, on the disk of `path`, for what is not whole yet: nothing of it is left however this process ends.
 *
 * @throws as `writeFileAtomically`
 */
export async function openScratchFile(path: string): Promise<FileHandle> {
  const name = partialPath((await isDevice(path)) ? join(tmpdir(), basename(path)) : path);
  try {
    const file = await open(name, "w+");
    await rm(name, { force: true });
    return file;
  } catch (error) {
    throw explainWriteError(path, error);
  }
}

/** Throws `InputError` unless the folder that `path` lies in exists and takes files. */
export async function requireFolderOf(path: string): Promise<void> {
  const folder = dirname(path);
  const info = await stat(folder).catch(() => undefined);
  if (info === undefined) {
    throw new InputError(
      `The folder ${folder}, where ${basename(path)} would go, does not exist; create it with: mkdir -p ${quote(folder)}`,
    );
  }
  if (!info.isDirectory()) throw new InputError(`${folder} is not a folder, so ${path} cannot be written.`);
  if (await isDevice(path)) return;
  const probe = partialPath(path);
  try {
    // Permissions alone do not tell: a folder may be of a read-only or special file system.
    await (await open(probe, "w")).close();
  } catch (error) {
    throw explainWriteError(path, error);
  } finally {
    await rm(probe, { force: true });
  }
}

/** Removes what is half written, at once: for a process that ends without unwinding. */
export function removePartialFiles(): void {
  for (const path of partial) rmSync(path, { force: true });
}

function partialPath(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.partial`);
}

async function isDevice(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info !== undefined && !info.isFile() && !info.isDirectory();
}

async function writePieces(
  path: string,
  pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<number> {
  const file = await open(path, "w");
  let bytes = 0;
  try {
    for await (const piece of pieces) {
      signal?.throwIfAborted();
      for (let done = 0; done < piece.length;) {
        const { bytesWritten } = await file.write(piece, done);
        done += bytesWritten;
      }
      bytes += piece.length;
    }
    if ((await file.stat()).isFile()) await file.sync();
    return bytes;
  } finally {
    await file.close();
  }
}

/** A sentence for the system's error codes that users can do something about. */
function explainWriteError(path: string, error: unknown): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const cause = { cause: error };
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return new Error(
        `The disk is full, so ${path} was not written; free some space or choose another folder with --out.`,
        cause,
      );
    case "EFBIG":
      return new Error(`${path} is larger than this system lets a file be, so it was not written.`, cause);
    case "ENOENT":
    case "ENOTDIR":
      return new InputError(
        `The folder ${dirname(path)} of ${path} is gone or takes no files; choose another.`,
        cause,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new InputError(
        `${path} may not be written (${code}); check the folder's permissions or choose another with --out.`,
        cause,
      );
    case "EISDIR":
      return new InputError(`${path} is a folder; give the name of a file.`, cause);
    default:
      return error;
  }
}

function quote(text: string): string {
  return /^[\w./@%+:,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
