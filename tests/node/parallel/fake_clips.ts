// Jobs without a GPU: a "video" of a few numbers a frame whose every step mixes in what the attention plan lets a frame
// see, in one forward pass or several. Sums run over frames and passes in order, so any division into clips and lanes gives
// the very same bits, or the test fails.
import type { AttentionPlan } from "../../../src/attention/plan.ts";
import { framesOfRange } from "../../../src/attention/frame_range.ts";
import { neededFrames } from "../../../src/attention/needed_frames.ts";
import type { ForwardPass } from "../../../src/guiders/guider.ts";
import type { ContextExchange } from "../../../src/dit/context_exchange.ts";
import {
  type ClipComputer,
  type ClipWork,
  type ClipWorkerOptions,
  runClipWorker,
} from "../../../src/parallel/clip_worker.ts";
import { Coordinator, type CoordinatorOptions } from "../../../src/parallel/coordinator.ts";
import type { CoordinatorEvent } from "../../../src/parallel/coordinator_events.ts";
import { divideBySpeed } from "../../../src/parallel/division.ts";
import { type Port, portOf } from "../../../src/parallel/port.ts";
import type { DenoiseState } from "../../../src/pipelines/denoise.ts";

/** The fake video: one channel, frames of 1 x 4. */
export const FRAMES = 9;
const WIDTH = 4;
export const SHAPE = [1, FRAMES, 1, WIDTH] as const;
export const NUM_STEPS = 6;
const LAYERS = 3;
export const TOKEN = "job-1";

/** A job as its coordinator describes it. */
export interface FakeJob {
  readonly plan: AttentionPlan;
  /** Forward passes of a step. @default one */
  readonly passes?: readonly ForwardPass[];
  /** @default never */
  readonly staleAfter?: number | undefined;
}

/** What happens inside a fake worker. */
export interface FakeHooks {
  /** Before every layer. */
  readonly onLayer?:
    | ((at: { step: number; layer: number; signal: AbortSignal }) => Promise<void> | void)
    | undefined;
  readonly speed?: ClipComputer["speed"];
}

/** Opens the fake job. */
export function openFake(job: unknown, { onLayer, speed }: FakeHooks = {}): Promise<ClipComputer> {
  const { plan, passes = ["conditional"], staleAfter } = job as FakeJob;
  const stale =
    staleAfter === undefined ? undefined : { warmUp: staleAfter, numSteps: NUM_STEPS, runs: () => true };
  const keys = {
    tokensPerFrame: 1,
    heads: 1,
    headDim: WIDTH,
    keyType: "f32",
    payload: "f32",
    stale,
  } as const;
  const run = async ({ clip, start, exchange, sharing, onStep, signal }: ClipWork): Promise<void> => {
    const own = framesOfRange(clip);
    let sample: Float32Array = start.slots.get("sample")!;
    for (let step = start.step; step < NUM_STEPS; step++) {
      const predictions = new Map<ForwardPass, Float32Array>();
      for (const pass of passes.filter((each) => sharing?.isOwn(each) ?? true)) {
        const exchanged = exchange.forPass({ step, pass, timestep: 1000 - step, plan });
        let x: Float32Array = Float32Array.from(sample, (value) =>
          Math.fround(value * (1 + PASSES.indexOf(pass))),
        );
        for (let layer = 0; layer < LAYERS; layer++) {
          await onLayer?.({ step, layer, signal });
          signal.throwIfAborted();
          x = await mix(x, { own, pass: exchanged, plan, step, layer });
        }
        predictions.set(pass, x);
        sharing?.publish({ step, pass }, x);
      }
      for (const pass of passes) {
        if (!predictions.has(pass)) predictions.set(pass, await sharing!.collect({ step, pass }));
      }
      const all = passes.map((pass) => predictions.get(pass)!);
      sample = all[0]!.map((_, i) => all.reduce((sum, x, n) => Math.fround(sum + x[i]! / (n + 1)), 0));
      await onStep({ step: step + 1, slots: new Map([["sample", sample]]) });
    }
  };
  return Promise.resolve({ keys, speed, run, dispose: () => undefined });
}

const PASSES: readonly ForwardPass[] = ["conditional", "unconditional", "perturbed"];

interface Mixing {
  readonly own: readonly number[];
  readonly pass: ContextExchange;
  readonly plan: AttentionPlan;
  readonly step: number;
  readonly layer: number;
}

async function mix(sample: Float32Array, { own, pass, plan, step, layer }: Mixing): Promise<Float32Array> {
  const frame = (data: Float32Array, index: number): Float32Array =>
    data.subarray(index * WIDTH, (index + 1) * WIDTH);
  const seen = new Map(own.map((number, index) => [number, frame(sample, index)]));
  const sends = pass.sends(layer);
  const bytes = Float32Array.from(sends.flatMap((number) => [...seen.get(number)!]));
  if (sends.length > 0) {
    const k = new Uint8Array(bytes.buffer);
    void pass.publish(layer, { frames: sends, parts: [k, k.slice()] });
  }
  const needs = pass.needs(layer);
  if (needs.length > 0) {
    const [k, v] = [new Float32Array(needs.length * WIDTH), new Float32Array(needs.length * WIDTH)];
    await pass.collect(layer, [new Uint8Array(k.buffer), new Uint8Array(v.buffer)], Promise.resolve());
    needs.forEach((number, index) => seen.set(number, frame(k, index)));
  }
  return mixFrames(own, (_query, key) => seen.get(key)!, { plan, step, layer });
}

/** A layer for some frames; `keyOf` is what a query frame sees of a key frame. */
function mixFrames(
  own: readonly number[],
  keyOf: (query: number, key: number) => Float32Array,
  { plan, step, layer }: Pick<Mixing, "plan" | "step" | "layer">,
): Float32Array {
  const out = new Float32Array(own.length * WIDTH);
  own.forEach((number, index) => {
    const moment = { layer, step, timestep: 0, tokensPerFrame: 1, heads: 1, numFrames: FRAMES };
    const others = neededFrames(plan, { start: number, end: number + 1 }, moment);
    const read = [...others, number].sort((a, b) => a - b);
    for (let i = 0; i < WIDTH; i++) {
      let sum = 0;
      for (const key of read) sum += keyOf(number, key)[i]! * Math.cos(key + layer);
      out[index * WIDTH + i] = Math.fround(Math.sin(sum + (step + 1) * keyOf(number, number)[i]!));
    }
  });
  return out;
}

/** What a run with keys of the step before comes to, in one place: the clips' lengths by the step they begin with. */
export function fakeTwin(
  plan: AttentionPlan,
  { staleAfter, clips }: { staleAfter: number; clips: ReadonlyMap<number, readonly number[]> },
): Float32Array {
  const all = framesOfRange({ start: 0, end: FRAMES });
  let sample: Float32Array = fakeStart().slots.get("sample")!;
  let before: Float32Array[] = [];
  let clipOf: number[] = [];
  for (let step = 0; step < NUM_STEPS; step++) {
    const begun = clips.get(step);
    if (begun) clipOf = begun.flatMap((length, clip) => Array<number>(length).fill(clip));
    const isStale = step >= staleAfter && begun === undefined;
    const now: Float32Array[] = [];
    for (let layer = 0; layer < LAYERS; layer++) {
      const x = sample;
      now.push(x);
      const keyOf = (query: number, key: number): Float32Array => {
        const from = isStale && clipOf[query] !== clipOf[key] ? before[layer]! : x;
        return from.subarray(key * WIDTH, (key + 1) * WIDTH);
      };
      sample = mixFrames(all, keyOf, { plan, step, layer });
    }
    before = now;
  }
  return sample;
}

/** The state every fake job starts from. */
export function fakeStart(): DenoiseState {
  const sample = Float32Array.from({ length: FRAMES * WIDTH }, (_, i) => Math.cos(3 * i + 1));
  return { step: 0, slots: new Map([["sample", sample]]) };
}

/** A coordinator of the fake job, and what it tells. */
export function fakeCoordinator(
  plan: AttentionPlan,
  options: Partial<CoordinatorOptions> = {},
): { coordinator: Coordinator; events: CoordinatorEvent[] } {
  const events: CoordinatorEvent[] = [];
  const coordinator = new Coordinator({
    job: { plan } satisfies FakeJob,
    token: TOKEN,
    shape: SHAPE,
    start: fakeStart(),
    numSteps: NUM_STEPS,
    divide: divideBySpeed({ pairs: Array.from({ length: FRAMES }, () => FRAMES) }),
    numWorkers: 1,
    stallMs: 400,
    onEvent: (event) => events.push(event),
    ...options,
  });
  return { coordinator, events };
}

/** Starts a fake worker on its end of a channel; `change` may put something between it and the channel. */
export function fakeWorker(
  name: string,
  hooks: FakeHooks & Partial<ClipWorkerOptions> = {},
  change: (port: Port) => Port = (port) => port,
): { port: Port; ended: Promise<void>; kill: () => void } {
  const { port1, port2 } = new MessageChannel();
  const { onLayer, speed, ...options } = hooks;
  const ended = runClipWorker({
    port: change(portOf(port2)),
    token: TOKEN,
    name,
    adapter: "none",
    open: (job) => openFake(job, { onLayer, speed }),
    heartbeatMs: 20,
    ...options,
  });
  return { port: portOf(port1), ended, kill: () => port2.close() };
}

/** The final sample of the job on one worker. */
export async function fakeAnswer(plan: AttentionPlan, passes?: FakeJob["passes"]): Promise<Float32Array> {
  const { coordinator } = fakeCoordinator(plan, { job: { plan, passes } });
  coordinator.add(fakeWorker("alone").port);
  return sampleOf(await coordinator.run());
}

/** The latents of a state. */
export function sampleOf({ slots }: DenoiseState): Float32Array {
  return slots.get("sample") ?? new Float32Array();
}
