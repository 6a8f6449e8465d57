// Random plans, random clips: what a clip holds and what it is sent are together exactly the keys its queries see.
import { describe, expect, test } from "vitest";
import { type FrameRange, framesOfRange } from "../../../src/attention/frame_range.ts";
import { resolveRule, type ResolvedRule } from "../../../src/attention/frame_rules.ts";
import { neededFrames, seenFrames } from "../../../src/attention/needed_frames.ts";
import { type AttentionPlan, ruleOf } from "../../../src/attention/plan.ts";
import { dualScope, full, tile } from "../../../src/attention/plan_constructors.ts";
import { placeKey } from "../../../src/attention/positions.ts";
import { passLists, type PassLists } from "../../../src/attention/rule_lists.ts";
import {
  exchangeBytes,
  exchangePlan,
  type Partition,
  type Transfer,
} from "../../../src/parallel/exchange_plan.ts";
import type { RowsKind } from "../../../src/parallel/key_codec.ts";
import { type Draw, draws, randomPlan } from "../../reference/random_plan.ts";

const HEADS = 2;

function rulesOf(plan: AttentionPlan, numFrames: number, layer: number): ResolvedRule[] {
  return Array.from({ length: HEADS }, (_, head) =>
    resolveRule(ruleOf(plan, { layer, head }), { numFrames, layer, step: 1, timestep: 600 }),
  );
}

/** Clips of random length, at least one frame each. */
function randomPartition(draw: Draw, numFrames: number): Partition {
  const clips: FrameRange[] = [];
  for (let start = 0; start < numFrames;) {
    const end = Math.min(numFrames, start + 1 + draw(4));
    clips.push({ start, end });
    start = end;
  }
  return clips;
}

interface Reading {
  readonly passes: readonly PassLists[];
  /** Frames of the rows of q and of k. */
  readonly queries: readonly number[];
  readonly keys: readonly number[];
}

/** Every (head, query tile's first token, key token, rotation, bias) that is read, in tokens of the video; sorted. */
function readings({ passes, queries, keys }: Reading, perFrame: number): string[] {
  const token = (frames: readonly number[], row: number): number =>
    frames[Math.floor(row / perFrame)]! * perFrame + (row % perFrame);
  const rows = ({ start, rows: count }: { start: number; rows: number }): number[] =>
    Array.from({ length: count }, (_, i) => start + i);
  return passes
    .flatMap(({ positions, tiles }) =>
      tiles.lists.flatMap((list, head) =>
        list.flatMap((keyTiles, index) =>
          keyTiles.flatMap((keyTile) =>
            rows(keyTile).map((k) =>
              [
                head,
                token(queries, tiles.queries[index]!.start),
                token(keys, k),
                placeKey(positions.query),
                placeKey(positions.key),
                keyTile.bias ?? 0,
              ].join(" "),
            ),
          ),
        ),
      ),
    )
    .sort();
}

describe("exchangePlan", () => {
  test.each(Array.from({ length: 60 }, (_, seed) => seed))(
    "random plan %d: own and received keys are the whole video's, each once",
    (seed) => {
      const draw = draws(seed + 900);
      const numFrames = 2 + draw(7);
      const tokensPerFrame = [1, 3, 65, 129][draw(4)]!;
      const plan = { ...randomPlan(draw, { frames: numFrames, heads: HEADS }), perturbations: [] };
      const layer = draw(3);
      const rules = rulesOf(plan, numFrames, layer);
      const partition = randomPartition(draw, numFrames);
      const moment = { tokensPerFrame, heads: HEADS, layer, step: 1, timestep: 600 };
      const transfers = exchangePlan(plan, partition, moment);
      const grid = { numFrames, tokensPerFrame };
      const all = framesOfRange({ start: 0, end: numFrames });
      const whole = readings({ passes: passLists(rules, grid), queries: all, keys: all }, tokensPerFrame);
      const found = partition.flatMap((clip, to) => {
        const queries = framesOfRange(clip);
        const received = transfers.filter((each) => each.to === to).flatMap(({ frames }) => frames);
        return [queries, received].flatMap((keys) => {
          const rowOfKeys = (frame: number): number | undefined =>
            keys.includes(frame) ? keys.indexOf(frame) * tokensPerFrame : undefined;
          const passes = passLists(rules, grid, { queries, rowOfKeys });
          return readings({ passes, queries, keys }, tokensPerFrame);
        });
      });
      expect(found.sort()).toEqual(whole);
      // Every frame travels from its owner, and is read.
      for (const { from, to, frames } of transfers) {
        expect(from).not.toBe(to);
        for (const frame of frames) {
          expect(frame >= partition[from]!.start && frame < partition[from]!.end).toBe(true);
          const rowOfKeys = (key: number): number | undefined => (key === frame ? 0 : undefined);
          const passes = passLists(rules, grid, { queries: framesOfRange(partition[to]!), rowOfKeys });
          expect(passes.some(({ tiles }) => tiles.lists.flat(2).length > 0)).toBe(true);
        }
      }
    },
  );

  const MOMENT = { tokensPerFrame: 4, heads: HEADS, layer: 0, step: 0, timestep: 900 };
  const CLIPS: Partition = [
    { start: 0, end: 4 },
    { start: 4, end: 6 },
    { start: 6, end: 9 },
  ];

  test("full attention sends everything to everybody", () => {
    expect(
      exchangePlan(full(), CLIPS, MOMENT).map(({ from, to, frames }) => [from, to, frames.length]),
    ).toEqual([
      [1, 0, 2],
      [2, 0, 3],
      [0, 1, 4],
      [2, 1, 3],
      [0, 2, 4],
      [1, 2, 2],
    ]);
  });

  test("dual-scope sends halo frames to neighbours and anchors to all", () => {
    const plan = dualScope({ window: 1, anchors: 1, anchorRule: "uniform" });
    expect(exchangePlan(plan, CLIPS, MOMENT)).toEqual([
      { kind: "keys", from: 1, to: 0, frames: [4] },
      { kind: "keys", from: 0, to: 1, frames: [0, 3] },
      { kind: "keys", from: 2, to: 1, frames: [6] },
      { kind: "keys", from: 0, to: 2, frames: [0] },
      { kind: "keys", from: 1, to: 2, frames: [5] },
    ]);
  });

  test("the owner of a tile plan's reference frame is sent everything, others its reference frames", () => {
    expect(exchangePlan(tile(1), CLIPS, MOMENT)).toEqual([
      { kind: "keys", from: 1, to: 0, frames: [4, 5] },
      { kind: "keys", from: 2, to: 0, frames: [6, 7, 8] },
      { kind: "keys", from: 0, to: 1, frames: [0] },
      { kind: "keys", from: 0, to: 2, frames: [0] },
    ]);
  });

  test("hidden states go where keys would", () => {
    const plan = dualScope({ window: 1, anchors: 1, anchorRule: "uniform" });
    const expected = exchangePlan(plan, CLIPS, MOMENT).map((each) => {
      return { ...each, kind: "hidden_states", keys: each.frames };
    });
    expect(exchangePlan(plan, CLIPS, MOMENT, "hidden_states")).toEqual(expected);
    expect(exchangePlan(plan, CLIPS, MOMENT, "fewest")).toEqual(expected);
  });

  test("or its queries are answered by the others, where that is less; frames that are there anyway are sent once", () => {
    // Frame 0 sees everything: clip 2 has it, so its query sees 6, 7 and 8 there for one result.
    expect(exchangePlan(tile(1), CLIPS, MOMENT, "fewest")).toEqual([
      { kind: "hidden_states", from: 1, to: 0, frames: [4, 5], keys: [4, 5] },
      { kind: "results", from: 2, to: 0, frames: [0] },
      { kind: "hidden_states", from: 0, to: 1, frames: [0], keys: [0] },
      { kind: "hidden_states", from: 0, to: 2, frames: [0], keys: [0] },
    ]);
    // Everybody sees everything: queries would only be fewer in clips much shorter than their neighbours.
    expect(exchangePlan(full(), CLIPS, MOMENT, "fewest")).toEqual(
      exchangePlan(full(), CLIPS, MOMENT, "hidden_states"),
    );
    const uneven = [
      { start: 0, end: 1 },
      { start: 1, end: 9 },
    ];
    expect(exchangePlan(full(), uneven, MOMENT, "fewest")).toEqual([
      { kind: "results", from: 1, to: 0, frames: [0] },
      { kind: "hidden_states", from: 0, to: 1, frames: [0], keys: [0] },
    ]);
  });

  test.each(Array.from({ length: 60 }, (_, seed) => seed))(
    "random plan %d: with answers, too, every pair is computed, and no more bytes travel than as keys",
    (seed) => {
      const draw = draws(seed + 300);
      const numFrames = 2 + draw(9);
      const tokensPerFrame = [1, 3, 65, 129][draw(4)]!;
      const plan =
        seed % 3 === 0 ? tile(1 + draw(numFrames)) : randomPlan(draw, { frames: numFrames, heads: HEADS });
      const partition = randomPartition(draw, numFrames);
      const moment = { tokensPerFrame, heads: HEADS, layer: draw(3), step: 1, timestep: 600 };
      const transfers = exchangePlan(plan, partition, moment, "fewest");
      const seen = seenFrames(plan, { ...moment, numFrames });
      const clipOf = (frame: number): number =>
        partition.findIndex(({ start, end }) => frame >= start && frame < end);
      const find = (kind: RowsKind, from: number, to: number): Transfer | undefined =>
        transfers.find((each) => each.kind === kind && each.from === from && each.to === to);
      const keysOf = (transfer: Transfer | undefined): readonly number[] =>
        transfer?.kind === "hidden_states" ? transfer.keys : [];
      const answered = (query: number, owner: number): boolean =>
        find("results", owner, clipOf(query))?.frames.includes(query) ?? false;
      for (const [query, keys] of seen.entries()) {
        for (const key of keys) {
          const [asking, owner] = [clipOf(query), clipOf(key)];
          if (asking === owner) continue;
          const comes = keysOf(find("hidden_states", owner, asking)).includes(key);
          expect(comes || answered(query, owner)).toBe(true);
        }
      }
      for (const transfer of transfers) {
        const { kind, from, to, frames } = transfer;
        expect(from).not.toBe(to);
        // Whoever answers was sent the query; and whatever is sent is a key of somebody who stays, or such a query.
        if (kind === "results") {
          const sent = find("hidden_states", to, from)?.frames ?? [];
          expect(frames.every((frame) => sent.includes(frame))).toBe(true);
          continue;
        }
        for (const frame of frames) {
          const isKey = seen.some((all, query) => {
            return clipOf(query) === to && all.includes(frame) && !answered(query, from);
          });
          expect(keysOf(transfer).includes(frame)).toBe(isKey);
          expect(isKey || answered(frame, to)).toBe(true);
        }
      }
      const rows = { heads: HEADS, headDim: 64, tokensPerFrame };
      const bytes = (all: readonly Transfer[]): number => exchangeBytes(all, rows, "f16");
      const asKeys = bytes(exchangePlan(plan, partition, moment));
      expect(bytes(transfers)).toBeLessThanOrEqual(
        bytes(exchangePlan(plan, partition, moment, "hidden_states")),
      );
      expect(bytes(exchangePlan(plan, partition, moment, "hidden_states"))).toBe(asKeys / 2);
    },
  );

  test("heads that are perturbed wholly need nothing", () => {
    const alone = { ...full(), perturbations: [{ layers: [0], strength: 1 }] };
    expect(neededFrames(alone, CLIPS[0]!, { ...MOMENT, numFrames: 9 })).toEqual([]);
    expect(neededFrames(alone, CLIPS[0]!, { ...MOMENT, numFrames: 9, layer: 1 })).toEqual([4, 5, 6, 7, 8]);
  });

  test("bytes: two matrices of the frames' tokens", () => {
    const rows = { heads: 12, headDim: 128, tokensPerFrame: 1560 };
    const transfers = [{ kind: "keys", from: 0, to: 1, frames: [3, 4] }] as const;
    expect(exchangeBytes(transfers, rows, "f16")).toBe(2 * 2 * 1560 * 1536 * 2);
    expect(exchangeBytes(transfers, rows, "f32")).toBe(2 * 2 * 1560 * 1536 * 4);
    expect(exchangeBytes(transfers, rows, "int8")).toBe(2 * 2 * 1560 * (1536 + 12 * 4));
    const visit = [
      { kind: "hidden_states", from: 0, to: 1, frames: [3], keys: [] },
      { kind: "results", from: 1, to: 0, frames: [3] },
    ] as const;
    expect(exchangeBytes(visit, rows, "f16")).toBe(1560 * (2 * 1536 * 2 + 12 * 4));
  });
});
