// What workers do, and what they came to, in words for people.

import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import type { WorkersReport } from "../parallel/render_division.ts";

/** What the process `index` of a render is called. */
export function workerName(index: number): string {
  return `worker ${index + 1}`;
}

/** What people should know of an event. */
export function wordsFor(event: CoordinatorEvent): string | undefined {
  switch (event.type) {
    case "joined":
      return undefined;
    case "lost":
      return `${event.worker} was lost: ${event.reason}.`;
    case "repeated":
      return `Step ${event.step + 1} is repeated: ${event.reason}`;
    case "shared": {
      const clips = event.clips.map(
        ({ worker, start, end, passes }) =>
          `${worker} ${start} to ${end - 1}${passes ? ` (${passes.join(", ")})` : ""}`,
      );
      return `Latent frames from step ${event.step + 1} on: ${clips.join(", ")}.`;
    }
    case "stepped":
      return undefined;
  }
}

/** What the workers of a render sent each other. */
export function wordsForReport({ bytesSent, bytesPredicted, hiddenShare, byWorker }: WorkersReport): string {
  const predicted = bytesPredicted === undefined ? "" : ` (${megabytes(bytesPredicted)} predicted)`;
  const percent = (share: number): string => `${Math.round(100 * share)} %`;
  const shares = byWorker.flatMap(({ worker, hiddenShare: own }) =>
    own === undefined ? [] : [`${worker} ${percent(own)}`],
  );
  const hidden =
    hiddenShare === undefined
      ? ""
      : `, ${percent(hiddenShare)} of their time behind computing (${shares.join(", ")})`;
  return `Workers sent each other ${megabytes(bytesSent)}${predicted}${hidden}.`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
