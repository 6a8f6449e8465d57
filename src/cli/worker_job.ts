// What a worker process is told of a render: plain data, made by render_workers.ts and read by worker_command.ts.

import * as v from "valibot";
import { InputError } from "../errors.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import type { DenoiserOptions } from "../pipelines/denoiser.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { VideoSpec } from "../video/video_format.ts";
import type { RenderRun } from "./render_request.ts";

/** The model and how it is held. */
export type WorkerModel = Pick<RenderRun, "model" | "vae" | "weights" | "arithmetic" | "maxMemory">;

/** One render, for a worker. */
export interface WorkerJob extends WorkerModel {
  readonly settings: RenderSettings;
  readonly embeds: DenoiserOptions["embeds"];
  readonly payload: PayloadType;
}

/** The segments of one render, for a worker. */
export interface WorkerSegmentsJob extends WorkerModel {
  readonly spec: VideoSpec;
}

/** With which ticket a worker comes for which work. */
export const TICKETS = { clips: "worker", segments: "segments" } as const;

/** Variable in which a worker process gets its job's token; arguments could be read by everybody on the machine. */
export const TOKEN_VARIABLE = "WEFT_JOB_TOKEN";

const modelSchema = v.object({
  model: v.string(),
  vae: v.optional(v.string()),
  weights: v.optional(v.picklist(["stored", "f32", "f16", "int8"])),
  arithmetic: v.optional(v.picklist(["f32", "f16"])),
  maxMemory: v.optional(v.number()),
});

const jobSchema = v.object({
  ...modelSchema.entries,
  payload: v.picklist(["f32", "f16", "int8"]),
  // Both were checked by the coordinator's own pipeline, and are again by this worker's.
  settings: v.custom<RenderSettings>((value) => typeof value === "object" && value !== null),
  embeds: v.custom<DenoiserOptions["embeds"]>((value) => typeof value === "object" && value !== null),
});

const segmentsSchema = v.object({
  ...modelSchema.entries,
  // Checked before every encoding.
  spec: v.custom<VideoSpec>((value) => typeof value === "object" && value !== null),
});

/** Checks what came over the wire. */
export function parseWorkerJob(job: unknown): WorkerJob {
  return parsed(jobSchema, job);
}

/** As `parseWorkerJob`. */
export function parseSegmentsJob(job: unknown): WorkerSegmentsJob {
  return parsed(segmentsSchema, job);
}

function parsed<T>(schema: v.GenericSchema<unknown, T>, job: unknown): T {
  const result = v.safeParse(schema, job);
  if (result.success) return result.output;
  throw new InputError(
    `The coordinator sent a job without a valid ${v.getDotPath(result.issues[0]) ?? "form"}.`,
  );
}
