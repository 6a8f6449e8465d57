// Where time goes, for whoever asks: spans of work and of waiting on one clock.

import { wallClock } from "./wall_clock.ts";

/** What something took; milliseconds since 1970. */
export interface Span {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Is told of every span as it ends. */
export type OnSpan = (span: Span) => void;

/** Runs work and tells what it took, unless it fails. */
export async function spanOf<T>(
  onSpan: OnSpan | undefined,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  const start = wallClock();
  const result = await work();
  onSpan?.({ name, start, end: wallClock() });
  return result;
}
