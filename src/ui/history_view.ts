// The videos of this session, newest first. The oldest are dropped, so that memory stays bounded.
import { byId, element } from "./dom.ts";
import type { FinishedVideo } from "./finished_video.ts";

const MAX_VIDEOS = 12;

/** The list. */
export interface History {
  add(video: FinishedVideo): void;
}

/** Binds the list in index.html; `onOpen` is called with the video that was chosen. */
export function createHistory(onOpen: (video: FinishedVideo) => void): History {
  const section = byId("history", HTMLElement);
  const list = byId("history-list", HTMLOListElement);
  const videos: FinishedVideo[] = [];
  const mark = (chosen: HTMLButtonElement): void => {
    for (const button of list.querySelectorAll("button")) button.ariaCurrent = String(button === chosen);
  };
  return {
    add(video) {
      videos.unshift(video);
      const button = element(
        "button",
        { type: "button" },
        thumbnail(video),
        element("span", { textContent: video.settings.prompt }),
      );
      button.addEventListener("click", () => {
        mark(button);
        onOpen(video);
      });
      list.prepend(element("li", {}, button));
      if (videos.length > MAX_VIDEOS) {
        videos.pop()?.release();
        list.lastElementChild?.remove();
      }
      mark(button);
      section.hidden = false;
    },
  };
}

/** The first frame; it moves while pointed at. */
function thumbnail({ url, mimeType }: FinishedVideo): HTMLElement {
  if (mimeType.startsWith("image/")) return element("img", { src: url, alt: "" });
  const video = element("video", { src: url, muted: true, loop: true, playsInline: true, preload: "auto" });
  video.tabIndex = -1;
  video.addEventListener("pointerenter", () => void video.play().catch(() => undefined));
  video.addEventListener("pointerleave", () => video.pause());
  return video;
}
