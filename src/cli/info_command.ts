// `weft info`: what this machine's adapter can do, and which versions are at work. The first thing to put in a report.

import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import { type Capabilities, readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { adapterName } from "../pipelines/render_metadata.ts";
import { openHost } from "./adapter_node.ts";
import { VERSION } from "./package_files.ts";

/** Adds the command to the program. */
export function addInfoCommand(program: Command): void {
  program
    .command("info")
    .summary("show the graphics adapter and what it can do")
    .description(
      "Prints the capability table of the adapter that renders would use, and the versions at work.",
    )
    .option("--json", "print one JSON object")
    .action(async ({ json = false }: { json?: boolean }) => {
      const host = await openHost();
      if (host.type === "elsewhere") {
        process.exitCode = host.code;
        return;
      }
      const adapter = readCapabilities(await requestAdapter(host.gpu));
      const report = { versions: versions(), adapter };
      process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : describe(report));
    });
}

interface Report {
  readonly versions: Readonly<Record<string, string>>;
  readonly adapter: Capabilities;
}

function versions(): Report["versions"] {
  return {
    weft: VERSION,
    node: process.versions.node,
    webgpu: packageVersion("webgpu"),
    "onnxruntime-web": packageVersion("onnxruntime-web"),
  };
}

function describe({ versions: found, adapter }: Report): string {
  const rows: [string, string][] = [
    ...Object.entries(found),
    ["adapter", adapterName(adapter)],
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
  const wide = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(wide)}  ${value}\n`).join("");
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
