// `weft worker`: computes clips for a render of another process on this host. Started by `weft render --workers`.

import type { Command } from "commander";
import { DeviceLostError, InputError } from "../errors.ts";
import { type Capabilities, readCapabilities } from "../gpu/capabilities.ts";
import { Gpu, requestAdapter } from "../gpu/gpu.ts";
import { openOrtInNode } from "../onnx/ort_runtime_node.ts";
import { createClipComputer, measureSpeed } from "../parallel/clip_computer.ts";
import { type ClipComputer, runClipWorker } from "../parallel/clip_worker.ts";
import { type CarriedTicket, connectPort, openPortServer } from "../parallel/socket_port_node.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import { WanPipeline } from "../pipelines/wan_pipeline.ts";
import { openHost } from "./adapter_node.ts";
import { cpuThreads } from "./engine_option.ts";
import { modelSource } from "./render_plan.ts";
import { parseWorkerJob, TOKEN_VARIABLE } from "./worker_job.ts";

/** Adds the command to the program. */
export function addWorkerCommand(program: Command): void {
  program
    .command("worker", { hidden: true })
    .description("Computes clips for `weft render --workers`, which starts it.")
    .requiredOption("--join <address>", "host:port of the render")
    .option("--name <name>", "name in messages", "worker")
    .action(async ({ join, name }: { join: string; name: string }) => {
      const threads = cpuThreads();
      if (threads !== undefined) return await work({ type: "onnx", threads }, { join, name });
      const host = await openHost();
      if (host.type === "elsewhere") process.exitCode = host.code;
      else await work({ type: "webgpu", ...(await describeGpu(host.gpu)) }, { join, name });
    });
}

/** What a worker computes on. */
type WorkerHost =
  | { readonly type: "webgpu"; readonly gpu: GPU; readonly capabilities: Capabilities }
  | { readonly type: "onnx"; readonly threads: number };

async function describeGpu(gpu: GPU): Promise<{ gpu: GPU; capabilities: Capabilities }> {
  return { gpu, capabilities: readCapabilities(await requestAdapter(gpu)) };
}

async function work(host: WorkerHost, { join, name }: { join: string; name: string }): Promise<void> {
  const token = process.env[TOKEN_VARIABLE];
  if (token === undefined) {
    throw new InputError("A worker is started by weft render --workers N, which gives it the job's token.");
  }
  const server = await openPortServer(token);
  try {
    await runClipWorker({
      port: connectPort(join, { token, ticket: "worker" }),
      token,
      name,
      adapter: deviceName(
        host.type === "onnx" ? { name: "onnx", threads: host.threads } : { name: "webgpu", ...host },
      ),
      address: server.address,
      open: (job) => openJob(job, host),
      isFatal: (error) => error instanceof DeviceLostError,
      toPort: (carried) => {
        const { ticket, address } = carried as CarriedTicket;
        return address === undefined ? server.accept(ticket) : connectPort(address, { token, ticket });
      },
    });
  } finally {
    server.close();
  }
}

async function openJob(raw: unknown, host: WorkerHost): Promise<ClipComputer> {
  const job = parseWorkerJob(raw);
  const { settings, embeds, payload } = job;
  const isGpu = host.type === "webgpu";
  const dtype = isGpu ? (job.arithmetic ?? (host.capabilities.f16 ? "f16" : "f32")) : "f32";
  const pipeline = await WanPipeline.open({
    source: modelSource(job.model),
    openGpu: isGpu ? () => Gpu.open({ gpu: host.gpu, memoryCapBytes: job.maxMemory }) : undefined,
    openOrt: (target) =>
      openOrtInNode(isGpu || target.provider !== "wasm" ? target : { ...target, numThreads: host.threads }),
    storage: job.weights,
    dtype,
  });
  const { transformer, config, scheduler, guider } = await pipeline.openSteps(settings);
  const size = {
    numLatentFrames: settings.numLatentFrames,
    latentHeight: settings.height / 8,
    latentWidth: settings.width / 8,
  };
  const video = { size, attention: settings.attention, embeds, perturbation: guider.perturbation };
  // Workers on one machine's processor share its cores: they are equally fast, and timing them takes long.
  const isShared = !isGpu || host.capabilities.software;
  const speed = isShared ? undefined : await measureSpeed(transformer, { config, video });
  const render = { config, video, scheduler, guider, keyType: dtype, payload, speed };
  return createClipComputer(transformer, { ...render, dispose: () => pipeline.dispose() });
}
