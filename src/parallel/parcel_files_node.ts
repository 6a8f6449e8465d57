// Files in memory through which processes of a host pass large arrays: written from where the numbers are and read to where
// they are wanted, in chunks, which the threads behind Node's file functions copy side by side. JavaScript's thread copies
// nothing.

import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { CHUNK_BYTES, type ChunkFile } from "./striped_file_node.ts";

/** Where files are memory. */
const MEMORY_FOLDER = "/dev/shm";
/** Containers often have 64 MiB there: too little to be worth it. */
const MIN_FREE_BYTES = 2 ** 30;

/** The folder of one job; processes that know its token share it. */
export class ParcelFolder {
  readonly path: string;
  /** Undefined until somebody asks. */
  #isOpen: boolean | undefined;

  constructor(token: string) {
    const name = createHash("sha256").update(token).digest("hex").slice(0, 16);
    this.path = join(MEMORY_FOLDER, `weft-${name}`);
  }

  /** Whether there is such a folder; makes it. */
  get isOpen(): boolean {
    this.#isOpen ??= isOwnFolder(this.path);
    return this.#isOpen;
  }

  /** It is full, or was taken away: nothing goes through it from now on. */
  giveUp(): void {
    this.#isOpen = false;
  }

  /** Takes the folder away, with what nobody has read. */
  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
    this.#isOpen = false;
  }
}

/**
 * Writes bytes to the beginning of a file.
 *
 * @param onWritten told now and then up to where all is written, and at the end
 */
export async function writeChunks(
  file: ChunkFile,
  bytes: Uint8Array,
  onWritten?: (upTo: number) => void,
): Promise<void> {
  const prefix = new WrittenPrefix(bytes.byteLength, onWritten);
  await allChunks(bytes, async (chunk, position) => {
    for (let done = 0; done < chunk.byteLength;) {
      const rest = chunk.subarray(done);
      // The kernel may refuse to read memory that belongs to a graphics card.
      done += await file.write(rest, position + done).catch(async (error: unknown) => {
        if (!isBadAddress(error)) throw error;
        return await file.write(rest.slice(), position + done);
      });
    }
    prefix.add(position);
  });
}

/** Up to where a file is written without a gap, while its chunks are written in any order. */
class WrittenPrefix {
  readonly #bytes: number;
  readonly #onWritten: ((upTo: number) => void) | undefined;
  readonly #ahead = new Set<number>();
  #upTo = 0;
  #told = 0;

  constructor(bytes: number, onWritten: ((upTo: number) => void) | undefined) {
    this.#bytes = bytes;
    this.#onWritten = onWritten;
  }

  /** The chunk at a position is written. */
  add(position: number): void {
    this.#ahead.add(position);
    while (this.#ahead.delete(this.#upTo)) this.#upTo = Math.min(this.#bytes, this.#upTo + CHUNK_BYTES);
    if (this.#upTo < this.#bytes && this.#upTo - this.#told < NOTICE_BYTES) return;
    this.#told = this.#upTo;
    this.#onWritten?.(this.#upTo);
  }
}

/** What is worth a message to whoever waits for it. */
const NOTICE_BYTES = 2 * CHUNK_BYTES;

/**
 * Reads as many bytes as `target` has from the beginning of a file. Rejects when it is shorter.
 *
 * @param until resolves when so many bytes are there; default at once
 */
export async function readChunks(
  file: ChunkFile,
  target: Uint8Array,
  until?: (bytes: number) => Promise<void>,
): Promise<void> {
  await allChunks(target, async (chunk, position) => {
    await until?.(position + chunk.byteLength);
    for (let done = 0; done < chunk.byteLength;) {
      const rest = chunk.subarray(done);
      const bytesRead = await readOnce(file, rest, position + done);
      if (bytesRead === 0) {
        throw new Error(`A parcel has ${position + done} bytes, not ${target.byteLength}.`);
      }
      done += bytesRead;
    }
  });
}

async function readOnce(file: ChunkFile, target: Uint8Array, position: number): Promise<number> {
  try {
    return await file.read(target, position);
  } catch (error) {
    if (!isBadAddress(error)) throw error;
    const copy = new Uint8Array(target.byteLength); // as in `writeChunks`
    const count = await file.read(copy, position);
    target.set(copy);
    return count;
  }
}

/** Does something with all chunks at once. When it fails, nobody is at work any more. */
async function allChunks(
  bytes: Uint8Array,
  work: (chunk: Uint8Array, position: number) => Promise<void>,
): Promise<void> {
  const count = Math.ceil(bytes.byteLength / CHUNK_BYTES);
  const ends = await Promise.allSettled(
    Array.from({ length: count }, async (_, index) => {
      const position = index * CHUNK_BYTES;
      await work(bytes.subarray(position, position + CHUNK_BYTES), position);
    }),
  );
  for (const end of ends) if (end.status === "rejected") throw end.reason;
}

function isBadAddress(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EFAULT";
}

/** Makes the folder, or finds that another process of this user has. */
function isOwnFolder(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
    if (bavail * bsize < MIN_FREE_BYTES) return false;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = lstatSync(folder);
    return uid === process.getuid?.() && (mode & 0o777) === 0o700;
  } catch {
    return false; // not Linux, or not allowed
  }
}
