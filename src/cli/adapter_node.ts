// Which GPU a command runs on: the machine's own when Dawn finds one, otherwise SwiftShader. Its libraries must be in
// the environment when a process starts, so a process without them starts itself again and passes everything through.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { constants } from "node:os";
import { readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { WebGPUUnavailableError } from "../errors.ts";
import { releaseDawn, startDawn } from "./dawn_node.ts";
import { SWIFTSHADER_VARIABLE, swiftshaderEnvironment } from "./swiftshader_node.ts";

/** Either WebGPU in this process, or the exit code of the one that did the whole command in its stead. */
export type Host =
  | { readonly type: "here"; readonly gpu: GPU }
  | { readonly type: "elsewhere"; readonly code: number };

/**
 * Finds WebGPU for this command. Returns "elsewhere" only after the other process has ended.
 *
 * @throws {WebGPUUnavailableError} when there is no adapter and SwiftShader cannot be used here.
 */
export async function openHost(): Promise<Host> {
  if (process.env[SWIFTSHADER_VARIABLE]) return { type: "here", gpu: await requireAdapter(startDawn()) };
  const hardware = hasGpuDevice() ? await hardwareGpu() : undefined;
  if (hardware !== undefined) return { type: "here", gpu: hardware };
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { type: "here", gpu: await requireAdapter(startDawn()) };
  }
  return { type: "elsewhere", code: await restart(await swiftshaderEnvironment()) };
}

/** On Linux every GPU driver shows a device file; without one, asking Vulkan only makes it complain on stderr. */
function hasGpuDevice(): boolean {
  if (process.platform !== "linux") return true;
  const names = (folder: string): string[] => {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  };
  return (
    names("/dev").some((name) => /^(nvidia|dxg|kgsl|mali)/.test(name)) ||
    names("/dev/dri").some((name) => name.startsWith("renderD"))
  );
}

async function hardwareGpu(): Promise<GPU | undefined> {
  const gpu = startDawn();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter !== null && !readCapabilities(adapter).software) return gpu;
  releaseDawn();
  return undefined;
}

async function requireAdapter(gpu: GPU): Promise<GPU> {
  try {
    await requestAdapter(gpu);
    return gpu;
  } catch (error) {
    if (!(error instanceof WebGPUUnavailableError)) throw error;
    throw new WebGPUUnavailableError(
      "No graphics adapter answers, neither hardware nor software; update the graphics driver, or on Linux (x64) run " +
        `without ${SWIFTSHADER_VARIABLE} set, so that Weft brings its own software adapter.`,
      { cause: error },
    );
  }
}

/** Runs this very command in a new process; signals go there, its exit code comes back. */
async function restart(environment: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: "inherit",
    env: { ...process.env, ...environment },
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}
