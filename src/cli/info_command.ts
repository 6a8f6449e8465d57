// `weft info`: what this machine's adapter can do, and which versions are at work. The first thing to put in a report.

import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Command, Option } from "commander";
import { type Capabilities, readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { ENGINE_WISHES, type EngineDescription, type EngineWish } from "../pipelines/engine.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import { type EngineHost, openComputeHost } from "./engine_option.ts";
import { adapterReport } from "./json_report.ts";
import { VERSION } from "./package_files.ts";
import { readTuning, type StoredTuning } from "./tuning_cache.ts";

/** Adds the command to the program. */
export function addInfoCommand(program: Command): void {
  program
    .command("info")
    .summary("show what renders compute on, and what it can do")
    .description(
      "Prints the engine that renders would use, the capability table of its adapter, and the versions at work.",
    )
    .addOption(
      new Option("--engine <engine>", "as for render").choices(ENGINE_WISHES).default("auto" as EngineWish),
    )
    .option("--json", "print one JSON object")
    .action(async ({ engine, json = false }: { engine: EngineWish; json?: boolean }) => {
      const host = await openComputeHost(engine);
      if (host.type === "elsewhere") {
        process.exitCode = host.code;
        return;
      }
      const compute = await describeHost(host);
      const tuning = await tuningReport(host, compute);
      const adapter = adapterReport(compute);
      const report = { versions: versions(), computeEngine: compute.name, adapter, tuning };
      process.stdout.write(
        json ? `${JSON.stringify(report, null, 2)}\n` : describe(report.versions, compute, tuning),
      );
    });
}

async function describeHost(host: EngineHost): Promise<EngineDescription> {
  if (host.type === "onnx") {
    return { name: "onnx", threads: (await openOrtInNode({ provider: "wasm" })).numThreads };
  }
  return { name: "webgpu", capabilities: readCapabilities(await requestAdapter(host.gpu)) };
}

/** What `weft tune` has found on this adapter; null where it has nothing to find. */
interface TuningReport {
  readonly state: StoredTuning["state"];
  readonly date: string | null;
  /** Problems that were timed, and how many of them take another tile than the default. */
  readonly problems: number;
  readonly changed: number;
}

async function tuningReport(host: EngineHost, compute: EngineDescription): Promise<TuningReport | null> {
  if (host.type !== "webgpu" || (compute.name === "webgpu" && compute.capabilities.software)) return null;
  const { state, file } = await readTuning(await requestAdapter(host.gpu));
  const results = file?.results ?? [];
  const changed = results.filter(({ speedUp }) => speedUp > 1).length;
  return { state, date: file?.date ?? null, problems: results.length, changed };
}

function tuningWords({ state, date, problems, changed }: TuningReport): string {
  switch (state) {
    case "none":
      return "not yet (weft tune)";
    case "outdated":
      return "by another version, so not used (weft tune)";
    case "tuned":
      return `${date?.slice(0, 10)}: other tiles for ${changed} of ${problems} (weft tune --show)`;
  }
}

function versions(): Readonly<Record<string, string>> {
  return {
    weft: VERSION,
    node: process.versions.node,
    webgpu: packageVersion("webgpu"),
    "onnxruntime-web": packageVersion("onnxruntime-web"),
  };
}

function describe(
  found: Readonly<Record<string, string>>,
  compute: EngineDescription,
  tuning: TuningReport | null,
): string {
  const rows: [string, string][] = [
    ...Object.entries(found),
    ["engine", compute.name],
    ["adapter", deviceName(compute)],
    ...(compute.name === "webgpu" ? adapterRows(compute.capabilities) : []),
    ...(tuning === null ? [] : [["tuned", tuningWords(tuning)] satisfies [string, string]]),
  ];
  const wide = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(wide)}  ${value}\n`).join("");
}

function adapterRows(adapter: Capabilities): [string, string][] {
  return [
    ["vendor", [adapter.vendor, adapter.architecture].filter(Boolean).join(", ") || "not told"],
    ["f16 arithmetic", yesNo(adapter.f16)],
    ["subgroups", adapter.subgroups ? sizes(adapter) : "no"],
    ["subgroup matrices", matrices(adapter)],
    ["timestamps", yesNo(adapter.timestamps)],
    ["largest buffer", mebibytes(adapter.maxBufferBytes)],
    ["largest binding", mebibytes(adapter.maxBindingBytes)],
    ["workgroup memory", `${adapter.maxWorkgroupBytes / 1024} KiB`],
    ["workgroup threads", String(adapter.maxInvocations)],
    ["storage buffers", String(adapter.maxStorageBuffers)],
  ];
}

function sizes({ subgroupMinSize: min, subgroupMaxSize: max }: Capabilities): string {
  return min === max ? `of ${min}` : `of ${min} to ${max}`;
}

function matrices({ subgroupMatrices }: Capabilities): string {
  if (subgroupMatrices.length === 0) return "no";
  return subgroupMatrices
    .map(
      ({ componentType, resultComponentType, M, N, K }) =>
        `${componentType}->${resultComponentType} ${M}x${N}x${K}`,
    )
    .join(", ");
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 2 ** 20)} MiB`;
}

function yesNo(value: boolean): string {
  return value ? "yes" : "no";
}

/** Version of an installed package: of the package.json nearest to its entry that names it. */
function packageVersion(name: string): string {
  for (let folder = dirname(createRequire(import.meta.url).resolve(name)); ;) {
    const file = join(folder, "package.json");
    const json: unknown = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined;
    if (isManifest(json) && json.name === name) return json.version;
    const parent = dirname(folder);
    if (parent === folder) return "unknown";
    folder = parent;
  }
}

function isManifest(json: unknown): json is { name: string; version: string } {
  return typeof json === "object" && json !== null && "name" in json && "version" in json;
}
