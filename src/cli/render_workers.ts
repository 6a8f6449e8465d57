// The denoising steps of a render over worker processes of this host.

import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import { full } from "../attention/plan_constructors.ts";
import { Coordinator } from "../parallel/coordinator.ts";
import type { CoordinatorEvent } from "../parallel/coordinator_events.ts";
import { type ExchangeTotals, predictedBytes, sumExchanges } from "../parallel/exchange_totals.ts";
import { framePairs } from "../parallel/frame_pairs.ts";
import type { PayloadType } from "../parallel/key_codec.ts";
import { openPortServer, type PortServer } from "../parallel/socket_port_node.ts";
import type { RenderSettings } from "../pipelines/render_options.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { openHardware } from "./adapter_node.ts";
import { cpuEnvironment, cpuThreads } from "./engine_option.ts";
import { isUrl } from "./render_plan.ts";
import type { RenderRun } from "./render_request.ts";
import { swiftshaderEnvironment } from "./swiftshader_node.ts";
import { TOKEN_VARIABLE, type WorkerJob } from "./worker_job.ts";

/** How many workers, and what they tell. */
export interface WorkersOptions {
  readonly run: RenderRun;
  readonly settings: RenderSettings;
  readonly count: number;
  readonly payload: PayloadType;
  readonly onEvent: (event: CoordinatorEvent) => void;
}

/** What the workers came to. */
export interface WorkersReport extends ExchangeTotals {
  /** By the attention plan; undefined when the frames had to be shared out again. */
  readonly bytesPredicted: number | undefined;
}

/** Clips shorter than this are not worth a worker. */
const MIN_FRAMES = 2;

/** Takes all steps of the work on worker processes, and ends them. */
export async function denoiseOnWorkers(
  work: DenoiseWork,
  options: WorkersOptions,
): Promise<{ latents: Float32Array; report: WorkersReport }> {
  const { run, settings, count, payload, onEvent } = options;
  const { loop, start, shape, config, video } = work;
  const token = randomUUID();
  const server = await openPortServer(token);
  const events: CoordinatorEvent[] = [];
  const size = pairsSize(work);
  const coordinator = new Coordinator({
    job: jobOf(run, { settings, embeds: video.embeds, payload }),
    token,
    shape,
    start,
    numSteps: work.scheduler.steps.length,
    pairs: framePairs(video.attention ?? full(), { ...size, layers: config.num_layers }),
    minFrames: MIN_FRAMES,
    numWorkers: count,
    connect: (address, _other, ticket) => [
      { port: { ticket }, transfer: [] },
      { port: { ticket, address }, transfer: [] },
    ],
    onStep: async (state) => {
      loop.onProgress(state.step);
      await loop.onStep({ state, predicted: undefined });
    },
    onEvent: (event) => {
      events.push(event);
      onEvent(event);
    },
    signal: loop.signal,
  });
  server.acceptAll("worker", (port) => coordinator.add(port));
  const children = await startChildren(server, token, count);
  try {
    const { slots } = await Promise.race([coordinator.run(), allGone(children)]);
    const latents = slots.get("sample") ?? new Float32Array();
    return { latents, report: reportOf(events, { ...work, ...size, payload }) };
  } finally {
    for (const child of children) endChild(child);
    server.close();
  }
}

function jobOf(
  { model, weights, arithmetic, maxMemory }: RenderRun,
  rest: Pick<WorkerJob, "settings" | "embeds" | "payload">,
): WorkerJob {
  return { model: isUrl(model) ? model : resolve(model), weights, arithmetic, maxMemory, ...rest };
}

function pairsSize({ config, video: { size } }: DenoiseWork): {
  numFrames: number;
  tokensPerFrame: number;
  heads: number;
} {
  const [, height = 1, width = 1] = config.patch_size;
  return {
    numFrames: size.numLatentFrames,
    tokensPerFrame: (size.latentHeight / height) * (size.latentWidth / width),
    heads: config.num_attention_heads,
  };
}

async function startChildren(server: PortServer, token: string, count: number): Promise<ChildProcess[]> {
  const env = { ...process.env, ...(await workerEnvironment(count)), [TOKEN_VARIABLE]: token };
  const [script = ""] = process.argv.slice(1);
  const children = Array.from({ length: count }, (_, index) => {
    const args = ["worker", "--join", server.address, "--name", `worker ${index + 1}`];
    return spawn(process.execPath, [...process.execArgv, script, ...args], {
      // Read by a driver that shows one of several cards (tests/bench/vulkan_filter.c); nobody else knows it.
      env: { ...env, WEFT_GPU_INDEX: String(index) },
      stdio: ["ignore", "ignore", "inherit"],
    });
  });
  process.once("exit", () => children.forEach((child) => child.kill("SIGKILL")));
  return children;
}

/** Workers compute on what this process computes on; on the CPU they share its cores. */
async function workerEnvironment(count: number): Promise<Record<string, string>> {
  const threads = cpuThreads();
  if (threads !== undefined) return cpuEnvironment(threads / count);
  return (await openHardware()) === undefined ? await swiftshaderEnvironment() : {};
}

/** Rejects when no worker process is left that could still join. */
async function allGone(children: readonly ChildProcess[]): Promise<never> {
  await Promise.all(
    children.map((child) => new Promise((resolvePromise) => child.once("exit", resolvePromise))),
  );
  throw new Error("All worker processes have ended; what they said is above.");
}

/** A worker ends by itself when its job does; one that hangs is ended. */
function endChild(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const timeout = setTimeout(() => child.kill("SIGKILL"), END_MS);
  child.once("exit", () => clearTimeout(timeout));
  timeout.unref();
}

const END_MS = 2000;

function reportOf(
  events: readonly CoordinatorEvent[],
  work: DenoiseWork & { tokensPerFrame: number; heads: number; payload: PayloadType },
): WorkersReport {
  const totals = sumExchanges(events);
  const shared = events.find((event) => event.type === "shared");
  const { config, scheduler, guider, video, tokensPerFrame, heads, payload } = work;
  const bytesPredicted =
    totals.shares !== 1 || shared === undefined
      ? undefined
      : predictedBytes({
          plan: video.attention ?? full(),
          partition: shared.clips,
          scheduler,
          guider,
          tokensPerFrame,
          heads,
          headDim: config.attention_head_dim,
          layers: config.num_layers,
          payload,
        });
  return { ...totals, bytesPredicted };
}
