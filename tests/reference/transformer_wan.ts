// Twin of src/dit/transformer_wan.ts: a whole forward pass of WanTransformer3DModel in f64, with every padded text row.
// Written from diffusers' models/transformers/transformer_wan.py; it shares no code with src.
import * as la from "./linear_algebra.ts";
import { modulation } from "./modulation.ts";
import { patchify, type PatchProblem } from "./patchify.ts";
import { rope3d } from "./rope_3d.ts";
import { unpatchify } from "./unpatchify.ts";

/** The keys of transformer/config.json that change the arithmetic. */
interface TransformerShape {
  readonly num_attention_heads: number;
  readonly attention_head_dim: number;
  readonly num_layers: number;
  readonly freq_dim: number;
  readonly text_dim: number;
  readonly eps: number;
}

/** One forward pass. */
export interface TransformerProblem {
  readonly config: TransformerShape;
  /** A weight by its checkpoint name. */
  readonly weight: (name: string) => ArrayLike<number>;
  readonly latents: ArrayLike<number>;
  /** [channels, T, h, w] of the latents. */
  readonly shape: readonly [number, number, number, number];
  readonly timestep: number;
  /** [rows, text_dim]: the prompt, padded with zeros to the length that the pipeline pads to. */
  readonly text: ArrayLike<number>;
  /** SoftPAG's u of a head; default 0 everywhere. */
  readonly strength?: (layer: number, head: number) => number;
  /** Blocks that are left out; default none. */
  readonly skippedBlocks?: readonly number[];
}

/** The velocity [channels, T, h, w], and every activation by its name in the fixtures, token after token. */
export interface TransformerAnswer {
  readonly velocity: Float64Array;
  readonly activations: ReadonlyMap<string, Float64Array>;
}

const PATCH_SIZE = [1, 2, 2] as const;

/** Runs the transformer, one matrix after the other. */
export function transformer(problem: TransformerProblem): TransformerAnswer {
  const { config, weight, latents, shape } = problem;
  const activations = new Map<string, Float64Array>();
  const keep = (name: string, x: la.Matrix): la.Matrix => {
    activations.set(name, x.data);
    return x;
  };
  const patches: PatchProblem = { shape, patchSize: PATCH_SIZE };
  const layer = layerWith(weight);
  const rows = (data: Float64Array, cols: number): la.Matrix => ({ rows: data.length / cols, cols, data });
  const temb = keep("temb", embedTimestep(problem));
  const projection = keep("timestep_proj", layer("condition_embedder.time_proj", la.map(temb, la.silu)));
  const context = keep("text", embedText(problem));
  let x = keep("patch", layer("patch_embedding", rows(patchify(latents, patches), shape[0] * 4)));
  for (let i = 0; i < config.num_layers; i++)
    if (!problem.skippedBlocks?.includes(i))
      x = keep(`block${i}`, block(x, { problem, index: i, projection, context, keep }));

  const [shift, scale] = modulated(weight("scale_shift_table"), temb.data, temb.cols) as [Slot, Slot];
  const out = layer(
    "proj_out",
    la.map(la.layerNorm(x, config.eps), (v, _, c) => v * (1 + scale(c)) + shift(c)),
  );
  return { velocity: unpatchify(out.data, patches), activations };
}

/** One row of a modulation. */
type Slot = (column: number) => number;

/** table [slots, columns] + projection of the same size, or of one row for all slots. */
function modulated(table: ArrayLike<number>, projection: ArrayLike<number>, columns: number): Slot[] {
  const sums = modulation({ table, projection, columns, scaleSlots: [] });
  return Array.from(
    { length: sums.length / columns },
    (_, slot) => (column) => sums[slot * columns + column]!,
  );
}

function layerWith(weight: TransformerProblem["weight"]): (name: string, x: la.Matrix) => la.Matrix {
  return (name, x) => la.linear(x, weight(`${name}.weight`), weight(`${name}.bias`));
}

function embedTimestep({ config, weight, timestep }: TransformerProblem): la.Matrix {
  const layer = layerWith(weight);
  const half = config.freq_dim / 2;
  const sinusoid = la.matrix(1, config.freq_dim, (_, i) => {
    const angle = timestep / 10_000 ** ((i % half) / half);
    return i < half ? Math.cos(angle) : Math.sin(angle);
  });
  const inner = la.map(layer("condition_embedder.time_embedder.linear_1", sinusoid), la.silu);
  return layer("condition_embedder.time_embedder.linear_2", inner);
}

function embedText({ config, weight, text }: TransformerProblem): la.Matrix {
  const layer = layerWith(weight);
  const width = config.text_dim;
  const embeds = la.matrix(text.length / width, width, (r, c) => text[r * width + c]!);
  const inner = la.map(layer("condition_embedder.text_embedder.linear_1", embeds), la.geluTanh);
  return layer("condition_embedder.text_embedder.linear_2", inner);
}

interface BlockProblem {
  readonly problem: TransformerProblem;
  readonly index: number;
  /** [1, 6 D]. */
  readonly projection: la.Matrix;
  readonly context: la.Matrix;
  readonly keep: (name: string, x: la.Matrix) => la.Matrix;
}

function block(input: la.Matrix, { problem, index, projection, context, keep }: BlockProblem): la.Matrix {
  const { config, shape } = problem;
  const weight = (name: string): ArrayLike<number> => problem.weight(`blocks.${index}.${name}`);
  const layer = layerWith(weight);
  const slots = modulated(weight("scale_shift_table"), projection.data, input.cols);
  const [shift1, scale1, gate1, shift2, scale2, gate2] = slots as [Slot, Slot, Slot, Slot, Slot, Slot];
  const norm = (x: la.Matrix, scale: Slot, shift: Slot): la.Matrix =>
    la.map(la.layerNorm(x, config.eps), (v, _, c) => v * scale(c) + shift(c));
  const add = (x: la.Matrix, y: la.Matrix, gate: Slot = () => 1): la.Matrix =>
    la.map(x, (v, r, c) => v + gate(c) * y.data[r * x.cols + c]!);
  const attend = (name: string, x: la.Matrix, keys: la.Matrix): la.Matrix => {
    const project = (which: "q" | "k", from: la.Matrix): la.Matrix => {
      const normed = la.rmsNorm(
        layer(`${name}.to_${which}`, from),
        weight(`${name}.norm_${which}.weight`),
        config.eps,
      );
      return name === "attn1" ? rotated(normed, config, shape) : normed;
    };
    const heads = { q: project("q", x), k: project("k", keys), v: layer(`${name}.to_v`, keys) };
    const mixed = la.attention(
      { ...heads, count: config.num_attention_heads },
      (dot) => dot / Math.sqrt(config.attention_head_dim),
    );
    const perturbed = la.map(mixed, (o, r, c) => {
      const u = problem.strength?.(index, Math.floor(c / config.attention_head_dim)) ?? 0;
      return name === "attn1" ? (1 - u) * o + u * heads.v.data[r * mixed.cols + c]! : o;
    });
    return keep(`block${index}.${name}`, layer(`${name}.to_out.0`, perturbed));
  };

  const h1 = norm(input, (c) => 1 + scale1(c), shift1);
  const x1 = add(input, attend("attn1", h1, h1), gate1);
  const [norm2, bias2] = [weight("norm2.weight"), weight("norm2.bias")];
  const h2 = norm(
    x1,
    (c) => norm2[c]!,
    (c) => bias2[c]!,
  );
  const x2 = add(x1, attend("attn2", h2, context));
  const h3 = norm(x2, (c) => 1 + scale2(c), shift2);
  const ffn = layer("ffn.net.2", la.map(layer("ffn.net.0.proj", h3), la.geluTanh));
  return add(x2, keep(`block${index}.ffn`, ffn), gate2);
}

/** Rotary positions: rows and columns have 2 * floor(head / 6) numbers of a head each, time the rest, time first. */
function rotated(
  x: la.Matrix,
  { num_attention_heads: heads, attention_head_dim: headDim }: TransformerShape,
  [, frames, height, width]: TransformerProblem["shape"],
): la.Matrix {
  const side = Math.floor(headDim / 6);
  const pairs = [headDim / 2 - 2 * side, side, side] as const;
  const data = rope3d({
    x: x.data,
    size: [frames, height / 2, width / 2],
    pairs,
    heads,
    angle: (axis, position, pair) => position / 10_000 ** (pair / pairs[axis]!),
  });
  return { ...x, data };
}
