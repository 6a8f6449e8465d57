// Large arrays on their way between processes of a host: through files in memory, which other threads than this one write
// and read. A socket would have this thread copy every byte several times. Where there is no such folder, and for small
// arrays, the socket it is.

import { createHash } from "node:crypto";
import { lstatSync, mkdirSync, rmSync, statfsSync } from "node:fs";
import { open, unlink } from "node:fs/promises";
import { join } from "node:path";

/** Where files are memory. */
const MEMORY_FOLDER = "/dev/shm";
/** Containers often have 64 MiB there: too little to be worth it. */
const MIN_FREE_BYTES = 2 ** 30;
/** Arrays from this size on go through files. */
const MIN_PARCEL_BYTES = 2 ** 18;

/** What stands in a message in place of an array. */
interface ParcelLabel {
  readonly [LABEL]: string;
  readonly type: "Uint8Array" | "Float32Array";
  readonly bytes: number;
}

const LABEL = "weft.parcel";
const FILE_NAME = /^\d+-\d+$/;

type LargeArray = Uint8Array | Float32Array;

/** The parcels of one job; processes that know its token share a folder. */
export class Parcels {
  readonly #folder: string;
  #sent = 0;
  /** Undefined until the first large array. */
  #isOpen: boolean | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** The parcels of the job with this token. */
  static of(token: string): Parcels {
    const name = createHash("sha256").update(token).digest("hex").slice(0, 16);
    return new Parcels(join(MEMORY_FOLDER, `weft-${name}`));
  }

  /** A message whose large arrays are in files; the same message when it has none, or files fail. */
  async pack(message: unknown): Promise<unknown> {
    if (!hasLarge(message)) return message;
    this.#isOpen ??= isOwnFolder(this.#folder);
    if (!this.#isOpen) return message;
    try {
      return await mapTree(message, async (value) => (isLarge(value) ? await this.#write(value) : undefined));
    } catch {
      this.#isOpen = false; // full, or taken away: the socket carries everything from now on
      return message;
    }
  }

  /** Whether something of a message is in files. */
  isPacked(message: unknown): boolean {
    return someOfTree(message, isLabel);
  }

  /** The message that was packed. Rejects when a file is gone or shorter than it should be. */
  async unpack(message: unknown): Promise<unknown> {
    return await mapTree(message, async (value) => (isLabel(value) ? await this.#read(value) : undefined));
  }

  /** Takes the folder away, with what nobody has read. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    this.#isOpen = false;
  }

  async #write(array: LargeArray): Promise<ParcelLabel> {
    const name = `${process.pid}-${this.#sent++}`;
    const file = await open(join(this.#folder, name), "wx", 0o600);
    try {
      const { buffer, byteOffset, byteLength } = array;
      const bytes = new Uint8Array(buffer, byteOffset, byteLength);
      for (let done = 0; done < byteLength;) {
        done += (await file.write(bytes, done, byteLength - done, done)).bytesWritten;
      }
    } finally {
      await file.close();
    }
    return {
      [LABEL]: name,
      type: array instanceof Float32Array ? "Float32Array" : "Uint8Array",
      bytes: array.byteLength,
    };
  }

  async #read({ [LABEL]: name, type, bytes }: ParcelLabel): Promise<LargeArray> {
    const path = join(this.#folder, name);
    const file = await open(path, "r");
    try {
      const { buffer } = Buffer.allocUnsafeSlow(bytes);
      const target = new Uint8Array(buffer);
      for (let done = 0; done < bytes;) {
        const { bytesRead } = await file.read(target, done, bytes - done, done);
        if (bytesRead === 0) throw new Error(`${path} has ${done} bytes, not ${bytes}.`);
        done += bytesRead;
      }
      return type === "Float32Array" ? new Float32Array(buffer) : target;
    } finally {
      await file.close();
      await unlink(path);
    }
  }
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

function isLarge(value: unknown): value is LargeArray {
  const isArray = value instanceof Uint8Array || value instanceof Float32Array;
  return isArray && value.byteLength >= MIN_PARCEL_BYTES;
}

function hasLarge(message: unknown): boolean {
  return someOfTree(message, isLarge);
}

function isLabel(value: unknown): value is ParcelLabel {
  if (typeof value !== "object" || value === null || !(LABEL in value)) return false;
  const { [LABEL]: name, type, bytes } = value as Partial<Record<keyof ParcelLabel, unknown>>;
  const isType = type === "Uint8Array" || type === "Float32Array";
  return typeof name === "string" && FILE_NAME.test(name) && isType && Number.isSafeInteger(bytes);
}

/** Objects and arrays that messages are made of; others (maps, typed arrays) are leaves. */
function isBranch(value: unknown): value is Record<string, unknown> | unknown[] {
  return (
    Array.isArray(value) || (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype)
  );
}

function someOfTree(value: unknown, test: (value: unknown) => boolean): boolean {
  return test(value) || (isBranch(value) && Object.values(value).some((each) => someOfTree(each, test)));
}

/** A copy in which `change` has replaced what it does not leave undefined. */
async function mapTree(value: unknown, change: (value: unknown) => Promise<unknown>): Promise<unknown> {
  const changed = await change(value);
  if (changed !== undefined) return changed;
  if (Array.isArray(value)) return await Promise.all(value.map((each) => mapTree(each, change)));
  if (!isBranch(value)) return value;
  const entries = Object.entries(value).map(
    async ([key, each]) => [key, await mapTree(each, change)] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}
