// The run as JSON and as a Markdown page: one table for every bench, with the peers' figures beside ours.
import { packageVersions, weftCommit } from "./bench_versions.ts";
import type { BenchRow, BenchTable } from "./bench_row.ts";

/** Where and with what the figures were made. */
export interface BenchMachine {
  /** The adapter's, or the number of CPU threads. */
  readonly device: string;
  readonly date: string;
  readonly node: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly commit: string;
}

/** Everything of a run, as `--json` writes it. */
export interface BenchReport {
  readonly machine: BenchMachine;
  readonly tables: readonly BenchTable[];
}

/** This process on a device. */
export function describeMachine(device: string): BenchMachine {
  return {
    device,
    date: new Date().toISOString().slice(0, 10),
    node: process.versions.node,
    versions: packageVersions(),
    commit: weftCommit(),
  };
}

/** The report in Markdown. */
export function markdownReport({ machine, tables }: BenchReport): string {
  const { device, date, node, versions, commit } = machine;
  const packages = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const head = `${device}; Node ${node}, ${packages.join(", ")}; weft ${commit}; ${date}.`;
  const rows = tables.flatMap((table) => table.rows);
  const peers = rows.filter(({ by }) => by !== "weft");
  return [head, ...tables.map((table) => markdownTable(table, peers)), ...ratioTable(rows, peers)].join(
    "\n\n",
  );
}

/** Our fastest kernel of every work and type beside each peer's fastest, where there is one. */
function ratioTable(rows: readonly BenchRow[], peers: readonly BenchRow[]): string[] {
  const fastest = new Map<string, BenchRow>();
  for (const row of rows.filter(({ by }) => by === "weft")) {
    const key = [row.work, row.precision, row.clock].join();
    if (row.milliseconds < (fastest.get(key)?.milliseconds ?? Infinity)) fastest.set(key, row);
  }
  const body = [...fastest.values()].flatMap((row) =>
    PEERS.flatMap((by) => {
      const ratio = ratioTo(by, row, peers);
      if (ratio === undefined) return [];
      const { work, precision, clock, variant, milliseconds } = row;
      const theirs = digits(ratio * milliseconds);
      return [line([work, precision, clock, variant, digits(milliseconds), by, theirs, ratio.toFixed(2)])];
    }),
  );
  if (body.length === 0) return [];
  const header = [
    "work",
    "type",
    "clock",
    "weft's fastest",
    "ms",
    "peer",
    "its fastest, ms",
    "times its speed",
  ];
  return ["### beside the peers", [line(header), line(header.map(() => "---")), ...body].join("\n")];
}

const PEERS = ["onnxruntime-web", "pytorch"] as const;

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function markdownTable({ bench, rows, notes }: BenchTable, peers: readonly BenchRow[]): string {
  const details = [...new Set(rows.flatMap((row) => Object.keys(row.details ?? {})))];
  const columns: Readonly<Record<string, (row: BenchRow) => string>> = {
    work: (row) => row.work,
    by: (row) => (row.by === "weft" ? row.variant : `${row.by} ${row.variant}`),
    type: (row) => row.precision,
    clock: (row) => row.clock,
    ms: (row) => digits(row.milliseconds),
    runs: (row) => String(row.repetitions),
    "TFLOP/s": (row) => (row.teraflops === undefined ? "" : digits(row.teraflops)),
    error: (row) => row.relativeError?.toExponential(1) ?? "",
    ...Object.fromEntries(details.map((name) => [name, (row) => String(row.details?.[name] ?? "")])),
    "times onnxruntime-web's speed": (row) => ratioTo("onnxruntime-web", row, peers)?.toFixed(2) ?? "",
    "times pytorch's speed": (row) => ratioTo("pytorch", row, peers)?.toFixed(2) ?? "",
  };
  const filled = Object.entries(columns).filter(([, cell]) => rows.some((row) => cell(row) !== ""));
  const header = [line(filled.map(([name]) => name)), line(filled.map(() => "---"))];
  const body = rows.map((row) => line(filled.map(([, cell]) => cell(row))));
  const table = rows.length === 0 ? [] : [...header, ...body];
  return [`### ${bench}`, "", ...table, ...notes.map((note) => `\n${note}`)].join("\n");
}

/**
 * How many times as fast as a peer one of our rows is: same work, same type, same clock, the peer's fastest. Undefined
 * where there is no such row.
 */
export function ratioTo(by: BenchRow["by"], row: BenchRow, peers: readonly BenchRow[]): number | undefined {
  if (row.by !== "weft") return undefined;
  const times = peers
    .filter((peer) => peer.by === by && peer.work === row.work)
    .filter(({ precision, clock }) => precision === row.precision && clock === row.clock)
    .map(({ milliseconds }) => milliseconds);
  return times.length === 0 ? undefined : Math.min(...times) / row.milliseconds;
}

/** Three digits, without an exponent. */
function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
