// The page of clips.test.ts, in two parts: a tab that renders, and helper tabs that it opens (`#NAME`). Not a test.
import { dualScope, full, tile } from "../../src/attention/plan_constructors.ts";
import { Gpu } from "../../src/gpu/gpu.ts";
import { runClipWorker } from "../../src/parallel/clip_worker.ts";
import { Coordinator } from "../../src/parallel/coordinator.ts";
import { divideBySpeed } from "../../src/parallel/division.ts";
import { acceptTabs, portToOpener } from "../../src/parallel/tab_port.ts";
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

const TOKEN = "clips-test";
const PLANS = { full: full(), "dual-scope": dualScope({ window: 1, anchors: 2 }), tile: tile(2) };

/** What came of a render in tabs. */
export interface TabsResult {
  /** Relative L2 to one tab's latents. */
  readonly error: number;
  /** Who was lost, and how many clips there were, in order. */
  readonly lost: readonly string[];
  readonly clips: readonly number[];
}

/** What the test calls through page.evaluate. */
export interface ClipsPage {
  /** @param closing closes this tab when a step was taken, as a user would */
  render(
    plan: keyof typeof PLANS,
    tabs: number,
    closing?: { tab: number; step: number },
  ): Promise<TabsResult>;
}

const clipsPage: ClipsPage = {
  async render(name, count, closing) {
    const plan = PLANS[name];
    const result = { lost: [] as string[], clips: [] as number[] };
    const windows: (Window | null)[] = [];
    const coordinator = new Coordinator({
      job: { plan, payload: "f32" } satisfies SmallJob,
      token: TOKEN,
      shape: SHAPE,
      start: START,
      numSteps: NUM_STEPS,
      divide: divideBySpeed({ pairs: Array.from({ length: SHAPE[1] }, () => SHAPE[1]) }),
      numWorkers: count,
      stallMs: 20_000,
      onStep: ({ step }) => {
        if (step === closing?.step) windows[closing.tab]?.close();
      },
      onEvent: (event) => {
        if (event.type === "lost") result.lost.push(event.worker);
        if (event.type === "shared") result.clips.push(event.clips.length);
      },
    });
    const stop = acceptTabs(TOKEN, (port) => coordinator.add(port));
    for (let i = 0; i < count; i++) windows.push(globalThis.open(`${globalThis.location.pathname}#tab ${i}`));
    const { slots } = await coordinator.run();
    stop();
    for (const each of windows) each?.close();
    const wanted = await renderAlone(await openSmallTransformer(await Gpu.open()), { plan });
    return { ...result, error: relativeL2(slots.get("sample") ?? [], wanted) };
  },
};

const name = decodeURIComponent(globalThis.location.hash.slice(1));
if (name === "") Object.assign(globalThis, { clipsPage });
else {
  await runClipWorker({
    port: portToOpener(TOKEN),
    token: TOKEN,
    name,
    adapter: "a tab",
    open: async (job) => smallComputer(await openSmallTransformer(await Gpu.open()), job as SmallJob),
  });
}
