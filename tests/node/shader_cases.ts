// Every op in every variant it can choose, on tiny tensors: what shaders.test.ts compiles. A new variant goes here.
import type { Recorder } from "../../src/gpu/recorder.ts";
import { ACTIVATIONS, activation, type Activation } from "../../src/ops/activation.ts";
import { attention, type AttentionVariant } from "../../src/ops/attention.ts";
import { attentionMerge } from "../../src/ops/attention_merge.ts";
import { attentionRelative } from "../../src/ops/attention_relative.ts";
import { copyTensor } from "../../src/ops/copy_rows.ts";
import { gateResidual } from "../../src/ops/gate_residual.ts";
import { geluGate } from "../../src/ops/gelu_gate.ts";
import { headError } from "../../src/ops/head_error.ts";
import { layerNorm } from "../../src/ops/layer_norm.ts";
import { linear, type LinearOptions, type LinearVariant, tilesOfLinear } from "../../src/ops/linear.ts";
import { linearCombine } from "../../src/ops/linear_combine.ts";
import { matchDeviation } from "../../src/ops/match_deviation.ts";
import { modulation } from "../../src/ops/modulation.ts";
import { moments } from "../../src/ops/moments.ts";
import { patchify } from "../../src/ops/patchify.ts";
import { peakArithmetic } from "../../src/ops/peak_arithmetic.ts";
import { peakMatrixUnits } from "../../src/ops/peak_matrix_units.ts";
import { dequantizeFrames } from "../../src/ops/dequantize_frames.ts";
import { quantizeFrames } from "../../src/ops/quantize_frames.ts";
import { quantizeRows } from "../../src/ops/quantize_rows.ts";
import { rmsNorm } from "../../src/ops/rms_norm.ts";
import { rope3d } from "../../src/ops/rope_3d.ts";
import { unpatchify } from "../../src/ops/unpatchify.ts";
import type { LinearStorage } from "../../src/tensor/linear_weights.ts";
import { type DType, type Tensor, temporaryTensor } from "../../src/tensor/tensor.ts";

/** Records one op. */
export interface ShaderCase {
  readonly name: string;
  readonly record: (recorder: Recorder) => void;
}

const FLOATS = ["f32", "f16"] as const;
const STORAGES = ["f32", "f16", "int8", "int8_rows"] as const;
/** Of each kernel of `linear`. */
const STORAGES_OF = {
  tiled: STORAGES.slice(0, 3),
  direct: STORAGES.slice(0, 3),
  f16: STORAGES.slice(0, 3),
  subgroup_matrix: STORAGES.slice(1),
};
const ACTIVATION_NAMES = Object.keys(ACTIVATIONS) as Activation[];

/** Default tiles. */
export const SHADER_CASES: readonly ShaderCase[] = [
  ...FLOATS.flatMap(elementCases),
  ...FLOATS.flatMap((from) => FLOATS.map((to) => rmsNormCase(from, to))),
  ...FLOATS.flatMap((dtype) => [32, 64, 96, 128].flatMap((headDim) => attentionCases(dtype, headDim))),
  ...FLOATS.flatMap((from) => FLOATS.flatMap((to) => linearCases(from, to))),
  ...f32Cases(),
];

/** Every tile that `weft tune` may choose. */
export const TILE_CASES: readonly ShaderCase[] = FLOATS.flatMap(linearTileCases);

function tensor(recorder: Recorder, shape: readonly number[], dtype: DType = "f32"): Tensor {
  return temporaryTensor(recorder, { label: "operand", dtype, shape });
}

/** The second of two frames. */
const INT8_FRAMES = { places: [1], tokensPerFrame: 2, group: 4 };

function elementCases(dtype: "f32" | "f16"): ShaderCase[] {
  const named = (name: string, record: ShaderCase["record"]): ShaderCase => ({
    name: `${name} ${dtype}`,
    record,
  });
  const patch = { patchSize: [1, 2, 2] as const };
  return [
    ...ACTIVATION_NAMES.map((kind) =>
      named(`activation ${kind}`, (recorder) => activation(recorder, tensor(recorder, [2, 4], dtype), kind)),
    ),
    named("gate_residual", (recorder) =>
      gateResidual(recorder, tensor(recorder, [2, 4]), {
        x: tensor(recorder, [2, 4], dtype),
        gate: { tensor: tensor(recorder, [4]) },
      }),
    ),
    named("attention_merge", (recorder) => {
      const part = { out: tensor(recorder, [2, 4], dtype), lse: tensor(recorder, [1, 2]) };
      attentionMerge(recorder, [part, part]);
    }),
    named("head_error", (recorder) => {
      headError(recorder, tensor(recorder, [2, 8], dtype), tensor(recorder, [2, 8], dtype), 2);
    }),
    named("layer_norm", (recorder) => {
      const vector = { tensor: tensor(recorder, [4]) };
      layerNorm(recorder, tensor(recorder, [2, 4]), { scale: vector, shift: vector, eps: 1, dtype });
    }),
    named("rope_3d", (recorder) => {
      const table = tensor(recorder, [2 * 4]);
      const rotary = { table, frames: 1, gridHeight: 1, gridWidth: 1, pairs: [2, 1, 1] as const };
      rope3d(recorder, tensor(recorder, [1, 8], dtype), rotary);
    }),
    named("peak_arithmetic", (recorder) =>
      peakArithmetic(recorder, tensor(recorder, [4], dtype), { rounds: 4, scale: -1, shift: 1 }),
    ),
    named("quantize_rows", (recorder) => {
      quantizeRows(recorder, tensor(recorder, [2, 4], dtype));
    }),
    named("quantize_frames", (recorder) => {
      quantizeFrames(recorder, tensor(recorder, [4, 8], dtype), INT8_FRAMES);
    }),
    named("dequantize_frames", (recorder) => {
      const spec = { label: "frames", dtype, shape: [4, 8] };
      dequantizeFrames(recorder, tensor(recorder, [1, 8], "u32"), { ...INT8_FRAMES, spec });
    }),
    named("patchify", (recorder) => patchify(recorder, tensor(recorder, [1, 1, 2, 2]), { ...patch, dtype })),
    named("unpatchify", (recorder) =>
      unpatchify(recorder, tensor(recorder, [1, 4], dtype), { ...patch, shape: [1, 1, 2, 2] }),
    ),
  ];
}

function f32Cases(): ShaderCase[] {
  return [
    {
      name: "gelu_gate",
      record: (recorder) => geluGate(recorder, tensor(recorder, [2, 4]), tensor(recorder, [2, 4])),
    },
    {
      name: "modulation",
      record: (recorder) => {
        const [table, projection] = [tensor(recorder, [6, 4]), tensor(recorder, [6, 4])];
        modulation(recorder, { table, projection, scaleSlots: [1] });
      },
    },
    ...(["f16", "int8"] as const).map((type) => ({
      name: `peak_matrix_units ${type}`,
      record: (recorder: Recorder) => {
        const [x, y] = [tensor(recorder, [16, 8], "u32"), tensor(recorder, [8, 16, 8], "u32")];
        peakMatrixUnits(recorder, { type, x, y, rounds: 2, subgroups: 4 });
      },
    })),
    {
      name: "linear_combine",
      record: (recorder) => linearCombine(recorder, [{ coefficient: 1, tensor: tensor(recorder, [3]) }]),
    },
    { name: "copy_rows", record: (recorder) => copyTensor(recorder, tensor(recorder, [2, 4])) },
    { name: "moments", record: (recorder) => moments(recorder, tensor(recorder, [3])) },
    {
      name: "match_deviation",
      record: (recorder) =>
        matchDeviation(recorder, tensor(recorder, [3]), { reference: tensor(recorder, [3]), share: 1 }),
    },
    {
      name: "attention_relative",
      record: (recorder) => {
        const [q, bias] = [tensor(recorder, [3, 8]), tensor(recorder, [2, 5])];
        attentionRelative(recorder, { q, k: q, v: q, bias, heads: 2 });
      },
    },
  ];
}

function rmsNormCase(from: DType, to: DType): ShaderCase {
  return {
    name: `rms_norm ${from} to ${to}`,
    record: (recorder) =>
      rmsNorm(recorder, tensor(recorder, [2, 4], from), { weight: tensor(recorder, [4]), eps: 1, dtype: to }),
  };
}

function attentionCases(dtype: DType, headDim: number): ShaderCase[] {
  const variants: AttentionVariant[] = ["tiled", "direct"];
  if (dtype === "f16") variants.push("f16", "subgroup_matrix");
  return variants.map((variant) => ({
    name: `attention ${variant} ${dtype} ${headDim}`,
    record: (recorder) => {
      const q = tensor(recorder, [2, headDim], dtype);
      const tiles = {
        numQueryTiles: 1,
        numFirst: 0,
        queryTiles: tensor(recorder, [1, 1, 4], "u32"),
        keyTiles: tensor(recorder, [1, 4], "u32"),
        perHead: false,
        scoreCount: 4,
      };
      attention(recorder, { q, k: q, v: q, tiles, heads: 1, variant });
    },
  }));
}

/** [m, n, k] at which `linear` changes its tiles and loops. */
const LINEAR_SIZES = [
  [1, 4, 64],
  [1, 4, 128],
  [17, 4, 64],
  [512, 4, 64],
  [1024, 512, 64],
] as const;

function linearCases(from: DType, to: DType): ShaderCase[] {
  const variants: NonNullable<LinearOptions["variant"]>[] = ["tiled", "direct"];
  if (from === "f16") variants.push("f16", "subgroup_matrix");
  return variants.flatMap((variant) =>
    STORAGES_OF[variant].flatMap((storage) =>
      ACTIVATION_NAMES.map((kind) => ({
        name: `linear ${variant} ${from} to ${to}, ${storage} weights, ${kind}`,
        record: (recorder) => {
          for (const [m, n, k] of LINEAR_SIZES) {
            const weight = linearStorage(recorder, storage, [n, k]);
            const weights = { label: "layer", n, k, weight, bias: tensor(recorder, [n]) };
            const options = { activation: kind, dtype: to, variant };
            linear(recorder, tensor(recorder, [m, k], from), weights, options);
          }
        },
      })),
    ),
  );
}

/** At a size that has all tiles. */
function linearTileCases(dtype: DType): ShaderCase[] {
  const size = { m: 1024, n: 512, k: 256 };
  const variants: LinearVariant[] = dtype === "f32" ? ["tiled"] : ["f16", "subgroup_matrix"];
  return variants.flatMap((variant) =>
    STORAGES_OF[variant].map((storage) => ({
      name: `tiles of linear ${variant}, ${storage} weights`,
      record: (recorder) => {
        const { m, n, k } = size;
        const weights = {
          label: "layer",
          n,
          k,
          weight: linearStorage(recorder, storage, [n, k]),
          bias: tensor(recorder, [n]),
        };
        const x = tensor(recorder, [m, k], dtype);
        for (const { name } of tilesOfLinear(variant, { ...size, storage }, recorder.gpu.capabilities))
          linear(recorder, x, weights, { variant, tile: name, activation: "gelu_tanh" });
      },
    })),
  );
}

function linearStorage(
  recorder: Recorder,
  storage: LinearStorage["storage"],
  [n, k]: readonly [number, number],
): LinearStorage {
  if (storage === "f32" || storage === "f16") return { storage, data: tensor(recorder, [n, k], storage) };
  if (storage === "int8_rows")
    return { storage, data: tensor(recorder, [n, k / 4], "u32"), scale: tensor(recorder, [n]) };
  const [data, scaleBias] = [tensor(recorder, [n, k / 4], "u32"), tensor(recorder, [n, k / 64], "u32")];
  return { storage, data, scaleBias };
}
