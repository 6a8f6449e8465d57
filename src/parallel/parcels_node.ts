// Large arrays on their way between processes of a host, one connection's: through files in memory (parcel_files_node.ts)
// that the sender uses again when the receiver has read them, since fresh memory costs more than a copy. The receiver reads
// the beginning of a very large one while its end is still being written. Where there is no such folder, and for small
// arrays, the socket it is.

import { join } from "node:path";
import { DistantBytes } from "./distant_bytes.ts";
import { type ParcelFolder, readChunks, writeChunks } from "./parcel_files_node.ts";
import { StripedFile } from "./striped_file_node.ts";

/** Arrays from this size on go through files. */
const MIN_PARCEL_BYTES = 2 ** 18;
/** Bytes from this size on are announced before they are written. */
const MIN_EARLY_BYTES = 2 ** 22;

/** What stands in a message in place of an array. */
interface ParcelLabel {
  readonly [LABEL]: string;
  readonly type: "Uint8Array" | "Float32Array";
  readonly bytes: number;
  /** How often the file has been used before. */
  readonly turn: number;
  /** Bytes that are there already; notices tell of the others. */
  readonly written: number;
}

const LABEL = "weft.parcel";
const FILE_NAME = /^\d+-\d+$/;

/** What connections tell each other of files. */
export type ParcelNotice =
  /** The receiver does not need it any more. */
  | { readonly type: "weft.returned"; readonly name: string }
  /** It is written up to there; a negative number: it cannot be written. */
  | {
      readonly type: "weft.written";
      readonly name: string;
      readonly turn: number;
      readonly upTo: number;
    };

/** The notice that a message is; undefined for other messages. */
export function parcelNotice(message: unknown): ParcelNotice | undefined {
  if (typeof message !== "object" || message === null) return undefined;
  const { type, name, turn, upTo } = message as Partial<Record<"type" | "name" | "turn" | "upTo", unknown>>;
  if (typeof name !== "string" || !FILE_NAME.test(name)) return undefined;
  if (type === "weft.returned") return { type, name };
  if (type !== "weft.written" || typeof turn !== "number" || typeof upTo !== "number") return undefined;
  return { type, name, turn, upTo };
}

/** A message on its way. */
export interface Packed {
  readonly message: unknown;
  /** Resolves, never rejects, when its large arrays are not read any more. */
  readonly written: Promise<void>;
}

type LargeArray = Uint8Array | Float32Array;

/** A file, and how much it has room for without new memory. */
interface Slot {
  readonly name: string;
  readonly file: StripedFile;
  bytes: number;
  turn: number;
  /** Resolves when nobody writes into it. */
  writing: Promise<void>;
}

/** Files of this process are counted, whichever connection they belong to. */
let numFiles = 0;

/** Sends the large arrays of one connection. */
export class ParcelSender {
  readonly #folder: ParcelFolder;
  readonly #tell: (notice: ParcelNotice) => void;
  readonly #free: Slot[] = [];
  readonly #away = new Map<string, Slot>();
  #isClosed = false;

  /** @param tell sends the receiver a notice */
  constructor(folder: ParcelFolder, tell: (notice: ParcelNotice) => void) {
    this.#folder = folder;
    this.#tell = tell;
  }

  /** A message whose large arrays are in files; the same message when it has none, or files fail. */
  async pack(message: unknown): Promise<Packed> {
    const nothing = { message, written: Promise.resolve() };
    if (!someOfTree(message, isLarge) || !this.#folder.isOpen) return nothing;
    const writing: Promise<void>[] = [];
    try {
      const labelled = await mapTree(message, async (value) =>
        isLarge(value) ? await this.#write(value, writing) : undefined,
      );
      return { message: labelled, written: Promise.all(writing).then(() => undefined) };
    } catch {
      this.#folder.giveUp(); // the socket carries everything from now on
      await Promise.all(writing);
      return nothing;
    }
  }

  /** The receiver does not need a file any more. */
  takeBack(name: string): void {
    const slot = this.#away.get(name);
    if (slot === undefined) return;
    this.#away.delete(name);
    void slot.writing.then(() => {
      if (this.#isClosed) void this.#destroy(slot);
      else this.#free.push(slot);
    });
  }

  /** Takes away what is not on its way. */
  close(): void {
    this.#isClosed = true;
    for (const slot of this.#free.splice(0)) void this.#destroy(slot);
    for (const { file } of this.#away.values()) void file.close();
  }

  async #write(array: LargeArray, writing: Promise<void>[]): Promise<ParcelLabel> {
    const { buffer, byteOffset, byteLength } = array;
    const slot = this.#takeFree(byteLength) ?? (await this.#create());
    this.#away.set(slot.name, slot);
    slot.bytes = Math.max(slot.bytes, byteLength);
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    const type = array instanceof Float32Array ? "Float32Array" : "Uint8Array";
    const label = { [LABEL]: slot.name, type, bytes: byteLength, turn: slot.turn++ } as const;
    if (type === "Uint8Array" && byteLength >= MIN_EARLY_BYTES) {
      slot.writing = this.#writeLater(slot, bytes, label.turn);
      writing.push(slot.writing);
      return { ...label, written: 0 };
    }
    await writeChunks(slot.file, bytes);
    return { ...label, written: byteLength };
  }

  /** Writes what is announced. Never rejects: whoever waits for the bytes is told. */
  async #writeLater({ name, file }: Slot, bytes: Uint8Array, turn: number): Promise<void> {
    const tell = (upTo: number): void => this.#tell({ type: "weft.written", name, turn, upTo });
    await writeChunks(file, bytes, tell).catch(() => {
      this.#folder.giveUp();
      tell(-1);
    });
  }

  /** The smallest that has room, else the largest. */
  #takeFree(bytes: number): Slot | undefined {
    this.#free.sort((a, b) => a.bytes - b.bytes);
    const at = this.#free.findIndex((slot) => slot.bytes >= bytes);
    return at < 0 ? this.#free.pop() : this.#free.splice(at, 1)[0];
  }

  async #create(): Promise<Slot> {
    const name = `${process.pid}-${numFiles++}`;
    const file = new StripedFile(join(this.#folder.path, name), "wx");
    await file.begin();
    return { name, file, bytes: 0, turn: 0, writing: Promise.resolve() };
  }

  async #destroy({ name, file }: Slot): Promise<void> {
    await file.close();
    await StripedFile.remove(join(this.#folder.path, name));
  }
}

/** Takes the large arrays of one connection. */
export class ParcelReceiver {
  readonly #folder: ParcelFolder;
  readonly #tell: (notice: ParcelNotice) => void;
  readonly #written = new Map<string, Written>();
  readonly #files = new Map<string, StripedFile>();
  /** Files that are not given back. */
  readonly #held = new Set<string>();
  #isClosed = false;

  /** @param tell sends the sender a notice */
  constructor(folder: ParcelFolder, tell: (notice: ParcelNotice) => void) {
    this.#folder = folder;
    this.#tell = tell;
  }

  /** A file is written up to there. */
  takeWritten({ name, turn, upTo }: ParcelNotice & { type: "weft.written" }): void {
    this.#writtenOf(name, turn).grow(upTo);
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
      this.#writtenOf(value[LABEL], value.turn).grow(value.written);
      return isDistant && value.type === "Uint8Array" ? this.#distant(value) : await this.#read(value);
    });
  }

  /** Takes away what the sender does not get back any more. */
  close(): void {
    this.#isClosed = true;
    for (const name of this.#held) void StripedFile.remove(join(this.#folder.path, name));
    this.#held.clear();
    for (const written of this.#written.values()) written.grow(-1);
    this.#written.clear();
    for (const file of this.#files.values()) void file.close();
    this.#files.clear();
  }

  #distant(label: ParcelLabel): DistantBytes {
    return new DistantBytes(label.bytes, {
      fetch: async (target) => await this.#readInto(label, target),
      drop: () => this.#drop(label),
    });
  }

  async #read(label: ParcelLabel): Promise<LargeArray> {
    const { type, bytes } = label;
    try {
      const { buffer } = Buffer.allocUnsafeSlow(bytes);
      await this.#readInto(label, new Uint8Array(buffer));
      return type === "Float32Array" ? new Float32Array(buffer) : new Uint8Array(buffer);
    } finally {
      this.#drop(label);
    }
  }

  async #readInto({ [LABEL]: name, turn }: ParcelLabel, target: Uint8Array): Promise<void> {
    const written = this.#writtenOf(name, turn);
    await readChunks(this.#open(name), target, (bytes) => written.until(bytes));
  }

  #writtenOf(name: string, turn: number): Written {
    const key = `${name} ${turn}`;
    const known = this.#written.get(key) ?? new Written();
    this.#written.set(key, known);
    return known;
  }

  #open(name: string): StripedFile {
    if (this.#isClosed) throw new Error("The connection that a parcel came by is closed.");
    const file = this.#files.get(name) ?? new StripedFile(join(this.#folder.path, name), "r");
    this.#files.set(name, file);
    return file;
  }

  #drop({ [LABEL]: name, turn }: ParcelLabel): void {
    if (!this.#held.delete(name)) return;
    this.#written.delete(`${name} ${turn}`);
    this.#tell({ type: "weft.returned", name });
  }
}

/** How much of a file is there. */
class Written {
  #upTo = 0;
  #waiting: {
    readonly bytes: number;
    readonly resolve: () => void;
    readonly reject: (reason: Error) => void;
  }[] = [];

  /** There is more; a negative number: there will not be. */
  grow(upTo: number): void {
    this.#upTo = upTo < 0 ? upTo : Math.max(this.#upTo, upTo);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { bytes, resolve, reject } of waiting) void this.until(bytes).then(resolve, reject);
  }

  /** Waits for so many bytes. */
  async until(bytes: number): Promise<void> {
    if (this.#upTo < 0) throw new Error("A parcel could not be written, or its connection is closed.");
    if (this.#upTo >= bytes) return;
    await new Promise<void>((resolve, reject) => this.#waiting.push({ bytes, resolve, reject }));
  }
}

function isLarge(value: unknown): value is LargeArray {
  const isArray = value instanceof Uint8Array || value instanceof Float32Array;
  return isArray && value.byteLength >= MIN_PARCEL_BYTES;
}

function isLabel(value: unknown): value is ParcelLabel {
  if (typeof value !== "object" || value === null || !(LABEL in value)) return false;
  const { [LABEL]: name, type, bytes, turn, written } = value as Partial<Record<keyof ParcelLabel, unknown>>;
  const isType = type === "Uint8Array" || type === "Float32Array";
  const areNumbers = [bytes, turn, written].every(Number.isSafeInteger);
  return typeof name === "string" && FILE_NAME.test(name) && isType && areNumbers;
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
