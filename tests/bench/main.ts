// `npm run bench`: times kernels, forward passes and renders on the GPU, or on the CPU where there is none, checks them,
// and reports in JSON and Markdown. Which benches there are: benches.ts, and studies.ts for those with arguments.
import { Command, InvalidArgumentError, Option } from "commander";
import { readFileSync, writeFileSync } from "node:fs";
import { releaseDawn } from "../../src/cli/dawn_node.ts";
import { openComputeHost } from "../../src/cli/engine_option.ts";
import { wholeNumber, wholeNumbers } from "../../src/cli/option_values.ts";
import { readCapabilities } from "../../src/gpu/capabilities.ts";
import { requestAdapter } from "../../src/gpu/gpu.ts";
import { BENCHES, chooseBenches } from "./benches.ts";
import { type BenchEngine, BenchRun } from "./bench_run.ts";
import { type BenchReport, describeMachine, markdownReport } from "./bench_report.ts";
import type { BenchTable } from "./bench_row.ts";
import { STUDIES } from "./studies.ts";

interface BenchFlags {
  readonly engine: "auto" | "webgpu" | "onnx";
  readonly json?: string;
  readonly markdown?: string;
  readonly peerJson?: string;
  readonly repetitions: number;
  readonly frames?: readonly number[];
  readonly fastest: boolean;
  readonly limit: number;
  readonly tiny: boolean;
}

function createProgram(): Command {
  const program = new Command("bench")
    .description("Times Weft's kernels, forward passes and renders, and checks their results.")
    .argument("[benches...]", "which benches (default: all that the machine can run)")
    .addOption(
      new Option("--engine <engine>", "auto: WebGPU where there is a GPU, else the CPU")
        .choices(["auto", "webgpu", "onnx"])
        .default("auto"),
    )
    .option("--json <file>", "write all figures, after every row")
    .option("--markdown <file>", "write the tables to a file too")
    .option("--peer-json <file>", "figures of tests/bench/pytorch_peer.py to put beside ours")
    .option("--repetitions <n>", "runs of which the median is taken", atLeastOne, 5)
    .option("--frames <list>", "masks: latent frames of 1,560 tokens, such as 41,82", wholeNumbers)
    .option("--fastest", "masks: only the adapter's fastest kernel", false)
    .option("--limit <seconds>", "no bench begins a new row after this time", atLeastOne, 300)
    .option("--tiny", "sizes for trying the benches on a CPU; the figures mean nothing", false)
    .addHelpText("after", () => `\n${benchList()}`)
    .action(async (names: readonly string[], flags: BenchFlags) => {
      process.exitCode = await runBenches(names, flags);
    });
  for (const { name, usage, description, isHidden, run } of STUDIES) {
    program
      .command(name, { hidden: isHidden === true })
      .usage(usage)
      .description(description)
      .argument("[args...]")
      .action(run);
  }
  return program;
}

function benchList(): string {
  const lines = BENCHES.map(({ name, description, seconds: { webgpu, onnx } }) => {
    const times = [webgpu && `${webgpu} s on an H200`, onnx && `${onnx} s on two CPU cores`];
    return `  ${name.padEnd(10)} ${description} (${times.filter(Boolean).join(", ")})`;
  });
  return `Benches:\n${lines.join("\n")}`;
}

async function runBenches(names: readonly string[], flags: BenchFlags): Promise<number> {
  const engine = await openEngine(flags.engine);
  if (typeof engine === "number") return engine;
  const benches = chooseBenches(names, engine.name);
  const machine = describeMachine(await deviceName(engine));
  const peers = flags.peerJson === undefined ? [] : readPeers(flags.peerJson);
  const { repetitions, frames, fastest, limit: limitSeconds, tiny } = flags;
  const report = (): BenchReport => ({ machine, tables: [...run.tables, ...peers] });
  const write = (): void => {
    if (flags.json !== undefined) writeFileSync(flags.json, `${JSON.stringify(report(), null, 1)}\n`);
  };
  const run = new BenchRun(engine, { repetitions, frames, fastest, limitSeconds, tiny }, write);
  run.say(`${machine.device}; ${benches.map(({ name }) => name).join(", ")}`);
  let failed = 0;
  for (const [index, { name, description, seconds, measure }] of benches.entries()) {
    const expected = seconds[engine.name];
    run.say(
      `\n${index + 1} of ${benches.length}: ${name}, ${description}${expected ? ` (${expected} s)` : ""}`,
    );
    if (!(await run.table(name, () => measure(run)))) failed++;
  }
  const page = markdownReport(report());
  if (flags.markdown !== undefined) writeFileSync(flags.markdown, `${page}\n`);
  process.stdout.write(`\n${page}\n`);
  return failed === 0 ? 0 : 1;
}

/** The exit code of the process that ran everything in this one's stead, or what to compute on. */
async function openEngine(wish: BenchFlags["engine"]): Promise<BenchEngine | number> {
  // A software adapter is only for those who ask for it: its figures say nothing.
  const host = await openComputeHost(wish, wish === "webgpu" ? { profile: true } : {});
  if (host.type === "elsewhere") return host.code;
  return host.type === "onnx" ? { name: "onnx" } : { name: "webgpu", gpu: host.gpu };
}

async function deviceName(engine: BenchEngine): Promise<string> {
  if (engine.name === "onnx") return "No GPU: onnxruntime on the CPU";
  const { description, vendor, architecture } = readCapabilities(await requestAdapter(engine.gpu));
  return `${vendor} ${architecture} ${description}`.trim();
}

function readPeers(file: string): BenchTable[] {
  const { machine, tables } = JSON.parse(readFileSync(file, "utf8")) as BenchReport;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  const note = `${machine.device}; ${versions.join(", ")}; ${machine.date}.`;
  return tables.map((table) => ({
    ...table,
    bench: `PyTorch: ${table.bench}`,
    notes: [...table.notes, note],
  }));
}

function atLeastOne(text: string): number {
  const value = wholeNumber(text);
  if (value < 1) throw new InvalidArgumentError("Expected 1 or more.");
  return value;
}

function end(code: number): void {
  releaseDawn();
  process.exit(code);
}

createProgram()
  .parseAsync()
  .then(
    () => end(Number(process.exitCode ?? 0)),
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      end(1);
    },
  );
