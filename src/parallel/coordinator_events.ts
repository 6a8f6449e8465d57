// What a coordinator tells of its job: for people, reports and traces.

import type { ExchangeStatistics } from "./clip_exchange.ts";

/** What happens in a job. */
export type CoordinatorEvent =
  | { readonly type: "joined"; readonly worker: string; readonly adapter: string }
  | { readonly type: "lost"; readonly worker: string; readonly reason: string }
  /** Clips were given out: of each worker that got one. */
  | { readonly type: "shared"; readonly step: number; readonly clips: readonly WorkerClip[] }
  /** A step of one worker. */
  | {
      readonly type: "stepped";
      readonly step: number;
      readonly worker: string;
      readonly statistics: ExchangeStatistics;
    }
  /** The step is repeated with the same workers. */
  | { readonly type: "repeated"; readonly step: number; readonly reason: string };

/** Who computes which frames. */
export interface WorkerClip {
  readonly worker: string;
  readonly start: number;
  readonly end: number;
}
