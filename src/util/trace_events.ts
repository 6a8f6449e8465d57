// A timeline in the Trace Event Format, which ui.perfetto.dev and chrome://tracing open: rows of boxes, marks and curves.
// Format: "Trace Event Format", Google, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.

/** An entry of the format; times in microseconds. */
interface TraceEntry {
  readonly name: string;
  readonly ph: "X" | "i" | "C" | "M";
  readonly ts: number;
  readonly dur?: number;
  readonly pid: 1;
  readonly tid: number;
  readonly s?: "g";
  readonly args?: Readonly<Record<string, unknown>> | undefined;
}

/** Where and when something is; the time in milliseconds from the timeline's beginning. */
export interface TracePlace {
  readonly name: string;
  /** A row's name; rows stand in the order in which they are first named. */
  readonly row: string;
  readonly at: number;
  /** Shown when it is clicked on. */
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Collects a timeline. */
export class TraceEvents {
  readonly #entries: TraceEntry[] = [];
  readonly #rows = new Map<string, number>();

  /** Something that lasts, until `end`. */
  box({ name, row, at, args }: TracePlace, end: number): void {
    const [ts, until] = [microseconds(at), microseconds(end)];
    this.#entries.push({ name, ph: "X", ts, dur: until - ts, pid: 1, tid: this.#row(row), args });
  }

  /** A moment. */
  mark({ name, row, at, args }: TracePlace): void {
    this.#entries.push({ name, ph: "i", ts: microseconds(at), pid: 1, tid: this.#row(row), s: "g", args });
  }

  /** A point of a curve of that name; `args` are its values. */
  count({ name, row, at, args }: TracePlace): void {
    this.#entries.push({ name, ph: "C", ts: microseconds(at), pid: 1, tid: this.#row(row), args });
  }

  /** The file's text. */
  toJson(): string {
    return JSON.stringify({ traceEvents: this.#entries, displayTimeUnit: "ms" });
  }

  #row(name: string): number {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const tid = this.#rows.size + 1;
    this.#rows.set(name, tid);
    this.#entries.push({ name: "thread_name", ph: "M", ts: 0, pid: 1, tid, args: { name } });
    return tid;
  }
}

/** With nanoseconds behind the point: kernels are short. */
function microseconds(milliseconds: number): number {
  return Math.round(milliseconds * 1e6) / 1e3;
}
