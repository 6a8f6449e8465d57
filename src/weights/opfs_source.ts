// A cache in the browser's private file system (OPFS) in front of another source, usually a URL. Browser only.
// Each file is a folder of 4 MiB pieces and its size: a piece is written whole or not at all, so a download that was
// interrupted goes on where it stopped, a range needs only its own pieces, and no second copy is made to grow a file.
// Put it in front of a verified source, openOpfsSource(openVerifiedSource(...)): then nothing damaged is ever kept.

import type { ByteRange, FileSource } from "./file_source.ts";
import { CHUNK_BYTES } from "./manifest.ts";
import { assertRangeInside } from "./memory_source.ts";
import { assertModelPath } from "./model_path.ts";

/** A source that remembers. */
export interface CachedSource extends FileSource {
  /** Brings the pieces of `path` that are not here yet; `onProgress` counts bytes of the whole file, cached ones included. */
  download(
    path: string,
    options?: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void },
  ): Promise<void>;
  /** How many bytes of `path` are here. */
  cachedBytes(path: string): Promise<number>;
  /** Deletes everything this cache holds; it may be used again afterwards. */
  purge(): Promise<void>;
}

/** How to cache. */
export interface OpfsOptions {
  /**
   * Names the cache: use the model hash of a freshly read manifest, so that a changed model never meets old pieces.
   * Characters other than letters, digits, "." and "-" become "_".
   */
  readonly key: string;
  /** Default: the origin's private file system. */
  readonly root?: FileSystemDirectoryHandle;
  /** Hears once, when the browser's quota is full; files then come from the source, uncached. */
  readonly onNotice?: (message: string) => void;
}

const CACHE_FOLDER = "weft-models";
const SIZE_FILE = "bytes";

/** Opens (and creates) the cache. Throws where OPFS is missing, which in a browser means an insecure context. */
export async function openOpfsSource(
  source: FileSource,
  { key, root, onNotice }: OpfsOptions,
): Promise<CachedSource> {
  const origin = root ?? (await navigator.storage.getDirectory());
  const caches = await origin.getDirectoryHandle(CACHE_FOLDER, { create: true });
  return new OpfsCache(source, { caches, name: key.replace(/[^\w.-]/g, "_"), onNotice });
}

/** Deletes the caches of all models. */
export async function purgeOpfs(root?: FileSystemDirectoryHandle): Promise<void> {
  const origin = root ?? (await navigator.storage.getDirectory());
  await removeEntry(origin, CACHE_FOLDER);
}

/** Bytes that the caches of all models take. */
export async function measureOpfs(root?: FileSystemDirectoryHandle): Promise<number> {
  const origin = root ?? (await navigator.storage.getDirectory());
  try {
    return await folderBytes(await origin.getDirectoryHandle(CACHE_FOLDER));
  } catch (error) {
    if (isNamed(error, "NotFoundError")) return 0;
    throw error;
  }
}

class OpfsCache implements CachedSource {
  readonly location: string;
  readonly #source: FileSource;
  readonly #caches: FileSystemDirectoryHandle;
  readonly #name: string;
  readonly #onNotice: ((message: string) => void) | undefined;
  #isFull = false;

  constructor(
    source: FileSource,
    options: {
      caches: FileSystemDirectoryHandle;
      name: string;
      onNotice: ((message: string) => void) | undefined;
    },
  ) {
    this.location = source.location;
    this.#source = source;
    this.#caches = options.caches;
    this.#name = options.name;
    this.#onNotice = options.onNotice;
  }

  async has(path: string): Promise<boolean> {
    return (await this.#cachedSize(path)) !== undefined || this.#source.has(path);
  }

  async size(path: string): Promise<number> {
    const cached = await this.#cachedSize(path);
    if (cached !== undefined) return cached;
    const bytes = await this.#source.size(path);
    await this.#write(path, SIZE_FILE, new TextEncoder().encode(String(bytes)));
    return bytes;
  }

  async read(path: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array> {
    const bytes = await this.size(path);
    assertRangeInside(path, range, bytes);
    const { start, end } = range ?? { start: 0, end: bytes };
    const out = new Uint8Array(end - start);
    for (let index = Math.floor(start / CHUNK_BYTES); index * CHUNK_BYTES < end; index++) {
      const piece = await this.#piece(path, { index, bytes }, signal);
      const from = Math.max(start - index * CHUNK_BYTES, 0);
      out.set(piece.subarray(from, end - index * CHUNK_BYTES), index * CHUNK_BYTES + from - start);
    }
    return out;
  }

  async download(
    path: string,
    {
      signal,
      onProgress,
    }: { readonly signal?: AbortSignal; readonly onProgress?: (done: number, total: number) => void } = {},
  ): Promise<void> {
    const bytes = await this.size(path);
    for (let index = 0; index * CHUNK_BYTES < bytes; index++) {
      if (!(await this.#hasPiece(path, { index, bytes }))) await this.#piece(path, { index, bytes }, signal);
      onProgress?.(Math.min((index + 1) * CHUNK_BYTES, bytes), bytes);
    }
  }

  async cachedBytes(path: string): Promise<number> {
    const bytes = await this.#cachedSize(path);
    if (bytes === undefined) return 0;
    let cached = 0;
    for (let index = 0; index * CHUNK_BYTES < bytes; index++) {
      const { start, end } = rangeOf({ index, bytes });
      if (await this.#hasPiece(path, { index, bytes })) cached += end - start;
    }
    return cached;
  }

  async purge(): Promise<void> {
    await removeEntry(this.#caches, this.#name);
    this.#isFull = false;
  }

  async #cachedSize(path: string): Promise<number | undefined> {
    const file = await this.#file(path, SIZE_FILE);
    if (file === undefined) return undefined;
    const bytes = Number(await file.text());
    return file.size > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
  }

  /** A piece from the cache, or from the source and then kept. A file of another size is a torn write: fetched again. */
  async #piece(path: string, place: PiecePlace, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const { start, end } = rangeOf(place);
    const file = await this.#file(path, String(place.index));
    if (file?.size === end - start) return new Uint8Array(await file.arrayBuffer());
    const piece = await this.#source.read(path, { start, end }, signal);
    await this.#write(path, String(place.index), piece);
    return piece;
  }

  async #hasPiece(path: string, place: PiecePlace): Promise<boolean> {
    const { start, end } = rangeOf(place);
    return (await this.#file(path, String(place.index)))?.size === end - start;
  }

  async #file(path: string, name: string): Promise<File | undefined> {
    try {
      const handle = await (await this.#folder(path, false)).getFileHandle(name);
      return await handle.getFile();
    } catch (error) {
      if (isNamed(error, "NotFoundError")) return undefined;
      throw error;
    }
  }

  async #write(path: string, name: string, bytes: Uint8Array): Promise<void> {
    if (this.#isFull) return;
    try {
      const handle = await (await this.#folder(path, true)).getFileHandle(name, { create: true });
      const stream = await handle.createWritable();
      // OPFS refuses views on shared memory, which no source returns; the cast only drops that possibility.
      await stream.write(bytes as Uint8Array<ArrayBuffer>);
      await stream.close();
    } catch (error) {
      if (!isNamed(error, "QuotaExceededError")) throw error;
      this.#isFull = true;
      this.#onNotice?.("The browser's storage is full: the model is used without being kept for next time.");
    }
  }

  async #folder(path: string, create: boolean): Promise<FileSystemDirectoryHandle> {
    assertModelPath(path);
    const cache = await this.#caches.getDirectoryHandle(this.#name, { create });
    return cache.getDirectoryHandle(path.replaceAll("/", "~"), { create });
  }
}

interface PiecePlace {
  readonly index: number;
  readonly bytes: number;
}

function rangeOf({ index, bytes }: PiecePlace): ByteRange {
  return { start: index * CHUNK_BYTES, end: Math.min((index + 1) * CHUNK_BYTES, bytes) };
}

async function folderBytes(folder: FileSystemDirectoryHandle): Promise<number> {
  let bytes = 0;
  for await (const entry of folder.values()) {
    bytes += await (isFolder(entry) ? folderBytes(entry) : fileBytes(entry));
  }
  return bytes;
}

async function fileBytes(entry: FileSystemHandle): Promise<number> {
  return (await (entry as FileSystemFileHandle).getFile()).size;
}

function isFolder(entry: FileSystemHandle): entry is FileSystemDirectoryHandle {
  return entry.kind === "directory";
}

async function removeEntry(folder: FileSystemDirectoryHandle, name: string): Promise<void> {
  try {
    await folder.removeEntry(name, { recursive: true });
  } catch (error) {
    if (!isNamed(error, "NotFoundError")) throw error;
  }
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof DOMException && error.name === name;
}
