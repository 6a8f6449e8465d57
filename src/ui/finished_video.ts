// A finished render as the page keeps it: the file behind an object URL, and how it was made.
import type { RenderResult } from "../parallel/render_protocol.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import { videoFileName } from "./format.ts";

/** A video of this session. `release` frees its memory. */
export interface FinishedVideo {
  readonly url: string;
  readonly sheetUrl: string | undefined;
  readonly fileName: string;
  readonly bytes: number;
  readonly mimeType: string;
  readonly settings: RenderSettings;
  /** What was chosen in the form. */
  readonly attention: string;
  readonly seconds: RenderResult["seconds"];
  readonly modelHash: string | undefined;
  release(): void;
}

/** Keeps a result; `attention` is the form's choice, which the settings hold as a whole plan. */
export function keepResult(result: RenderResult, attention: string): FinishedVideo {
  const { file, mimeType, settings, contactSheet, seconds, modelHash } = result;
  const url = objectUrl(file, mimeType);
  const sheetUrl = contactSheet && objectUrl(contactSheet, "image/png");
  return {
    url,
    sheetUrl,
    fileName: videoFileName(settings.prompt, settings.seed, mimeType.split("/")[1] ?? "bin"),
    bytes: file.byteLength,
    mimeType,
    settings,
    attention,
    seconds,
    modelHash,
    release() {
      URL.revokeObjectURL(url);
      if (sheetUrl !== undefined) URL.revokeObjectURL(sheetUrl);
    },
  };
}

function objectUrl(bytes: Uint8Array, type: string): string {
  // The bytes were transferred from the worker, so no shared memory is behind them.
  return URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>], { type }));
}
