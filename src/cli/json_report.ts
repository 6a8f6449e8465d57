// `--json`: what a run did, as one object on stdout.

import type { RenderProfile } from "../pipelines/device_use.ts";
import type { EngineDescription } from "../pipelines/engine.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import { FULL_ATTENTION } from "./attention_option.ts";
import type { JobResult } from "./render_job.ts";

/** What the report is made of. */
export interface ReportParts {
  readonly version: string;
  readonly compute: EngineDescription;
  readonly model: { readonly location: string; readonly hash: string | undefined };
  /** Bytes of the weights files that the run read, and the most GPU memory in use at a time; null: not known. */
  readonly bytes: { readonly weights: number | null; readonly peakGpu: number | null };
  readonly results: readonly JobResult[];
  /** Undefined when it was not asked for, or the adapter has no timestamp queries. */
  readonly profile: RenderProfile | undefined;
}

/** The report: for one job its fields stand at the top, for several they are the elements of `jobs`. */
export function jsonReport(parts: ReportParts): Record<string, unknown> {
  const { version, compute, model, bytes, results, profile } = parts;
  const [first, ...others] = results.map(jobReport);
  return {
    engine: `weft ${version}`,
    computeEngine: compute.name,
    adapter: adapterReport(compute),
    model: { location: model.location, hash: model.hash ?? null },
    bytes,
    ...(others.length === 0 ? first : { jobs: [first, ...others] }),
    ...(profile && { profile: profile.rows, peaks: profile.peaks }),
  };
}

/** The adapter's table; of a CPU there is less to tell. */
export function adapterReport(compute: EngineDescription): Record<string, unknown> {
  const name = deviceName(compute);
  if (compute.name === "webgpu") return { name, ...compute.capabilities };
  return { name, software: true, threads: compute.threads };
}

function jobReport({
  settings,
  attention = FULL_ATTENTION,
  seconds,
  output,
  outputBytes,
  dump,
  preview,
  workers,
}: JobResult): Record<string, unknown> {
  return {
    settings: { ...settings, attention: undefined },
    attention,
    seconds: {
      load: rounded(seconds.load),
      encodePrompt: rounded(seconds.encode_prompt),
      denoise: rounded(seconds.denoise),
      decode: rounded(seconds.decode),
      encodeVideo: rounded(seconds.encode_video),
      total: rounded(seconds.total),
    },
    output: output ?? null,
    outputBytes: outputBytes ?? null,
    dump: dump ?? null,
    preview: preview ?? null,
    ...(workers && { workers }),
  };
}

function rounded(seconds: number | undefined): number | null {
  return seconds === undefined ? null : Math.round(seconds * 1000) / 1000;
}
