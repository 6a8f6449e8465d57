// Two finished videos side by side, each with what sets it apart, played together.
import { element } from "./dom.ts";
import type { FinishedVideo } from "./finished_video.ts";
import { playable } from "./playable.ts";
import { differencesFrom } from "./settings_text.ts";

/** Seconds that the two may be apart: a frame and a half at 16 a second. */
const MAX_APART = 0.1;

/** The pair as one element. */
export function comparison(
  [left, right]: readonly [FinishedVideo, FinishedVideo],
  onUnplayable: () => void,
): HTMLElement {
  const players = [playable(left, onUnplayable), playable(right, onUnplayable)] as const;
  keepTogether(...players);
  return element(
    "div",
    { className: "comparison" },
    figure(players[0], differencesFrom(left.settings, right.settings)),
    figure(players[1], differencesFrom(right.settings, left.settings)),
  );
}

function figure(player: HTMLElement, facts: readonly string[]): HTMLElement {
  const textContent = facts.length === 0 ? "the same settings" : facts.join(" · ");
  return element("figure", {}, player, element("figcaption", { textContent }));
}

/** The second follows the first. */
function keepTogether(first: HTMLElement, second: HTMLElement): void {
  if (!(first instanceof HTMLVideoElement && second instanceof HTMLVideoElement)) return;
  second.controls = false;
  const follow = (): void => {
    const place = Math.min(first.currentTime, second.duration || 0);
    if (Math.abs(second.currentTime - place) > MAX_APART) second.currentTime = place;
    if (first.paused !== second.paused)
      void (first.paused ? second.pause() : second.play().catch(() => undefined));
  };
  for (const event of ["play", "pause", "seeked", "timeupdate"]) first.addEventListener(event, follow);
}
