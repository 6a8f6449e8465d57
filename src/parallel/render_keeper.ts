// Keeps renders while they run: takes the job's lock, puts the state away after every step, deletes the job when it has
// ended. Where nothing can be kept, renders go on as ever.

import { InputError } from "../errors.ts";
import type { DenoiseState } from "../pipelines/denoise.ts";
import { type JobRecord, JobStore, type OpenedJob } from "./job_store.ts";
import type { UnfinishedJob } from "./render_protocol.ts";
import { isLocked, jobLock, type Locks, takeLock } from "./web_lock.ts";

/** Where jobs and locks are. */
export interface RenderKeeperOptions {
  /** @default the origin's private file system */
  readonly root?: FileSystemDirectoryHandle | undefined;
  /** @default the origin's */
  readonly locks?: Locks | undefined;
}

/** A render that is kept. */
export interface KeptRender {
  /** Puts the state away; resolves when the one before is safe, so that computing goes on while this one is written. */
  readonly onStep: (state: DenoiseState) => Promise<void>;
  /** The render has ended: with a video, or with an error. Keeps it only after errors that another try may not meet. */
  end(error?: unknown): Promise<void>;
}

/** The kept renders of this origin. */
export class RenderKeeper {
  readonly #locks: Locks;
  readonly #store: JobStore;

  constructor({ root, locks = navigator.locks }: RenderKeeperOptions = {}) {
    this.#locks = locks;
    this.#store = new JobStore({ root, isRunning: (id) => isLocked(jobLock(id), locks) });
  }

  /** What can be gone on with, newest first. */
  async list(onNotice: (message: string) => void): Promise<UnfinishedJob[]> {
    const kept = await this.#store.list(onNotice);
    return await Promise.all(
      kept.map(async ({ record, step }) => ({
        id: record.id,
        request: record.request,
        modelUrl: record.modelUrl,
        beganAt: record.beganAt,
        step,
        numSteps: record.numSteps,
        isRunning: await isLocked(jobLock(record.id), this.#locks),
      })),
    );
  }

  /** Reads a job. Throws `InputError` when it is damaged or gone. */
  async read(id: string): Promise<OpenedJob> {
    return await this.#store.read(id);
  }

  /** Deletes a job. */
  async forget(id: string): Promise<void> {
    await this.#store.remove(id);
  }

  /**
   * Begins to keep a render, or goes on with it.
   *
   * @throws InputError when another tab works at it
   */
  async open(record: JobRecord, onNotice: (message: string) => void): Promise<KeptRender> {
    const { id } = record;
    const release = await takeLock(jobLock(id), this.#locks);
    if (release === undefined) {
      throw new InputError("Another tab is at work on this render: look for it there.");
    }
    let isKept = true;
    let written = this.#store.begin(record);
    const settle = async (): Promise<void> => {
      try {
        await written;
      } catch (error) {
        if (isKept) onNotice(sentenceFor(error));
        isKept = false;
      }
    };
    return {
      onStep: async (state) => {
        await settle();
        if (isKept) written = this.#store.keep(id, state);
      },
      end: async (error) => {
        await settle();
        try {
          if (!isKept || isFinal(error)) await this.#store.remove(id);
        } finally {
          release();
        }
      },
    };
  }
}

/** Whether the same job would end in the same way again. */
function isFinal(error: unknown): boolean {
  const name = error instanceof Error ? error.name : "";
  return error === undefined || name === "AbortError" || name === "InputError";
}

function sentenceFor(error: unknown): string {
  const isFull = error instanceof DOMException && error.name === "QuotaExceededError";
  const reason = isFull ? "the browser's storage is full" : String(error);
  return `This render is not kept for a reload: ${reason}.`;
}
