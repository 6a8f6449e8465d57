// What a video file says about how it was made.
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { VideoMetadata } from "../video/metadata.ts";

/** Everything needed to make the same video again. */
export function renderMetadata(
  settings: RenderSettings,
  model: { readonly hash: string | undefined; readonly location: string },
): VideoMetadata {
  const { notices: _, ...kept } = settings;
  return { generator: "weft", ...kept, model: model.location, modelHash: model.hash };
}
