// Attention by key-tile lists as ONNX nodes: the twin of the WGSL attention kernel, on heads [heads, rows, headDim].
// Query rows with the same keys are computed together and only the keys they see are taken, so sparse plans save time.
// Keys that are rotated differently (several passes) go through one softmax, so nothing is merged afterwards.

import type { KeyTileList, TileLists } from "../attention/tile_lists.ts";
import type { GraphBuilder, Value } from "../onnx/graph_builder.ts";
import { concat, matMulTransposed, slice, softmax } from "../onnx/graph_layers.ts";

/** Keys that share a rotation, and who sees them. */
export interface OnnxAttentionPass {
  /** [heads, query rows, headDim], rotated. */
  readonly q: Value;
  /** [heads, key rows, headDim], rotated. */
  readonly k: Value;
  readonly tiles: TileLists;
}

/** Operands of one attention. */
export interface OnnxAttentionOperands {
  /** At least one; all with the same query tiles. */
  readonly passes: readonly OnnxAttentionPass[];
  /** [heads, key rows, headDim]. */
  readonly v: Value;
  readonly heads: number;
  readonly headDim: number;
}

/** Logits that are in memory at a time: 64 MiB. */
const MAX_LOGITS = 2 ** 24;
/** Rows of a product that are enough to be fast. */
const MAX_ROWS = 256;

/** Adds softmax(q k^T / sqrt(headDim) + bias) v over the keys of the lists; rows that see nothing are 0. */
export function addAttention(graph: GraphBuilder, operands: OnnxAttentionOperands): Value {
  const groups = headGroups(operands);
  const parts = groups.map((group) => attendGroup(new RowPicker(graph), group, operands));
  if (groups.length === 1) return concat(graph, parts, 0);
  // Head h of the result is where the groups have put it.
  const order = groups.flatMap(({ heads }) => heads ?? []);
  const places = Array.from({ length: operands.heads }, (_, head) => order.indexOf(head));
  return graph.node("Gather", [concat(graph, parts, 0), graph.int64s("head_places", places)]);
}

/** Heads with the same lists in every pass. */
interface HeadGroup {
  /** Default all. */
  readonly heads: readonly number[] | undefined;
  readonly count: number;
  /** By pass: the key tiles of each query tile. */
  readonly lists: readonly (readonly KeyTileList[])[];
}

function headGroups({ passes, heads }: OnnxAttentionOperands): HeadGroup[] {
  const numLists = passes[0]?.tiles.lists.length ?? 0;
  const listsOf = (head: number): HeadGroup["lists"] => passes.map(({ tiles }) => tiles.lists[head] ?? []);
  if (numLists === 1) return [{ heads: undefined, count: heads, lists: listsOf(0) }];
  const groups: { heads: number[]; lists: HeadGroup["lists"] }[] = [];
  for (let head = 0; head < heads; head++) {
    const lists = listsOf(head);
    const group = groups.find((other) => other.lists.every((list, pass) => list === lists[pass]));
    if (group) group.heads.push(head);
    else groups.push({ heads: [head], lists });
  }
  return groups.map((group) => ({ ...group, count: group.heads.length }));
}

/** Key rows that follow each other with one bias. */
interface KeyRun {
  readonly start: number;
  end: number;
  readonly bias: number;
}

/** Query rows that see the same keys. */
interface Chunk {
  readonly start: number;
  end: number;
  /** By pass. */
  readonly keys: readonly (readonly KeyRun[])[];
  readonly key: string;
}

function attendGroup(picker: RowPicker, group: HeadGroup, operands: OnnxAttentionOperands): Value {
  const { passes, v, headDim } = operands;
  const { graph } = picker;
  const ofHeads = (x: Value): Value => (group.heads ? picker.heads(x, group.heads) : x);
  const scale = 1 / Math.sqrt(headDim);
  const parts = chunksOf(passes, group).map(({ start, end, keys }) => {
    const seen = keys.flatMap((runs, pass) => (runs.length > 0 ? [{ runs, pass }] : []));
    if (seen.length === 0) return zeros(graph, [group.count, end - start, headDim]);
    const logits = seen.map(({ runs, pass }) => {
      const { q, k } = passes[pass] ?? { q: v, k: v };
      const queries = picker.rows(ofHeads(q), [{ start, end, bias: 0 }]);
      return addBias(graph, matMulTransposed(graph, queries, picker.rows(ofHeads(k), runs), scale), runs);
    });
    const values = seen.map(({ runs }) => picker.rows(ofHeads(v), runs));
    const weights = softmax(graph, concat(graph, logits, 2));
    return graph.node("MatMul", [weights, concat(graph, values, 1)]);
  });
  return concat(graph, parts, 1);
}

function chunksOf(passes: readonly OnnxAttentionPass[], { lists, count }: HeadGroup): Chunk[] {
  const chunks: Chunk[] = [];
  const known = new Map<KeyTileList, KeyRun[]>();
  passes[0]?.tiles.queries.forEach(({ start, rows }, tile) => {
    const keys = lists.map((list) => {
      const keyTiles = list[tile] ?? [];
      const runs = known.get(keyTiles) ?? runsOf(keyTiles);
      known.set(keyTiles, runs);
      return runs;
    });
    const key = JSON.stringify(keys);
    const last = chunks.at(-1);
    const numKeys = keys.flat().reduce((sum, run) => sum + run.end - run.start, 0);
    const limit = Math.min(MAX_ROWS, Math.max(rows, Math.floor(MAX_LOGITS / (count * Math.max(1, numKeys)))));
    if (last?.key === key && last.end === start && start + rows - last.start <= limit)
      last.end = start + rows;
    else chunks.push({ start, end: start + rows, keys, key });
  });
  return chunks;
}

function runsOf(tiles: KeyTileList): KeyRun[] {
  const runs: KeyRun[] = [];
  for (const { start, rows, bias = 0 } of tiles) {
    const last = runs.at(-1);
    if (last?.end === start && last.bias === bias) last.end += rows;
    else runs.push({ start, end: start + rows, bias });
  }
  return runs;
}

function addBias(graph: GraphBuilder, logits: Value, runs: readonly KeyRun[]): Value {
  if (runs.every(({ bias }) => bias === 0)) return logits;
  const row = runs.flatMap(({ start, end, bias }) => Array<number>(end - start).fill(bias));
  return graph.node("Add", [logits, graph.constant("bias", [row.length], Float32Array.from(row))]);
}

function zeros(graph: GraphBuilder, shape: readonly number[]): Value {
  return graph.constant("nothing", shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));
}

/** Takes rows and heads of values; what was taken before is not taken again. */
class RowPicker {
  readonly graph: GraphBuilder;
  readonly #taken = new Map<string, Value>();

  constructor(graph: GraphBuilder) {
    this.graph = graph;
  }

  /** Rows (axis 1) of the runs, one after the other. */
  rows(x: Value, runs: readonly KeyRun[]): Value {
    const key = `${x.name} ${runs.map(({ start, end }) => `${start}-${end}`).join()}`;
    return this.#once(key, () =>
      concat(
        this.graph,
        runs.map(({ start, end }) => slice(this.graph, x, { start, end, axis: 1 })),
        1,
      ),
    );
  }

  /** Some heads (axis 0). */
  heads(x: Value, heads: readonly number[]): Value {
    return this.#once(`${x.name} heads`, () =>
      this.graph.node("Gather", [x, this.graph.int64s("heads", heads)]),
    );
  }

  #once(key: string, make: () => Value): Value {
    const value = this.#taken.get(key) ?? make();
    this.#taken.set(key, value);
    return value;
  }
}
