// Large arrays on their way between processes of a host, one connection's: through files in memory (parcel_files_node.ts)
// that the sender uses again when the receiver has read them, since fresh memory costs more than a copy. Where there is no
// such folder, and for small arrays, the socket it is.

import { type FileHandle, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { DistantBytes } from "./distant_bytes.ts";
import { type ParcelFolder, readChunks, writeChunks } from "./parcel_files_node.ts";

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

/** A file, and how much it has room for without new memory. */
interface Slot {
  readonly name: string;
  readonly file: FileHandle;
  bytes: number;
}

/** Files of this process are counted, whichever connection they belong to. */
let numFiles = 0;

/** Sends the large arrays of one connection. */
export class ParcelSender {
  readonly #folder: ParcelFolder;
  readonly #free: Slot[] = [];
  readonly #away = new Map<string, Slot>();
  #isClosed = false;

  constructor(folder: ParcelFolder) {
    this.#folder = folder;
  }

  /** A message whose large arrays are in files; the same message when it has none, or files fail. */
  async pack(message: unknown): Promise<unknown> {
    if (!someOfTree(message, isLarge) || !this.#folder.isOpen) return message;
    try {
      return await mapTree(message, async (value) => (isLarge(value) ? await this.#write(value) : undefined));
    } catch {
      this.#folder.giveUp(); // the socket carries everything from now on
      return message;
    }
  }

  /** The receiver does not need a file any more. */
  takeBack(name: string): void {
    const slot = this.#away.get(name);
    if (slot === undefined) return;
    this.#away.delete(name);
    if (this.#isClosed) void this.#destroy(slot);
    else this.#free.push(slot);
  }

  /** Takes away what is not on its way. */
  close(): void {
    this.#isClosed = true;
    for (const slot of this.#free.splice(0)) void this.#destroy(slot);
    for (const { file } of this.#away.values()) void file.close();
  }

  async #write(array: LargeArray): Promise<ParcelLabel> {
    const { buffer, byteOffset, byteLength } = array;
    const slot = this.#takeFree(byteLength) ?? (await this.#create());
    this.#away.set(slot.name, slot);
    await writeChunks(slot.file, new Uint8Array(buffer, byteOffset, byteLength));
    slot.bytes = Math.max(slot.bytes, byteLength);
    const type = array instanceof Float32Array ? "Float32Array" : "Uint8Array";
    return { [LABEL]: slot.name, type, bytes: byteLength };
  }

  /** The smallest that has room, else the largest. */
  #takeFree(bytes: number): Slot | undefined {
    this.#free.sort((a, b) => a.bytes - b.bytes);
    const at = this.#free.findIndex((slot) => slot.bytes >= bytes);
    return at < 0 ? this.#free.pop() : this.#free.splice(at, 1)[0];
  }

  async #create(): Promise<Slot> {
    const name = `${process.pid}-${numFiles++}`;
    return { name, file: await open(join(this.#folder.path, name), "wx", 0o600), bytes: 0 };
  }

  async #destroy({ name, file }: Slot): Promise<void> {
    await file.close().catch(() => undefined);
    await removeFile(this.#folder, name);
  }
}

/** Takes the large arrays of one connection. */
export class ParcelReceiver {
  readonly #folder: ParcelFolder;
  readonly #giveBack: (name: string) => void;
  readonly #files = new Map<string, Promise<FileHandle>>();
  /** Files that are not given back. */
  readonly #held = new Set<string>();
  #isClosed = false;

  /** @param giveBack tells the sender that a file may be used again */
  constructor(folder: ParcelFolder, giveBack: (name: string) => void) {
    this.#folder = folder;
    this.#giveBack = giveBack;
  }

  /**
   * The message that was packed. Rejects when a file is gone or shorter than it should be.
   *
   * @param isDistant leave bytes where they are: whoever gets them fetches them
   */
  unpack(message: unknown, isDistant: boolean): unknown {
    if (!someOfTree(message, isLabel)) return message;
    return mapTree(message, async (value) => {
      if (!isLabel(value)) return undefined;
      this.#held.add(value[LABEL]);
      return isDistant && value.type === "Uint8Array" ? this.#distant(value) : await this.#read(value);
    });
  }

  /** Takes away what the sender does not get back any more. */
  close(): void {
    this.#isClosed = true;
    for (const name of this.#held) void removeFile(this.#folder, name);
    this.#held.clear();
    for (const file of this.#files.values())
      void file.then((opened) => opened.close()).catch(() => undefined);
    this.#files.clear();
  }

  #distant({ [LABEL]: name, bytes }: ParcelLabel): DistantBytes {
    return new DistantBytes(bytes, {
      fetch: async (target) => await readChunks(await this.#open(name), target),
      drop: () => this.#drop(name),
    });
  }

  async #read({ [LABEL]: name, type, bytes }: ParcelLabel): Promise<LargeArray> {
    try {
      const { buffer } = Buffer.allocUnsafeSlow(bytes);
      await readChunks(await this.#open(name), new Uint8Array(buffer));
      return type === "Float32Array" ? new Float32Array(buffer) : new Uint8Array(buffer);
    } finally {
      this.#drop(name);
    }
  }

  async #open(name: string): Promise<FileHandle> {
    if (this.#isClosed) throw new Error("The connection that a parcel came by is closed.");
    const file = this.#files.get(name) ?? open(join(this.#folder.path, name), "r");
    this.#files.set(name, file);
    return await file;
  }

  #drop(name: string): void {
    if (this.#held.delete(name)) this.#giveBack(name);
  }
}

/** What is gone already is gone. */
async function removeFile({ path }: ParcelFolder, name: string): Promise<void> {
  await unlink(join(path, name)).catch(() => undefined);
}

function isLarge(value: unknown): value is LargeArray {
  const isArray = value instanceof Uint8Array || value instanceof Float32Array;
  return isArray && value.byteLength >= MIN_PARCEL_BYTES;
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
