// Which GPU a command runs on: the machine's own when Dawn finds one, otherwise SwiftShader. Its libraries must be in
// the environment when a process starts, so a process without them starts itself again and passes everything through.

import { spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { WebGPUUnavailableError } from "../errors.ts";
import type { Wrap } from "./card_pinning.ts";
import { releaseDawn, startDawn } from "./dawn_node.ts";
import { SWIFTSHADER_VARIABLE, swiftshaderEnvironment } from "./swiftshader_node.ts";

/** Either WebGPU in this process, or the exit code of the one that did the whole command in its stead. */
export type Host =
  | { readonly type: "here"; readonly gpu: GPU }
  | { readonly type: "elsewhere"; readonly code: number };

/**
 * A process whose thread is busy in WebAssembly (onnxruntime's decoder) hears no signal and is killed after this time;
 * it writes no file then. Longer than the time it has to stop by itself (interrupt.ts).
 */
const KILL_MS = 550;

/**
 * Finds WebGPU for this command. Returns "elsewhere" only after the other process has ended.
 *
 * @throws {WebGPUUnavailableError} when there is no adapter and SwiftShader cannot be used here.
 */
export async function openHost(): Promise<Host> {
  if (process.env[SWIFTSHADER_VARIABLE]) return { type: "here", gpu: await requireAdapter(startDawn()) };
  const hardware = await openHardware();
  if (hardware !== undefined) return { type: "here", gpu: hardware };
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { type: "here", gpu: await requireAdapter(startDawn()) };
  }
  return { type: "elsewhere", code: await restart(await swiftshaderEnvironment()) };
}

/** The machine's own graphics adapter, opened; undefined where there is none, or SwiftShader was asked for. */
export async function openHardware(): Promise<GPU | undefined> {
  if (process.env[SWIFTSHADER_VARIABLE] || !hasGpuDevice()) return undefined;
  return await hardwareGpu();
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

/**
 * Runs this very command in a new process, for three reasons: SwiftShader needs its environment, a thread that is busy
 * in WebAssembly hears no signal, and a process cannot be kept from a card that it sees. Signals go there, its exit code
 * comes back.
 *
 * @param wrap what the command is started with
 */
export async function restart(
  environment: Readonly<Record<string, string>>,
  wrap: Wrap = (plain) => plain,
): Promise<number> {
  const args = [...process.execArgv, ...process.argv.slice(1)];
  const command = wrap({ file: process.execPath, args, env: { ...process.env, ...environment } });
  const child = spawn(command.file, command.args, { stdio: "inherit", env: command.env });
  let isInterrupted = false;
  const forward = (signal: NodeJS.Signals): void => {
    isInterrupted = true;
    child.kill(signal);
    setTimeout(() => child.kill("SIGKILL"), KILL_MS).unref();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, forward);
  try {
    const { code, signal } = await new Promise<ChildEnd>((resolve, reject) => {
      child.on("error", reject);
      child.on("exit", (exitCode, name) => resolve({ code: exitCode, signal: name }));
    });
    if (code !== null) return code;
    if (isInterrupted) throw new DOMException("The render was interrupted.", "AbortError");
    throw new Error(
      `The rendering process was ended by ${signal ?? "the system"}; it may have run out of memory.`,
    );
  } finally {
    for (const signal of signals) process.off(signal, forward);
  }
}

interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}
