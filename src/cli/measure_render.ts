// Renders a video in memory and measures it as `weft eval` would, without a file in between (and so without the loss of
// one).

import { VideoMeter } from "../metrics/video_meter.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { beginScore, type EvaluationTools } from "./eval_video.ts";
import { measuredValues } from "./eval_table.ts";

/** What measuring needs. */
export interface MeasureTools extends Pick<EvaluationTools, "judge" | "signal"> {
  readonly pipeline: WanPipeline;
}

/** The numbers of one render by the names that `weft eval --json` gives them. Rejects with AbortError. */
export async function measureRender(
  settings: RenderSettings,
  { pipeline, judge, signal }: MeasureTools,
): Promise<Record<string, number>> {
  const { latents } = await pipeline.denoise(settings, { signal });
  const meter = new VideoMeter();
  const score = beginScore(settings.prompt, { judge });
  for await (const batch of pipeline.decode(latents, { signal })) {
    meter.write(batch);
    await score?.write(batch);
    signal.throwIfAborted();
  }
  const scored = score?.finish();
  const { prompt } = settings;
  return measuredValues({ file: "", prompt, metrics: meter.finish(), ...(scored && { score: scored }) });
}
