// What a worker is told of a render: plain data, checked where it arrives.

import * as v from "valibot";
import { InputError } from "../errors.ts";
import type { NumberType } from "../pipelines/arithmetic.ts";
import type { DenoiserOptions } from "../pipelines/denoiser.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { VideoSpec } from "../video/video_format.ts";
import type { ExchangeMode } from "./exchange_plan.ts";
import type { PayloadType } from "./key_codec.ts";

/** The model and how it is held. */
export interface WorkerModel {
  /** A folder or a URL; of a worker in a browser always a URL, and so is `vae`. */
  readonly model: string;
  /** Of its manifest; a worker that finds another model there refuses the job. */
  readonly modelHash?: string | undefined;
  /** A decoder's file in place of the model's. */
  readonly vae?: string | undefined;
  readonly weights?: "stored" | "f32" | "f16" | "int8" | undefined;
  readonly arithmetic?: NumberType | undefined;
  /** Bytes of GPU memory. */
  readonly maxMemory?: number | undefined;
  /** Whether kernels take the tiles that were found to be fastest on the worker's adapter. @default true */
  readonly tuning?: boolean | undefined;
}

/** Whether two are the same model, held in the same way. */
export function isSameModel(one: WorkerModel, other: WorkerModel): boolean {
  const fields = ["model", "modelHash", "vae", "weights", "arithmetic", "maxMemory"] as const;
  return fields.every((field) => one[field] === other[field]);
}

/** One render, for a worker. */
export interface WorkerJob extends WorkerModel {
  readonly settings: RenderSettings;
  readonly embeds: DenoiserOptions["embeds"];
  readonly payload: PayloadType;
  /** @default "keys" */
  readonly mode?: ExchangeMode | undefined;
  /** Steps after which keys of the step before are used; not with mode "fewest". @default never */
  readonly staleAfter?: number | undefined;
}

/** The segments of one render, for a worker. */
export interface WorkerSegmentsJob extends WorkerModel {
  readonly spec: VideoSpec;
}

const modelSchema = v.object({
  model: v.string(),
  modelHash: v.optional(v.string()),
  vae: v.optional(v.string()),
  weights: v.optional(v.picklist(["stored", "f32", "f16", "int8"])),
  arithmetic: v.optional(v.picklist(["f32", "f16", "int8"])),
  maxMemory: v.optional(v.number()),
  tuning: v.optional(v.boolean()),
});

const jobSchema = v.object({
  ...modelSchema.entries,
  payload: v.picklist(["f32", "f16", "int8"]),
  mode: v.optional(v.picklist(["keys", "hidden_states", "fewest"])),
  staleAfter: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1))),
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
