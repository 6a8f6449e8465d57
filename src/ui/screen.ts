// The screen: empty, a live preview, or a finished video. One of them at a time.
import { comparison } from "./comparison.ts";
import { byId, element } from "./dom.ts";
import { LatentLoop, type PreviewPictures } from "./latent_loop.ts";
import type { FinishedVideo } from "./finished_video.ts";
import { playable } from "./playable.ts";

/** What the screen can show. */
export interface Screen {
  /** The shape of what comes: width over height. */
  setShape(width: number, height: number): void;
  empty(message: string): void;
  preview(pictures: PreviewPictures, options: { readonly fps: number; readonly label: string }): void;
  /** `onUnplayable` is called when this browser has no decoder for the file. */
  play(video: FinishedVideo, onUnplayable: () => void): void;
  /** As `play`, for two videos side by side. */
  compare(videos: readonly [FinishedVideo, FinishedVideo], onUnplayable: () => void): void;
}

/** Frames of the video per latent frame. */
const TEMPORAL_FACTOR = 4;

/** Binds the screen in index.html. */
export function createScreen(): Screen {
  const root = byId("screen", HTMLDivElement);
  const placeholder = byId("screen-empty", HTMLDivElement);
  const canvas = byId("preview", HTMLCanvasElement);
  const player = byId("player", HTMLDivElement);
  const badge = byId("badge", HTMLSpanElement);
  const loop = new LatentLoop(canvas);
  const only = (visible: HTMLElement): void => {
    for (const part of [placeholder, canvas, player]) part.hidden = part !== visible;
    badge.hidden = visible !== canvas;
    if (visible !== canvas) loop.stop();
    if (visible !== player) player.replaceChildren();
  };
  return {
    setShape: (width, height) => root.style.setProperty("--aspect", String(width / height)),
    empty(message) {
      placeholder.replaceChildren(element("p", { textContent: message }));
      only(placeholder);
    },
    preview(pictures, { fps, label }) {
      badge.textContent = label;
      only(canvas);
      void loop.show(pictures, fps / TEMPORAL_FACTOR);
    },
    play(video, onUnplayable) {
      root.style.setProperty("--aspect", String(video.settings.width / video.settings.height));
      player.replaceChildren(playable(video, onUnplayable));
      only(player);
    },
    compare(videos, onUnplayable) {
      const aspects = videos.map(({ settings: { width, height } }) => width / height);
      root.style.setProperty("--aspect", String(2 * Math.min(...aspects)));
      player.replaceChildren(comparison(videos, onUnplayable));
      only(player);
    },
  };
}
