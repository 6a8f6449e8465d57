// `weft worker`: computes clips and makes segments for a render of another process on this host. Started by
// `weft render --workers`.

import type { Command } from "commander";
import { DeviceLostError, InputError, WebGPUUnavailableError } from "../errors.ts";
import { type Capabilities, readCapabilities } from "../gpu/capabilities.ts";
import { requestAdapter } from "../gpu/gpu.ts";
import { runClipWorker } from "../parallel/clip_worker.ts";
import { runSegmentWorker } from "../parallel/segment_worker.ts";
import {
  type CarriedTicket,
  connectPort,
  openPortServer,
  removeParcels,
} from "../parallel/socket_port_node.ts";
import { deviceName } from "../pipelines/render_metadata.ts";
import { type Host, openHardware, openHost } from "./adapter_node.ts";
import { cpuThreads } from "./engine_option.ts";
import { TICKETS, TOKEN_VARIABLE } from "./worker_processes.ts";
import { type WorkerHost, WorkerSession } from "./worker_session.ts";

interface WorkerFlags {
  readonly join: string;
  readonly name: string;
  readonly card?: string;
}

/** Adds the command to the program. */
export function addWorkerCommand(program: Command): void {
  program
    .command("worker", { hidden: true })
    .description("Computes clips for `weft render --workers`, which starts it.")
    .requiredOption("--join <address>", "host:port of the render")
    .option("--name <name>", "name in messages", "worker")
    .option("--card <number>", "which of several graphics cards it sees")
    .action(async (flags: WorkerFlags) => {
      const threads = cpuThreads();
      if (threads !== undefined) return await work({ type: "onnx", threads }, flags);
      const host = flags.card === undefined ? await openHost() : await openCard(flags.card);
      if (host.type === "elsewhere") process.exitCode = host.code;
      else await work({ type: "webgpu", ...(await describeGpu(host.gpu)) }, flags);
    });
}

/** A worker that was given a card must not compute on the CPU in its stead, unnoticed and a thousand times slower. */
async function openCard(card: string): Promise<Host> {
  const gpu = await openHardware();
  if (gpu !== undefined) return { type: "here", gpu };
  throw new WebGPUUnavailableError(
    `Vulkan finds nothing on graphics card ${card}: update the driver, or name the cards that work in CUDA_VISIBLE_DEVICES.`,
  );
}

async function describeGpu(gpu: GPU): Promise<{ gpu: GPU; capabilities: Capabilities }> {
  return { gpu, capabilities: readCapabilities(await requestAdapter(gpu)) };
}

async function work(host: WorkerHost, { join, name, card }: WorkerFlags): Promise<void> {
  const token = process.env[TOKEN_VARIABLE];
  if (token === undefined) {
    throw new InputError("A worker is started by weft render --workers N, which gives it the job's token.");
  }
  const { ppid: starter } = process;
  const server = await openPortServer(token);
  const session = new WorkerSession(host);
  const isFatal = (error: unknown): boolean => error instanceof DeviceLostError;
  const device = deviceName(
    host.type === "onnx" ? { name: "onnx", threads: host.threads } : { name: "webgpu", ...host },
  );
  const adapter = card === undefined ? device : `${device}, card ${card}`;
  const common = { token, name, isFatal };
  try {
    await Promise.all([
      runClipWorker({
        ...common,
        port: connectPort(join, { token, ticket: TICKETS.clips }),
        adapter,
        address: server.address,
        open: (job) => session.openClips(job),
        toPort: (carried) => {
          const { ticket, address } = carried as CarriedTicket;
          return address === undefined ? server.accept(ticket) : connectPort(address, { token, ticket });
        },
      }),
      runSegmentWorker({
        ...common,
        port: connectPort(join, { token, ticket: TICKETS.segments }),
        open: (job) => session.openSegments(job),
      }),
    ]);
  } finally {
    await session.dispose();
    server.close();
    if (process.ppid !== starter) removeParcels(token); // who would have done it is gone
  }
}
