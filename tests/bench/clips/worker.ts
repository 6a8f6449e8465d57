// A worker process of the bench of clips: job after job, with the model loaded once.
import { startDawn } from "../../../src/cli/dawn_node.ts";
import { WanTransformer3DModel } from "../../../src/dit/transformer_wan.ts";
import { Gpu } from "../../../src/gpu/gpu.ts";
import { createClipComputer } from "../../../src/parallel/clip_computer.ts";
import { runClipWorker } from "../../../src/parallel/clip_worker.ts";
import { type CarriedTicket, connectPort, openPortServer } from "../../../src/parallel/socket_port_node.ts";
import type { EngineTransformer } from "../../../src/pipelines/engine.ts";
import { createWebgpuDenoiser } from "../../../src/pipelines/webgpu_denoiser.ts";
import { randomCheckpoint } from "../random_checkpoint.ts";
import { isProfiling } from "./kernels.ts";
import { SpanLog } from "./spans.ts";
import { type ClipsJob, CONFIG, guiderOf, schedulerOf } from "./cases.ts";

/** The token of all jobs of the bench. */
export const TOKEN = "bench";

/** Works until the process that started it ends it. */
export async function clipWorker([address = "", index = "0"]: readonly string[]): Promise<void> {
  const startedAt = performance.now();
  const log = new SpanLog(index);
  const gpu = await Gpu.open({ gpu: startDawn(), onSpan: log.add, profile: isProfiling() });
  const dtype = gpu.capabilities.f16 ? "f16" : "f32";
  const storage = "stored";
  const model = await WanTransformer3DModel.load(gpu, randomCheckpoint("f16"), {
    config: CONFIG,
    dtype,
    storage,
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.error(`worker ${index}: ${gpu.capabilities.description}, ${dtype}, loaded in ${seconds} s`);
  const transformer: EngineTransformer = {
    async withDenoiser(options, use) {
      const denoiser = await createWebgpuDenoiser(gpu, model, options);
      return await use(denoiser).finally(() => denoiser.dispose());
    },
    dispose: async () => undefined,
  };
  const server = await openPortServer(TOKEN);
  for (;;) {
    await runClipWorker({
      port: connectPort(address, { token: TOKEN, ticket: "worker" }),
      token: TOKEN,
      name: `worker ${index}`,
      adapter: gpu.capabilities.description,
      address: server.address,
      open: async (raw) => {
        const job = raw as ClipsJob;
        const { plan: attention, payload, mode, staleAfter, size, steps, isGuided } = job;
        const computer = createClipComputer(transformer, {
          config: CONFIG,
          video: { size, attention, embeds: { conditional: prompt(40), unconditional: prompt(25) } },
          scheduler: schedulerOf(steps),
          guider: guiderOf(isGuided),
          keyType: dtype,
          payload,
          mode,
          staleAfter,
        });
        return log.watch(computer, gpu.profiler);
      },
      toPort: (carried) => {
        const { ticket, address: at } = carried as CarriedTicket;
        return at === undefined ? server.accept(ticket) : connectPort(at, { token: TOKEN, ticket });
      },
    });
  }
}

function prompt(numTokens: number): { data: Float32Array; numTokens: number; maxSequenceLength: number } {
  const data = Float32Array.from({ length: numTokens * CONFIG.text_dim }, (_, i) => 0.1 * Math.sin(i));
  return { data, numTokens, maxSequenceLength: 512 };
}
