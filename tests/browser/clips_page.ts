// The page of clips.test.ts, in two parts: a tab that renders, and helper tabs (`#TAB.INVITATION`), which it opens, or
// which come through the broker. Not a test.
import { dualScope, full, tile } from "../../src/attention/plan_constructors.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { runClipWorker } from "../../src/parallel/clip_worker.ts";
import { Coordinator } from "../../src/parallel/coordinator.ts";
import { divideBySpeed } from "../../src/parallel/division.ts";
import { GuestList } from "../../src/parallel/guest_list.ts";
import { livingPort } from "../../src/parallel/living_port.ts";
import { connectToBroker } from "../../src/parallel/port_broker.ts";
import { acceptOpened, portToOpener } from "../../src/parallel/tab_port.ts";
import { visit } from "../../src/parallel/visit.ts";
import { tabLock, takeLock } from "../../src/parallel/web_lock.ts";
import { relativeL2 } from "../reference/compare.ts";
import {
  NUM_STEPS,
  openSmallTransformer,
  renderAlone,
  SHAPE,
  smallComputer,
  type SmallJob,
  START,
} from "../reference/small_render.ts";
import { meddling, type Meddling } from "./meddling.ts";

const TOKEN = "clips-test";
const TAB = "renders";
const INVITATION = "please-come";
const PLANS = { full: full(), "dual-scope": dualScope({ window: 1, anchors: 2 }), tile: tile(2) };

/** What came of a render in tabs. */
export interface TabsResult {
  /** Relative L2 to one tab's latents. */
  readonly error: number;
  /** Who was lost and why, and how many clips there were, in order. */
  readonly lost: readonly string[];
  readonly reasons: readonly string[];
  readonly clips: readonly number[];
}

/** A render in tabs. */
export interface TabsRender {
  readonly plan: keyof typeof PLANS;
  readonly tabs: number;
  /** The test opens them, and they come through the broker. */
  readonly areOpened?: boolean;
  /** Tells the test when this step was taken, and waits until it has answered. */
  readonly pauseAt?: number;
  readonly stallMs?: number;
}

/** What the test calls through page.evaluate. */
export interface ClipsPage {
  render(options: TabsRender): Promise<TabsResult>;
  /** What somebody without an invitation hears when they ask, and are sent away. */
  refuse(): Promise<void>;
  /** How often somebody has asked. */
  asked(): number;
}

declare const onStepTaken: (step: number) => Promise<void>;

async function startHost(): Promise<void> {
  await takeLock(tabLock(TAB));
  const guests = new GuestList({ invitation: INVITATION });
  const broker = connectToBroker(newBroker());
  broker.lead(TAB, (port) => guests.receive(port));
  acceptOpened(TAB, (port) => guests.receive(port));
  const clipsPage: ClipsPage = {
    render: (options) => render(guests, options),
    async refuse() {
      for (const { id } of guests.asking) guests.answer(id, false);
    },
    asked: () => guests.asking.length,
  };
  Object.assign(globalThis, { clipsPage });
}

async function render(guests: GuestList, options: TabsRender): Promise<TabsResult> {
  const { plan: name, tabs, areOpened, pauseAt, stallMs = 20_000 } = options;
  const plan = PLANS[name];
  const result = { lost: [] as string[], reasons: [] as string[], clips: [] as number[] };
  const coordinator = new Coordinator({
    job: { plan, payload: "f32" } satisfies SmallJob,
    token: TOKEN,
    shape: SHAPE,
    start: START,
    numSteps: NUM_STEPS,
    divide: divideBySpeed({ pairs: Array.from({ length: SHAPE[1] }, () => SHAPE[1]) }),
    numWorkers: tabs,
    stallMs,
    onStep: async ({ step }) => {
      if (step === pauseAt) await onStepTaken(step);
    },
    onEvent: (event) => {
      if (event.type === "lost") {
        result.lost.push(event.worker);
        result.reasons.push(event.reason);
      }
      if (event.type === "shared") result.clips.push(event.clips.length);
    },
  });
  guests.begin({
    token: TOKEN,
    prompt: "numbers",
    onWorker: ({ clips, lock }) => coordinator.add(livingPort(clips, { lock })),
  });
  const windows: (Window | null)[] = [];
  for (let i = 0; i < tabs && !areOpened; i++) {
    windows.push(globalThis.open(`${globalThis.location.pathname}#${TAB}.${INVITATION}`));
  }
  const { slots } = await coordinator.run();
  guests.end();
  for (const each of windows) each?.close();
  return { ...result, error: relativeL2(slots.get("sample") ?? [], await latentsAlone(name)) };
}

let transformer: ReturnType<typeof openSmallTransformer> | undefined;
const alone = new Map<keyof typeof PLANS, Promise<Float32Array>>();

/** One tab's latents; computed once, since a software adapter takes seconds to compile their kernels. */
function latentsAlone(name: keyof typeof PLANS): Promise<Float32Array> {
  const known = alone.get(name);
  if (known) return known;
  transformer ??= Gpu.open().then(openSmallTransformer);
  const latents = transformer.then((opened) => renderAlone(opened, { plan: PLANS[name] }));
  alone.set(name, latents);
  return latents;
}

/** What the test sees of a helper: what its host has said, and how it behaves. */
export interface HelperPage {
  readonly heard: string[];
  meddling: Meddling;
}

async function startHelper(tab: string, invitation: string | undefined): Promise<void> {
  const helperPage: HelperPage = { heard: [], meddling: "none" };
  Object.assign(globalThis, { helperPage });
  const lock = `weft-helper:${crypto.randomUUID()}`;
  await takeLock(lock);
  const port = portToOpener(tab) ?? (await connectToBroker(newBroker()).join(tab));
  if (port === undefined) throw new Error("The broker knows no such tab.");
  visit(
    port,
    { invitation, lock },
    {
      onAsked: () => helperPage.heard.push("asked"),
      onAdmitted: (name) => helperPage.heard.push(`admitted as ${name}`),
      onRefused: (reason) => helperPage.heard.push(reason),
      onOver: () => undefined,
      onJob: ({ token, clips }) => {
        void runClipWorker({
          port: meddling(livingPort(clips, { lock: tabLock(tab) }), () => helperPage.meddling),
          token,
          name: helperPage.heard.at(-1)?.slice("admitted as ".length) ?? "",
          adapter: "a tab",
          open: async (job) => smallComputer(await openSmallTransformer(await Gpu.open()), job as SmallJob),
        });
      },
    },
  );
}

function newBroker(): MessagePort {
  return new SharedWorker(new URL("../../src/ui/broker_worker.ts", import.meta.url), { type: "module" }).port;
}

const [tab = "", invitation] = globalThis.location.hash.slice(1).split(".");
await (tab === "" ? startHost() : startHelper(tab, invitation));
