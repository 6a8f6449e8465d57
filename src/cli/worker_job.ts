// What a worker process is told of a render: plain data, made by render_workers.ts and read by worker_command.ts.

import * as v from "valibot";
import { InputError } from "../errors.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import type { DenoiserOptions } from "../pipelines/denoiser.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { RenderRun } from "./render_request.ts";

/** One render, for a worker. */
export interface WorkerJob extends Pick<RenderRun, "model" | "weights" | "arithmetic" | "maxMemory"> {
  readonly settings: RenderSettings;
  readonly embeds: DenoiserOptions["embeds"];
  readonly payload: PayloadType;
}

/** Variable in which a worker process gets its job's token; arguments could be read by everybody on the machine. */
export const TOKEN_VARIABLE = "WEFT_JOB_TOKEN";

const jobSchema = v.object({
  model: v.string(),
  weights: v.optional(v.picklist(["stored", "f32", "f16", "int8"])),
  arithmetic: v.optional(v.picklist(["f32", "f16"])),
  maxMemory: v.optional(v.number()),
  payload: v.picklist(["f32", "f16", "int8"]),
  // Both were checked by the coordinator's own pipeline, and are again by this worker's.
  settings: v.custom<RenderSettings>((value) => typeof value === "object" && value !== null),
  embeds: v.custom<DenoiserOptions["embeds"]>((value) => typeof value === "object" && value !== null),
});

/** Checks what came over the wire. */
export function parseWorkerJob(job: unknown): WorkerJob {
  const parsed = v.safeParse(jobSchema, job);
  if (parsed.success) return parsed.output;
  throw new InputError(
    `The coordinator sent a job without a valid ${v.getDotPath(parsed.issues[0]) ?? "form"}.`,
  );
}
