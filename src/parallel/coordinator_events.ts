// What a coordinator tells of its job: for people, reports and traces.

import type { Division } from "./division.ts";
import type { ExchangeStatistics } from "./exchange_statistics.ts";

/** What happens in a job. */
export type CoordinatorEvent =
  | { readonly type: "joined"; readonly worker: string; readonly adapter: string }
  | { readonly type: "lost"; readonly worker: string; readonly reason: string }
  /** The work was given out: of each worker that got some. */
  | {
      readonly type: "shared";
      readonly step: number;
      readonly clips: readonly WorkerClip[];
      readonly division: Division;
    }
  /** A step of one worker. */
  | {
      readonly type: "stepped";
      readonly step: number;
      readonly worker: string;
      readonly statistics: ExchangeStatistics;
      /** The most GPU memory in use at a time so far; undefined for a CPU. */
      readonly peakBytes?: number | undefined;
    }
  /** The step is repeated with the same workers. */
  | { readonly type: "repeated"; readonly step: number; readonly reason: string };

/** Who computes which frames. */
export interface WorkerClip {
  readonly worker: string;
  /** Forward passes that it computes, where others compute the rest. */
  readonly passes?: readonly string[] | undefined;
  readonly start: number;
  readonly end: number;
}
