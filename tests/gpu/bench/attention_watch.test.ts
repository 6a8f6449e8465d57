// What the bench of restarts reads back is what the attention kernel was given.
import { expect, test } from "vitest";
import { freeTileLists, uploadTileLists } from "../../../src/attention/tile_lists.ts";
import { attention } from "../../../src/ops/attention.ts";
import { AttentionWatch } from "../../bench/attention_watch.ts";
import { ADAPTER_TITLE, FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operand, Operands } from "../ops/run_op.ts";

const gpu = useGpu();

test.each(FLOAT_TYPES)(`operands of every dispatch, %s (${ADAPTER_TITLE})`, async (dtype) => {
  const operands = new Operands(gpu());
  const [q, k, v] = [5, 70, 70].map((rows) => operands.random([rows, 16], { dtype })) as [
    Operand,
    Operand,
    Operand,
  ];
  const queries = [
    { start: 0, rows: 3 },
    { start: 3, rows: 2 },
  ];
  const long = [
    { start: 2, rows: 64, bias: 0 },
    { start: 66, rows: 4, bias: 1.5 },
  ];
  const short = [{ start: 1, rows: 1, bias: 0 }];
  const tiles = uploadTileLists(
    gpu(),
    {
      queries,
      lists: [
        [long, short],
        [short, []],
      ],
    },
    "test",
  );
  const watch = new AttentionWatch(gpu(), "test");
  for (const scale of [0.5, 2]) {
    const result = attention(watch, { q: q.tensor, k: k.tensor, v: v.tensor, tiles, heads: 2, scale });
    watch.release(result.out.buffer); // what is read is copied before others write there
    watch.release(result.lse.buffer);
  }
  await watch.submit();
  expect(watch.seen.map(({ keys }) => keys)).toEqual([k.tensor.buffer, k.tensor.buffer]);
  const [first, second] = await Promise.all(watch.seen.map(({ operands: seen }) => seen));
  expect(first).toMatchObject({ heads: 2, headDim: 8, scale: 0.5, numQueryTiles: 2, perHead: true });
  expect(first?.q).toEqual(q.values);
  expect(first?.k).toEqual(k.values);
  const lists = [0, 3, 0, 2, 3, 2, 2, 3, 0, 3, 2, 3, 3, 2, 3, 3];
  expect(Array.from(first?.queryTiles ?? [])).toEqual(lists);
  expect(first?.keyTiles).toEqual([...long, ...short]);
  expect(second).toEqual({ ...first, scale: 2 });
  freeTileLists(gpu(), tiles);
  operands.free();
});
