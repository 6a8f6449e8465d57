// A file in memory whose chunks lie in several files in turn: Linux lets one thread at a time write to a file, so that one
// file is as fast as one thread copies, however many there are.

import { type FileHandle, open, unlink } from "node:fs/promises";

/** What a thread copies at a time: enough to be worth its start, so little that several threads share an array. */
export const CHUNK_BYTES = 2 ** 21;
/** Threads that may write at once; with more, memory is what limits them. */
const STRIPES = 8;

/** What chunks are written to and read from; each call stays inside of a chunk. */
export interface ChunkFile {
  /** Resolves to how many bytes were written. */
  write(from: Uint8Array, position: number): Promise<number>;
  /** Resolves to how many bytes were read; none at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number>;
}

/** Stripes are files of their own, each opened when the first of its chunks is used. */
export class StripedFile implements ChunkFile {
  readonly #path: string;
  readonly #flags: "wx" | "r";
  readonly #stripes = new Map<number, Promise<FileHandle>>();

  /** @param flags "wx" makes the files, which nobody else may have made */
  constructor(path: string, flags: "wx" | "r") {
    this.#path = path;
    this.#flags = flags;
  }

  /** Opens the first of them, so that whoever cannot make files hears of it. */
  async begin(): Promise<void> {
    await this.#at(0).file;
  }

  async write(from: Uint8Array, position: number): Promise<number> {
    const { file, offset } = this.#at(position);
    return (await (await file).write(from, 0, from.byteLength, offset)).bytesWritten;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const { file, offset } = this.#at(position);
    return (await (await file).read(into, 0, into.byteLength, offset)).bytesRead;
  }

  /** Lets go of the files. What could not be opened has been told to whoever used it. */
  async close(): Promise<void> {
    const closed = [...this.#stripes.values()].map(async (file) => await (await file).close());
    await Promise.allSettled(closed);
  }

  /** Takes the files of a path away; what is gone already is gone. */
  static async remove(path: string): Promise<void> {
    const paths = Array.from({ length: STRIPES }, (_, stripe) => stripePath(path, stripe));
    await Promise.allSettled(paths.map(unlink));
  }

  #at(position: number): { readonly file: Promise<FileHandle>; readonly offset: number } {
    const chunk = Math.floor(position / CHUNK_BYTES);
    const stripe = chunk % STRIPES;
    const file = this.#stripes.get(stripe) ?? open(stripePath(this.#path, stripe), this.#flags, 0o600);
    this.#stripes.set(stripe, file);
    return { file, offset: Math.floor(chunk / STRIPES) * CHUNK_BYTES + (position % CHUNK_BYTES) };
  }
}

/** The first has the path itself: an array of one chunk is one file. */
function stripePath(path: string, stripe: number): string {
  return stripe === 0 ? path : `${path}.${stripe}`;
}
