// The part of a pipeline that the render service works with.

import type { WanPipeline } from "../pipelines/wan_pipeline.ts";

/** What the service needs of a pipeline. */
export type ServicePipeline = Pick<
  WanPipeline,
  | "files"
  | "engine"
  | "gpu"
  | "resolve"
  | "denoise"
  | "forward"
  | "decode"
  | "decodeFloat"
  | "openSteps"
  | "openDecoder"
  | "dispose"
>;
