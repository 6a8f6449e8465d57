// Unfinished renders in the browser's private file system (OPFS), so that a reload costs at most a step. A job is a folder
// with two files: what was asked for, and the state after the last step. Each begins with the SHA-256 of its rest, so
// that nothing damaged is ever gone on with. A file is replaced when its new content is whole, never in part.

import * as v from "valibot";
import { InputError } from "../errors.ts";
import type { DenoiseState } from "../pipelines/denoise.ts";
import { decodeState, encodeState, stepOf } from "./state_file.ts";
import type { KeptRequest } from "./render_protocol.ts";

/** What has to be known to make the same video again. */
export interface JobRecord {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly beganAt: number;
  readonly modelUrl: string;
  /** Of its manifest; undefined for a model without one. */
  readonly modelHash?: string | undefined;
  /** With its seed, so that it says all. */
  readonly request: KeptRequest & { readonly seed: number };
  readonly numSteps: number;
}

/** A job that can be gone on with, as lists show it. */
export interface KeptJob {
  readonly record: JobRecord;
  /** Steps done. */
  readonly step: number;
}

/** A kept job, read and verified. */
export interface OpenedJob {
  readonly record: JobRecord;
  /** Undefined when the first step was not done yet. */
  readonly state: DenoiseState | undefined;
}

/** How jobs are kept. */
export interface JobStoreOptions {
  /** @default the origin's private file system */
  readonly root?: FileSystemDirectoryHandle | undefined;
  /** Whether a tab still works at a job, which then is not deleted to make room. @default never */
  readonly isRunning?: ((id: string) => Promise<boolean>) | undefined;
}

const JOBS_FOLDER = "weft-jobs";
const RECORD_FILE = "job";
const STATE_FILE = "state";
/** Older jobs make room. */
const MAX_JOBS = 3;
const DIGEST_BYTES = 32;

const recordSchema = v.object({
  version: v.literal(1),
  id: v.pipe(v.string(), v.regex(/^[\w-]+$/)),
  beganAt: v.number(),
  modelUrl: v.pipe(v.string(), v.url()),
  modelHash: v.optional(v.string()),
  // The pipeline checks the rest of it as it checks any wish.
  request: v.looseObject({
    prompt: v.string(),
    seed: v.number(),
    format: v.picklist(["mp4", "webm", "gif", "png"]),
  }),
  numSteps: v.pipe(v.number(), v.integer(), v.minValue(1)),
});

/** The kept jobs of this origin. Every method rejects where there is no private file system. */
export class JobStore {
  readonly #options: JobStoreOptions;

  constructor(options: JobStoreOptions = {}) {
    this.#options = options;
  }

  /** Begins to keep a job; the oldest ones that nobody works at are deleted when there are too many. */
  async begin(record: JobRecord): Promise<void> {
    const jobs = await this.#jobs();
    await this.#makeRoom(jobs, record.id);
    const bytes = new TextEncoder().encode(JSON.stringify({ version: 1, ...record }));
    await writeSealed(await jobs.getDirectoryHandle(record.id, { create: true }), RECORD_FILE, bytes);
  }

  /** Keeps the state after a step in place of the one before. */
  async keep(id: string, state: DenoiseState): Promise<void> {
    const folder = await (await this.#jobs()).getDirectoryHandle(id);
    await writeSealed(folder, STATE_FILE, encodeState(state));
  }

  /** The jobs that can be gone on with, newest first. Damaged ones are deleted, which `onNotice` hears. */
  async list(onNotice?: (message: string) => void): Promise<KeptJob[]> {
    const kept: KeptJob[] = [];
    for (const id of await this.#ids()) {
      try {
        const folder = await (await this.#jobs()).getDirectoryHandle(id);
        const state = await fileOf(folder, STATE_FILE);
        const head = await state?.slice(DIGEST_BYTES, DIGEST_BYTES + 64).arrayBuffer();
        const record = await readRecord(folder);
        kept.push({ record, step: head === undefined ? 0 : stepOf(new Uint8Array(head)) });
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        if (await this.#options.isRunning?.(id)) continue; // another tab is just making it
        await this.remove(id);
        onNotice?.("What was kept of an unfinished render was damaged and has been deleted.");
      }
    }
    return kept.sort((a, b) => b.record.beganAt - a.record.beganAt);
  }

  /**
   * Reads a job.
   *
   * @throws InputError when there is no such job, or it is damaged
   */
  async read(id: string): Promise<OpenedJob> {
    const ids = await this.#ids();
    if (!ids.includes(id)) throw new InputError("This render is not kept here any more: start it again.");
    const folder = await (await this.#jobs()).getDirectoryHandle(id);
    const record = await readRecord(folder);
    const bytes = await readSealed(folder, STATE_FILE);
    const state = bytes && decodeState(bytes);
    if (state && state.step > record.numSteps) throw damaged();
    return { record, state };
  }

  /** Deletes a job; without effect when there is none. */
  async remove(id: string): Promise<void> {
    try {
      await (await this.#jobs()).removeEntry(id, { recursive: true });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async #jobs(): Promise<FileSystemDirectoryHandle> {
    const root = this.#options.root ?? (await navigator.storage.getDirectory());
    return await root.getDirectoryHandle(JOBS_FOLDER, { create: true });
  }

  async #ids(): Promise<string[]> {
    const ids: string[] = [];
    for await (const entry of (await this.#jobs()).values()) ids.push(entry.name);
    return ids;
  }

  async #makeRoom(jobs: FileSystemDirectoryHandle, id: string): Promise<void> {
    const others = (await this.list()).filter(({ record }) => record.id !== id);
    for (const { record } of others.slice(MAX_JOBS - 1)) {
      if (await this.#options.isRunning?.(record.id)) continue;
      await jobs.removeEntry(record.id, { recursive: true });
    }
  }
}

async function readRecord(folder: FileSystemDirectoryHandle): Promise<JobRecord> {
  const bytes = await readSealed(folder, RECORD_FILE);
  if (bytes === undefined) throw damaged();
  const parsed = v.safeParse(recordSchema, JSON.parse(new TextDecoder().decode(bytes)));
  if (!parsed.success) throw damaged();
  const { version: _, ...record } = parsed.output;
  return record as JobRecord;
}

async function writeSealed(
  folder: FileSystemDirectoryHandle,
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const sealed = new Uint8Array(DIGEST_BYTES + bytes.byteLength);
  sealed.set(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
  sealed.set(bytes, DIGEST_BYTES);
  const stream = await (await folder.getFileHandle(name, { create: true })).createWritable();
  await stream.write(sealed);
  await stream.close();
}

/** Undefined when there is no such file. An empty one was made by a write that did not end. */
async function readSealed(
  folder: FileSystemDirectoryHandle,
  name: string,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const file = await fileOf(folder, name);
  if (file === undefined) return undefined;
  const sealed = new Uint8Array(await file.arrayBuffer());
  const bytes = sealed.slice(DIGEST_BYTES);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  if (digest.some((byte, i) => byte !== sealed[i])) throw damaged();
  return bytes;
}

async function fileOf(folder: FileSystemDirectoryHandle, name: string): Promise<File | undefined> {
  try {
    const file = await (await folder.getFileHandle(name)).getFile();
    return file.size === 0 ? undefined : file;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function damaged(): InputError {
  return new InputError("What was kept of this render is damaged, so it cannot go on: start it again.");
}

function isNotFound(error: unknown): boolean {
  return error instanceof DOMException && error.name === "NotFoundError";
}
