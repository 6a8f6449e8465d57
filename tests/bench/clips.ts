// Times denoising steps of the 1.3B transformer with random weights, in clips on several cards:
//   node bench.mjs clips [1,2] [full,tile:3,dual-scope:3,4] [f16] [81] [filter]
// workers, plans (separated by spaces in quotes or by "+"), payload, frames, and the way to pin (gpu_pinning.ts).
import { spawn } from "node:child_process";
import { planByName } from "../../src/attention/plan_name.ts";
import type { AttentionPlan } from "../../src/attention/plan.ts";
import { full } from "../../src/attention/plan_constructors.ts";
import { startDawn } from "../../src/cli/dawn_node.ts";
import { ropePairs } from "../../src/dit/rope_tables.ts";
import { WanTransformer3DModel } from "../../src/dit/transformer_wan.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { createGuider } from "../../src/guiders/create_guider.ts";
import { createClipComputer } from "../../src/parallel/clip_computer.ts";
import { runClipWorker } from "../../src/parallel/clip_worker.ts";
import { Coordinator } from "../../src/parallel/coordinator.ts";
import type { CoordinatorEvent } from "../../src/parallel/coordinator_events.ts";
import { divideBySpeed } from "../../src/parallel/division.ts";
import { predictedBytes, sumExchanges } from "../../src/parallel/exchange_totals.ts";
import { framePairs } from "../../src/parallel/frame_pairs.ts";
import type { PayloadType } from "../../src/parallel/key_codec.ts";
import type { Port } from "../../src/parallel/port.ts";
import { type CarriedTicket, connectPort, openPortServer } from "../../src/parallel/socket_port_node.ts";
import { initialNoise } from "../../src/pipelines/noise.ts";
import { createWebgpuDenoiser } from "../../src/pipelines/webgpu_denoiser.ts";
import { createScheduler } from "../../src/schedulers/create_scheduler.ts";
import { type Pin, pinned } from "./gpu_pinning.ts";
import { median } from "./median.ts";
import { randomCheckpoint, WAN_1_3B } from "./random_checkpoint.ts";

const TOKEN = "bench";
const STEPS = 4;
const CONFIG = process.env["WEFT_BENCH_LAYERS"]
  ? { ...WAN_1_3B, num_layers: Number(process.env["WEFT_BENCH_LAYERS"]) }
  : WAN_1_3B;
const SCHEDULER = createScheduler({
  config: { _class_name: "FlowMatchEulerDiscreteScheduler" },
  numInferenceSteps: STEPS,
  shift: 3,
});
const GUIDER = createGuider({ guidanceScale: 1 });

interface ClipsJob {
  readonly plan: AttentionPlan;
  readonly payload: PayloadType;
  readonly size: {
    readonly numLatentFrames: number;
    readonly latentHeight: number;
    readonly latentWidth: number;
  };
}

/** One measurement; the first step, which compiles, is not counted. */
export interface ClipsRow {
  readonly plan: string;
  readonly workers: number;
  readonly secondsPerStep: number;
  readonly speedup: number | undefined;
  readonly megabytesPerStep: number;
  readonly predictedMegabytes: number;
  readonly hiddenShare: number | undefined;
  readonly transferMsPerStep: number;
  readonly waitedMsPerStep: number;
  readonly clips: string;
  readonly checksum: number;
}

/** Runs all combinations. */
export async function benchClips(args: readonly string[]): Promise<ClipsRow[]> {
  const [
    counts = "1,2",
    plans = "full+dual-scope:3,4+tile:3",
    payload = "f16",
    frames = "81",
    pin = "filter",
  ] = args;
  const [height, width] = (process.env["WEFT_BENCH_SIZE"] ?? "480x832").split("x").map(Number);
  const numLatentFrames = (Number(frames) - 1) / 4 + 1;
  const size = { numLatentFrames, latentHeight: (height ?? 480) / 8, latentWidth: (width ?? 832) / 8 };
  const names = plans.split("+");
  const context = {
    trainedFrames: 21,
    temporalFrequencies: ropePairs(CONFIG.attention_head_dim).time,
    steps: STEPS,
    layers: CONFIG.num_layers,
  };
  const rows: ClipsRow[] = [];
  for (const count of counts.split(",").map(Number)) {
    const pool = await startPool(count, pin as Pin, names.length);
    for (const name of names) {
      const plan = planByName(name, context) ?? full();
      const job = { plan, payload: payload as PayloadType, size };
      const row = await timeJob(pool, job, { name, count });
      const alone = rows.find((each) => each.plan === name && each.workers === 1);
      rows.push({ ...row, speedup: alone && alone.secondsPerStep / row.secondsPerStep });
      console.log(JSON.stringify(rows.at(-1)));
    }
    pool.close();
  }
  return rows;
}

interface Pool {
  /** Hands every worker that has connected, and those that will, to a coordinator. */
  giveTo(coordinator: Coordinator): void;
  close(): void;
}

async function startPool(count: number, pin: Pin, rounds: number): Promise<Pool> {
  const server = await openPortServer(TOKEN);
  const waiting: Port[] = [];
  let current: Coordinator | undefined;
  server.acceptAll("worker", (port) => (current ? current.add(port) : waiting.push(port)));
  const children = Array.from({ length: count }, (_, index) => {
    const script = [process.argv[1] ?? "", "clip-worker", server.address, String(index), String(rounds)];
    const { file, args, env } = pinned(pin, index, script);
    return spawn(file, args, { env, stdio: "inherit" });
  });
  let isClosed = false;
  for (const child of children) {
    child.once("exit", (code) => {
      if (isClosed || code === 0) return;
      console.error(`A worker ended with ${code}.`);
      process.exit(1);
    });
  }
  return {
    giveTo(coordinator) {
      current = coordinator;
      for (const port of waiting.splice(0)) coordinator.add(port);
    },
    close() {
      isClosed = true;
      for (const child of children) child.kill("SIGKILL");
      server.close();
    },
  };
}

async function timeJob(
  pool: Pool,
  job: ClipsJob,
  { name, count }: { name: string; count: number },
): Promise<Omit<ClipsRow, "speedup">> {
  const { numLatentFrames, latentHeight, latentWidth } = job.size;
  const shape = [CONFIG.in_channels, numLatentFrames, latentHeight, latentWidth] as const;
  const noise = initialNoise({
    seed: 1,
    channels: 16,
    numLatentFrames,
    height: latentHeight,
    width: latentWidth,
  });
  const heads = CONFIG.num_attention_heads;
  const tokensPerFrame = (latentHeight / 2) * (latentWidth / 2);
  const layers = CONFIG.num_layers;
  const events: CoordinatorEvent[] = [];
  const ends: number[] = [];
  const coordinator = new Coordinator({
    job,
    token: TOKEN,
    shape,
    start: { step: 0, slots: new Map([["sample", noise]]) },
    numSteps: STEPS,
    divide: divideBySpeed({
      pairs: framePairs(job.plan, { numFrames: numLatentFrames, tokensPerFrame, heads, layers }),
    }),
    numWorkers: count,
    stallMs: 240_000,
    connect: (address, _other, ticket) => [
      { port: { ticket: `${name} ${ticket}` }, transfer: [] },
      { port: { ticket: `${name} ${ticket}`, address }, transfer: [] },
    ],
    onStep: () => void ends.push(performance.now()),
    onEvent: (event) => events.push(event),
  });
  pool.giveTo(coordinator);
  const { slots } = await coordinator.run();
  const totals = sumExchanges(events);
  const shared = events.find((event) => event.type === "shared");
  const clips = shared?.clips ?? [];
  const division = shared?.division ?? [];
  const run = {
    plan: job.plan,
    division,
    latentElements: noise.length,
    scheduler: SCHEDULER,
    guider: GUIDER,
    layers,
  };
  const rows = { tokensPerFrame, heads, headDim: CONFIG.attention_head_dim, payload: job.payload };
  const last = events.filter((event) => event.type === "stepped" && event.step === STEPS);
  const sum = (key: "transferMs" | "waitedMs"): number =>
    last.reduce((total, event) => total + (event.type === "stepped" ? event.statistics[key] : 0), 0);
  return {
    plan: name,
    workers: count,
    secondsPerStep: median(ends.slice(1).map((end, i) => (end - (ends[i] ?? 0)) / 1000)),
    megabytesPerStep: totals.bytesSent / STEPS / 1e6,
    predictedMegabytes: predictedBytes({ ...run, ...rows }) / STEPS / 1e6,
    hiddenShare: totals.hiddenShare,
    transferMsPerStep: sum("transferMs") / STEPS,
    waitedMsPerStep: sum("waitedMs") / STEPS,
    clips: clips.map(({ start, end }) => end - start).join("+"),
    checksum: (slots.get("sample") ?? new Float32Array()).reduce(
      (total, value) => total + Math.abs(value),
      0,
    ),
  };
}

/** A worker process: as many jobs as there are, with the model loaded once. */
export async function clipWorker([
  address = "",
  index = "0",
  rounds = "1",
]: readonly string[]): Promise<void> {
  const gpu = await Gpu.open({ gpu: startDawn() });
  const dtype = gpu.capabilities.f16 ? "f16" : "f32";
  const model = await WanTransformer3DModel.load(gpu, randomCheckpoint("f16"), {
    config: CONFIG,
    dtype,
    storage: "stored",
  });
  const numTokens = 40;
  const data = Float32Array.from({ length: numTokens * CONFIG.text_dim }, (_, i) => 0.1 * Math.sin(i));
  const embeds = { conditional: { data, numTokens, maxSequenceLength: 512 } };
  const server = await openPortServer(TOKEN);
  for (let round = 0; round < Number(rounds); round++) {
    await runClipWorker({
      port: connectPort(address, { token: TOKEN, ticket: "worker" }),
      token: TOKEN,
      name: `card ${index}`,
      adapter: gpu.capabilities.description,
      address: server.address,
      open: async (job) => {
        const { plan, payload, size } = job as ClipsJob;
        const video = { size, attention: plan, embeds };
        const transformer = {
          withDenoiser: async <R>(
            options: Parameters<typeof createWebgpuDenoiser>[2],
            use: (denoiser: Awaited<ReturnType<typeof createWebgpuDenoiser>>) => Promise<R>,
          ): Promise<R> => {
            const denoiser = await createWebgpuDenoiser(gpu, model, options);
            return await use(denoiser).finally(() => denoiser.dispose());
          },
          dispose: async () => undefined,
        };
        return createClipComputer(transformer, {
          config: CONFIG,
          video,
          scheduler: SCHEDULER,
          guider: GUIDER,
          keyType: dtype,
          payload,
        });
      },
      toPort: (carried) => {
        const { ticket, address: at } = carried as CarriedTicket;
        return at === undefined ? server.accept(ticket) : connectPort(at, { token: TOKEN, ticket });
      },
    });
  }
  server.close();
}
