// Which engine a run gets: what `--engine` says, what other options need, and what the machine has.

import { availableParallelism } from "node:os";
import { InputError } from "../errors.ts";
import type { EngineWish } from "../pipelines/engine.ts";
import { openHardware, openHost, restart } from "./adapter_node.ts";
import { leaveOutCards } from "./card_pinning.ts";
import { listCards } from "./graphics_cards.ts";
import type { RenderRun } from "./render_request.ts";

/** What a command computes on; "elsewhere" when another process did the whole command in its stead. */
export type ComputeHost =
  | { readonly type: "webgpu"; readonly gpu: GPU }
  | { readonly type: "onnx" }
  | { readonly type: "elsewhere"; readonly code: number };

/** A host that is here. */
export type EngineHost = Exclude<ComputeHost, { type: "elsewhere" }>;

/** The options of a run that speak of GPU memory or kernels; the CPU computes in f32. */
type GpuOptions = Pick<RenderRun, "weights" | "arithmetic" | "maxMemory" | "profile">;

/** The wish of `--engine`: options that only WebGPU has ask for it. Throws `InputError` for the CPU with such an option. */
export function engineOf(wish: EngineWish, options: Partial<GpuOptions>): EngineWish {
  const names = namesOf(options);
  if (names.length === 0) return wish;
  if (wish === "onnx") {
    throw new InputError(`${names.join(", ")} cannot be used with --engine onnx, which computes on the CPU.`);
  }
  return "webgpu";
}

/** Refuses `--no-tuning` where kernels are never tuned. Throws `InputError`. */
export function checkTuning({ tuning, host, engine }: Pick<RenderRun, "tuning" | "host" | "engine">): void {
  if (tuning) return;
  if (host === "chromium") {
    throw new InputError("--no-tuning cannot be used with --host chromium, whose kernels are never tuned.");
  }
  if (engine === "onnx") {
    throw new InputError("--no-tuning cannot be used with --engine onnx, which computes on the CPU.");
  }
}

/**
 * Opens what the wish comes to. "auto" takes a hardware adapter, and the CPU where there is none.
 *
 * @throws as `engineOf`; WebGPUUnavailableError where WebGPU was asked for in vain
 */
export async function openComputeHost(
  wish: EngineWish,
  options: Partial<GpuOptions> = {},
): Promise<ComputeHost> {
  const engine = engineOf(wish, options);
  if (engine === "onnx") return await computeOnCpu();
  if (engine === "auto") {
    const gpu = cpuThreads() === undefined ? await openHardware() : undefined;
    return gpu ? { type: "webgpu", gpu } : await computeOnCpu();
  }
  const host = await openHost();
  return host.type === "here" ? { type: "webgpu", gpu: host.gpu } : host;
}

/**
 * Runs the command in a new process that sees the cards of CUDA_VISIBLE_DEVICES alone, for what workers' coordinator
 * computes itself: the prompt and short videos' frames. Returns its exit code; undefined where there is no need.
 */
export async function restartOnCards(wish: EngineWish): Promise<number | undefined> {
  if (wish === "onnx" || cpuThreads() !== undefined) return undefined;
  const wrap = await leaveOutCards({ cards: listCards() });
  return wrap && (await restart({}, wrap));
}

/** Set in a process that was started to compute on the CPU, to the number of its threads. */
const CPU_VARIABLE = "WEFT_ON_CPU";

/** Threads that this process was started to compute with on the CPU; undefined when it was not. */
export function cpuThreads(): number | undefined {
  const threads = Number(process.env[CPU_VARIABLE] ?? "");
  return threads >= 1 ? threads : undefined;
}

/** The environment of a process that computes on the CPU. */
export function cpuEnvironment(threads: number): Record<string, string> {
  return { [CPU_VARIABLE]: String(Math.max(1, Math.floor(threads))) };
}

/** In a process of its own: WebAssembly keeps its thread busy for as long as a block of the model takes. */
async function computeOnCpu(): Promise<ComputeHost> {
  if (cpuThreads() !== undefined) return { type: "onnx" };
  return { type: "elsewhere", code: await restart(cpuEnvironment(availableParallelism())) };
}

function namesOf({
  weights = "f32",
  arithmetic = "f32",
  maxMemory,
  profile = false,
}: Partial<GpuOptions>): string[] {
  return [
    ...(weights === "f32" ? [] : [`--weights ${weights}`]),
    ...(arithmetic === "f32" ? [] : [`--arithmetic ${arithmetic}`]),
    ...(maxMemory === undefined ? [] : ["--max-memory"]),
    ...(profile ? ["--profile"] : []),
  ];
}
