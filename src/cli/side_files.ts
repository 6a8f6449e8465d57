// What a job writes besides its video: the dump, and the preview that is replaced after every step.

import type { DumpPart } from "../pipelines/dump.ts";
import type { PipelineEvent } from "../pipelines/events.ts";
import type { FfmpegRuntime } from "../video/ffmpeg_runtime.ts";
import { DumpFile } from "./dump_file.ts";
import { createPreviewFile, type PreviewFile } from "./preview_file.ts";
import type { JobPlan } from "./render_plan.ts";

/** What side files need. */
export interface SideFilesOptions {
  readonly ffmpeg: FfmpegRuntime;
  /** Whether `--preview` was given. */
  readonly preview: boolean;
  readonly signal: AbortSignal;
}

/** The side files of one job. */
export class SideFiles {
  readonly #dump: DumpFile | undefined;
  readonly #preview: PreviewFile | undefined;
  readonly #signal: AbortSignal;

  constructor({ output, dump }: JobPlan, { ffmpeg, preview, signal }: SideFilesOptions) {
    this.#dump = dump && new DumpFile(dump.path);
    const besides = output?.path ?? dump?.path;
    this.#preview = preview && besides !== undefined ? createPreviewFile(besides, ffmpeg, signal) : undefined;
    this.#signal = signal;
  }

  /** Where they go. */
  get paths(): { readonly dump: string | undefined; readonly preview: string | undefined } {
    return { dump: this.#dump?.path, preview: this.#preview?.path };
  }

  /** Takes what a render tells. */
  readonly onEvent = (event: PipelineEvent): void => {
    if (event.type === "preview") this.#preview?.show(event);
  };

  /** Takes what a render dumps. */
  readonly sink = async (part: DumpPart): Promise<void> => await this.#dump?.add(part);

  /** Waits for the last preview. Throws what went wrong with any of them. */
  async finishPreview(): Promise<void> {
    await this.#preview?.finish();
  }

  /** Writes the dump, if there is one; throws like `writeFileAtomically`. */
  async writeDump(metadata: Readonly<Record<string, unknown>>): Promise<void> {
    await this.#dump?.write(metadata, this.#signal);
  }

  /** Drops what is not written. */
  async close(): Promise<void> {
    await this.#dump?.close();
  }
}
