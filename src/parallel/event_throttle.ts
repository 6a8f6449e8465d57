// Thins out progress so that messages between threads stay few. Everything that is not progress passes at once.
import type { ServiceEvent } from "./render_protocol.ts";

const INTERVAL_MS = 100;

/**
 * A listener that forwards to `send`, progress at most every `intervalMs`. The first of a stage and the one that
 * completes it always pass.
 */
export function throttleEvents(
  send: (event: ServiceEvent) => void,
  {
    intervalMs = INTERVAL_MS,
    now = () => performance.now(),
  }: { intervalMs?: number; now?: () => number } = {},
): (event: ServiceEvent) => void {
  let lastSent = Number.NEGATIVE_INFINITY;
  let lastKind = "";
  return (event) => {
    if (event.type !== "progress" && event.type !== "download") return send(event);
    const kind = event.type === "progress" ? event.stage : event.type;
    const time = now();
    if (kind === lastKind && event.done < event.total && time - lastSent < intervalMs) return undefined;
    lastSent = time;
    lastKind = kind;
    return send(event);
  };
}
