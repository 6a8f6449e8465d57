// In which order a clip sends, computes and waits: what it records, against a list.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { Segments } from "../../../src/dit/segments.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { innerDim } from "../../../src/dit/transformer_config.ts";
import { SMALL_WAN } from "../../reference/small_wan.ts";
import { useGpu } from "../device.ts";
import { clipsOf, problemOf, runClips, useDevices } from "./split_runs.ts";

useGpu(); // holds WebGPU open for this file
const devices = useDevices(2);

const FRAME_ELEMENTS = 16 * innerDim(SMALL_WAN);
const LSE_FRAMES = SMALL_WAN.num_attention_heads / innerDim(SMALL_WAN);
/** An answer for one frame, which comes with a log-sum-exp for each head; and one that is spread over three frames. */
const RESULT_FRAMES = 1 + LSE_FRAMES;
const SPREAD_FRAMES = 1 + 3 * LSE_FRAMES;

let spies: ReturnType<typeof spyOnRecording>;

beforeEach(() => {
  spies = spyOnRecording();
});

afterEach(() => {
  for (const spy of Object.values(spies)) spy.mockRestore();
});

function spyOnRecording() {
  return {
    dispatch: vi.spyOn(Recorder.prototype, "dispatch"),
    read: vi.spyOn(Segments.prototype, "read"),
    upload: vi.spyOn(Segments.prototype, "upload"),
  };
}

/**
 * What a clip of the three-layer model recorded, with numbers of frames; the same thing several times in a row once.
 *
 * @param counted kernels, besides what travels, and how many frames of the clip a launch of them is about
 */
function orderOf(clip: number, counted: Counted = AFTER_ATTENTION): string[] {
  const { dispatch, read, upload } = spies;
  const events = [
    ...dispatch.mock.calls.flatMap(([{ kernel, params }], i) => {
      if (!counted.stems.includes(kernel.stem)) return [];
      const frames = counted.frames(params);
      const order = dispatch.mock.invocationCallOrder[i]!;
      const { gpu } = dispatch.mock.contexts[i] as Recorder;
      return [{ order, gpu, name: `${counted.name} ${frames}` }];
    }),
    ...(
      [
        ["send", read],
        ["wait", upload],
      ] as const
    ).flatMap(([name, { mock }]) =>
      mock.calls.map(([ranges], i) => {
        const { gpu } = (mock.contexts[i] as Segments).recorder;
        return { order: mock.invocationCallOrder[i]!, gpu, name: `${name} ${framesIn(ranges)}` };
      }),
    ),
  ];
  const own = events.filter(({ gpu }) => gpu === devices()[clip]?.gpu);
  const names = own.sort((a, b) => a.order - b.order).map(({ name }) => name);
  return names.filter((name, i) => name !== names[i - 1]);
}

function framesIn(ranges: readonly { readonly size: number }[]): number {
  return ranges.reduce((sum, { size }) => sum + size, 0) / (4 * FRAME_ELEMENTS);
}

interface Counted {
  readonly stems: readonly string[];
  readonly name: string;
  readonly frames: (params: Recorded["params"]) => number;
}

type Recorded = Parameters<Recorder["dispatch"]>[0];

/** Recorded three times for rows that go through what comes after attention together. */
const AFTER_ATTENTION: Counted = {
  stems: ["gate_residual"],
  name: "rows",
  frames: ({ count4 }) => (4 * Number(count4)) / FRAME_ELEMENTS,
};
/** Over video or text, by the kernel that the adapter takes. */
const ATTENTION: Counted = {
  stems: ["attention", "attention_direct"],
  name: "attend",
  frames: ({ num_queries: queries }) => Number(queries) / 16,
};

const DUAL = { ...problemOf(dualScope({ window: 1, anchors: 2 })), mode: "hidden_states" } as const;

describe("what others need leaves before the other rows are computed", () => {
  test("under dual-scope attention, but in the last layer", async () => {
    await runClips(DUAL, clipsOf(5, 7));
    const early = ["wait 1", "rows 3", "send 3", "rows 2"];
    expect(orderOf(0)).toEqual(["send 3", ...early, ...early, "wait 1", "rows 5"]);
  });

  test("where the own clip answers others' queries", async () => {
    await runClips({ ...problemOf(tile(2)), mode: "fewest" }, clipsOf(3, 7));
    const answer = `send ${RESULT_FRAMES}`;
    const early = ["wait 3", answer, "rows 1", "send 1", "rows 3"];
    expect(orderOf(1)).toEqual(["send 1", ...early, ...early, "wait 3", answer, "rows 4"]);
  });
});

test("frames that others need attend to others' keys, and to the text, before the rest does", async () => {
  await runClips(DUAL, clipsOf(5, 7));
  const early = ["attend 3", "attend 2", "wait 1", "attend 3", "send 3", "attend 2"];
  const last = ["attend 5", "wait 1", "attend 5"];
  expect(orderOf(0, ATTENTION)).toEqual(["send 3", ...early, ...early, ...last]);
});

test("frames that visit others attend at home with all others, before the answers to others", async () => {
  await runClips({ ...problemOf(tile(2)), mode: "fewest" }, clipsOf(3, 7));
  const layer = ["send 3", "attend 3", "wait 1", "attend 3", "attend 2", `wait ${SPREAD_FRAMES}`, "attend 1"];
  expect(orderOf(0, ATTENTION)).toEqual([...layer, ...layer, ...layer]);
});

test("rows that do not visit others are computed before the results of those that do are waited for", async () => {
  await runClips({ ...problemOf(tile(2)), mode: "fewest" }, clipsOf(3, 7));
  const layer = ["send 3", "wait 1", "rows 2", `wait ${SPREAD_FRAMES}`, "rows 1"];
  expect(orderOf(0)).toEqual([...layer, ...layer, ...layer]);
});

describe("all rows are computed at once", () => {
  test("where others need all of them", async () => {
    await runClips({ ...problemOf(full()), mode: "hidden_states" }, clipsOf(5, 7));
    const layer = ["send 5", "wait 2", "rows 5"];
    expect(orderOf(0)).toEqual([...layer, ...layer, ...layer]);
  });

  test("where nobody needs any", async () => {
    await runClips(DUAL, clipsOf(7));
    expect(orderOf(0)).toEqual(["rows 7"]);
  });

  test("where keys and values travel", async () => {
    await runClips({ ...DUAL, mode: "keys" }, clipsOf(5, 7));
    const layer = ["send 6", "wait 2", "rows 5"];
    expect(orderOf(0)).toEqual([...layer, ...layer, ...layer]);
  });
});
