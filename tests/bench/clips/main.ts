// Times denoising steps of the 1.3B transformer with random weights, shared by workers with a card each:
//   node bench.mjs clips [workers=1,2] [cases=full+tile:3+full@guided] [payload=f16|int8|f32] [frames=81]
//     [steps=5] [pin=filter] [limit=240] [profile=1] [trace=FILE] [json=FILE]
// Cases are told in cases.ts, pins in pins.ts, where a worker's milliseconds go in spans.ts. A row is printed as soon as it
// is measured; after `limit` seconds the bench ends with what it has. `profile` adds every worker's GPU time
// by kernel and copy (kernels.ts). `trace` is for ui.perfetto.dev. WEFT_BENCH_LAYERS and WEFT_BENCH_SIZE (480x832) make it small enough to be tried on a CPU.
import { writeFileSync } from "node:fs";
import { Coordinator } from "../../../src/parallel/coordinator.ts";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import { divideBySpeed } from "../../../src/parallel/division.ts";
import { predictedBytes, sumExchanges } from "../../../src/parallel/exchange_totals.ts";
import { framePairs } from "../../../src/parallel/frame_pairs.ts";
import { passGroupings } from "../../../src/parallel/guidance_lanes.ts";
import { initialNoise } from "../../../src/pipelines/noise.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { median } from "../median.ts";
import {
  type ClipsCase,
  type ClipsJob,
  CONFIG,
  guiderOf,
  parseCase,
  parsePayload,
  schedulerOf,
} from "./cases.ts";
import { startProfiling, tellKernels } from "./kernels.ts";
import { buildFilter, parsePin } from "./pins.ts";
import { ClipsPool } from "./pool.ts";
import {
  closeSpans,
  openSpans,
  readSpans,
  type StepTimes,
  stepTimes,
  traceOf,
  type WorkerSpans,
} from "./spans.ts";
import { TOKEN } from "./worker.ts";

/** One measurement; the first step, which compiles, is not counted. */
interface ClipsRow {
  readonly case: string;
  readonly workers: number;
  readonly secondsPerStep: number;
  readonly speedup: number | null;
  /** Relative L2 of the final latents against one worker's. */
  readonly error: number | null;
  readonly parts: string;
  readonly megabytesPerStep: number;
  readonly predictedMegabytes: number;
  readonly hiddenShare: number | null;
  /** By worker, a step: transfers, and waits that nothing was computed in. */
  readonly transferMs: string;
  readonly waitedMs: string;
  /** Received, over the transfers' time. */
  readonly megabytesPerSecond: number | null;
  readonly cards: string;
  /** Where the milliseconds of every worker's step go. */
  readonly profile: readonly StepTimes[];
}

/** A case for the timeline. */
interface TracedCase {
  readonly name: string;
  readonly workers: readonly WorkerSpans[];
}

const DEFAULT_CASES =
  "full+dual-scope:3,4+dual-scope:1,1+tile:3+tile:3@keys+tile:4+full@stale+full@guided+full@guided-clips";

/** Runs all cases on all numbers of workers. */
export async function benchClips(args: readonly string[]): Promise<void> {
  const options = new Map(args.map((arg) => arg.split("=", 2) as [string, string]));
  const option = (name: string, otherwise: string): string => options.get(name) ?? otherwise;
  const steps = Number(option("steps", "5"));
  const cases = option("cases", DEFAULT_CASES)
    .split("+")
    .map((name) => parseCase(name, steps));
  const counts = option("workers", "1,2").split(",").map(Number);
  const pin = parsePin(option("pin", "filter"));
  const [height = 480, width = 832] = (process.env["WEFT_BENCH_SIZE"] ?? "480x832").split("x").map(Number);
  const numLatentFrames = (Number(option("frames", "81")) - 1) / 4 + 1;
  const size = { numLatentFrames, latentHeight: height / 8, latentWidth: width / 8 };
  const payload = parsePayload(option("payload", "f16"));
  const rows: ClipsRow[] = [];
  const traced: TracedCase[] = [];
  openSpans();
  if (options.get("profile") === "1") startProfiling();
  process.once("exit", closeSpans);
  const tell = (): void => {
    const columns = Object.keys(rows[0] ?? {}).filter((name) => name !== "profile");
    console.table(rows, columns);
    const times = rows.flatMap(({ case: name, profile }) => profile.map((each) => ({ case: name, ...each })));
    console.table(times);
    const [trace, json] = [options.get("trace"), options.get("json")];
    if (trace) writeFileSync(trace, traceOf(traced));
    if (json) writeFileSync(json, JSON.stringify(rows, null, 1));
  };
  const limit = setTimeout(
    () => {
      tell();
      console.error(`The limit of ${option("limit", "240")} s is reached; the rows above are all there are.`);
      process.exit(1);
    },
    1000 * Number(option("limit", "240")),
  );
  if (pin === "filter") buildFilter();
  const results = new Map<string, Measured>();
  for (const count of counts) {
    const pool = await ClipsPool.start(count, pin);
    const done = new Set<string>();
    for (const one of cases) {
      if (count === 1 && done.has(one.baseline)) continue; // how it is shared does not matter
      done.add(one.baseline);
      const { plan, mode, staleAfter, isGuided } = one;
      const job = { plan, mode, staleAfter, isGuided, payload, steps, size };
      const measured = await timeJob(pool, job, { one, count });
      if (count === 1) results.set(one.baseline, measured);
      const alone = results.get(one.baseline);
      const row: ClipsRow = {
        case: count === 1 ? one.baseline : one.name,
        workers: count,
        ...measured.row,
        speedup: alone ? round(alone.row.secondsPerStep / measured.row.secondsPerStep) : null,
        error: alone ? Number(relativeL2(measured.sample, alone.sample).toPrecision(3)) : null,
      };
      rows.push(row);
      traced.push({ name: `${row.case} on ${count}`, workers: measured.spans });
      console.log(JSON.stringify(row));
      tellKernels(row, measured.spans);
    }
    pool.close();
  }
  clearTimeout(limit);
  tell();
}

interface Measured {
  readonly sample: Float32Array;
  readonly spans: readonly WorkerSpans[];
  readonly row: Omit<ClipsRow, "case" | "workers" | "speedup" | "error">;
}

async function timeJob(
  pool: ClipsPool,
  job: ClipsJob,
  { one, count }: { one: ClipsCase; count: number },
): Promise<Measured> {
  const { size, steps } = job;
  const { numLatentFrames, latentHeight, latentWidth } = size;
  const channels = CONFIG.in_channels;
  const noise = initialNoise({
    seed: 1,
    channels,
    numLatentFrames,
    height: latentHeight,
    width: latentWidth,
  });
  const events: CoordinatorEvent[] = [];
  const ends: number[] = [];
  const run = { guider: guiderOf(job.isGuided), numSteps: steps, numLayers: CONFIG.num_layers };
  const attention = attentionSize(job);
  const coordinator = new Coordinator({
    job,
    token: TOKEN,
    shape: [channels, numLatentFrames, latentHeight, latentWidth],
    start: { step: 0, slots: new Map([["sample", noise]]) },
    numSteps: steps,
    divide: divideBySpeed({
      pairs: framePairs(job.plan, { ...attention, numFrames: numLatentFrames }),
      groupings: passGroupings(run, Math.min(one.lanes, count)),
    }),
    numWorkers: count,
    stallMs: 120_000,
    connect: (address, _other, ticket) => [
      { port: { ticket: `${one.name} ${ticket}` }, transfer: [] },
      { port: { ticket: `${one.name} ${ticket}`, address }, transfer: [] },
    ],
    onStep: () => void ends.push(performance.now()),
    onEvent: (event) => {
      events.push(event);
      if (event.type === "lost" || event.type === "repeated") console.error(JSON.stringify(event));
    },
  });
  let cards = "";
  const { slots } = await pool.run(coordinator, async () => {
    const state = await coordinator.run();
    cards = pool.cardsUsed();
    return state;
  });
  if (cards !== "" && cards.split(",").length < count) {
    throw new Error(
      `${count} workers are on these cards: ${cards}. This way to pin them does not work here.`,
    );
  }
  const spans = readSpans(count);
  const profile = spans.map((each) => roundAll(stepTimes(each, job.staleAfter ?? 1)));
  const row = { ...rowOf(job, { events, ends }), cards, profile };
  return { sample: slots.get("sample") ?? noise, spans, row };
}

function rowOf(
  job: ClipsJob,
  { events, ends }: { events: readonly CoordinatorEvent[]; ends: readonly number[] },
): Omit<Measured["row"], "cards" | "profile"> {
  const { steps, size, plan, payload, mode, staleAfter } = job;
  const totals = sumExchanges(events);
  const division = events.find((event) => event.type === "shared")?.division ?? [];
  const { numLatentFrames, latentHeight, latentWidth } = size;
  const predicted = predictedBytes({
    ...attentionSize(job),
    plan,
    payload,
    mode,
    staleAfter,
    division,
    scheduler: schedulerOf(steps),
    guider: guiderOf(job.isGuided),
    latentElements: CONFIG.in_channels * numLatentFrames * latentHeight * latentWidth,
  });
  const last = events.flatMap((event) =>
    event.type === "stepped" && event.step === steps ? [event.statistics] : [],
  );
  const each = (key: "transferMs" | "waitedMs"): string =>
    last.map((statistics) => Math.round(statistics[key] / steps)).join(", ");
  const sum = (key: "bytesReceived" | "transferMs"): number =>
    last.reduce((total, statistics) => total + statistics[key], 0);
  const parts = division.map(({ clips }) => clips.map(({ start, end }) => end - start).join("+"));
  return {
    secondsPerStep: round(median(steadySteps(ends, staleAfter))),
    parts: parts.join(" | "),
    megabytesPerStep: round(totals.bytesSent / steps / 1e6),
    predictedMegabytes: round(predicted / steps / 1e6),
    hiddenShare: totals.hiddenShare === undefined ? null : round(totals.hiddenShare),
    transferMs: each("transferMs"),
    waitedMs: each("waitedMs"),
    megabytesPerSecond: sum("transferMs") > 0 ? round(sum("bytesReceived") / sum("transferMs") / 1e3) : null,
  };
}

/** Seconds of the steps that are like all later ones: not of the first, which compiles, nor of those before stale keys. */
function steadySteps(ends: readonly number[], staleAfter = 1): number[] {
  return ends.flatMap((end, step) => (step < staleAfter ? [] : [(end - (ends[step - 1] ?? end)) / 1000]));
}

function attentionSize({
  size: { latentHeight, latentWidth },
}: ClipsJob): Record<"tokensPerFrame" | "heads" | "headDim" | "layers", number> {
  return {
    tokensPerFrame: (latentHeight / 2) * (latentWidth / 2),
    heads: CONFIG.num_attention_heads,
    headDim: CONFIG.attention_head_dim,
    layers: CONFIG.num_layers,
  };
}

function roundAll(times: StepTimes): StepTimes {
  return Object.fromEntries(Object.entries(times).map(([name, value]) => [name, round(value)])) as StepTimes;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
