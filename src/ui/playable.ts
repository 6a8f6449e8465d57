// A finished video as an element that plays it.
import { element, prefersReducedMotion } from "./dom.ts";
import type { FinishedVideo } from "./finished_video.ts";

/** A player, or a picture; `onUnplayable` is called when this browser has no decoder for the file. */
export function playable(
  video: FinishedVideo,
  onUnplayable: () => void,
): HTMLVideoElement | HTMLImageElement {
  if (video.mimeType.startsWith("image/"))
    return element("img", { src: video.url, alt: video.settings.prompt });
  const player = element("video", {
    src: video.url,
    loop: true,
    muted: true,
    controls: true,
    playsInline: true,
    autoplay: !prefersReducedMotion(),
  });
  player.ariaLabel = video.settings.prompt;
  player.addEventListener("error", onUnplayable, { once: true });
  return player;
}
