import { describe, expect, test } from "vitest";
import { WeightsError } from "../../../src/errors.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import type { Activation } from "../../../src/ops/activation.ts";
import { linear, type LinearOptions } from "../../../src/ops/linear.ts";
import { hasInt8MatrixUnits, hasMatrixUnits } from "../../../src/ops/matrix_units.ts";
import type { LinearWeights } from "../../../src/tensor/linear_weights.ts";
import { dequantizeAffine, quantizeAffine } from "../../../src/weights/affine.ts";
import { quantizeRowsInt8 } from "../../../src/weights/row_int8.ts";
import { F16_TOLERANCE, F32_EXP_TOLERANCE, relativeL2 } from "../../reference/compare.ts";
import { linear as twin } from "../../reference/linear.ts";
import { dequantizeRows, quantizeRows } from "../../reference/quantize_rows.ts";
import { randomNumbers } from "../../reference/random.ts";
import { ADAPTER, ADAPTER_TITLE, FLOAT_TYPES, useGpu } from "../device.ts";
import { type Operands, runOp, tolerance, withOperands } from "./run_op.ts";

const gpu = useGpu();
const VARIANTS = ["tiled", "direct"] as const;

/**
 * With f16 products: eight roundings of up to 2^-11 of a partial sum before it goes to f32, in both directions, and one
 * of the int8 weight.
 */
const F16_PRODUCTS_TOLERANCE = 2e-3;

type Storage = LinearWeights["weight"]["storage"];

/** [m, n, k]: one row; tails in every axis; more than one tile; every row count the tiled variant knows. */
const SHAPES: readonly (readonly [number, number, number])[] = [
  [1, 5, 64],
  [3, 33, 64],
  [17, 65, 128],
  [70, 130, 64],
];

interface Layer {
  readonly weights: LinearWeights;
  /** What the weights stand for. */
  readonly matrix: Float32Array;
  readonly bias: Float32Array;
}

function layer(operands: Operands, storage: Storage, [n, k]: readonly [number, number]): Layer {
  const bias = operands.random([n]);
  const base = { label: "layer", n, k, bias: bias.tensor };
  if (storage === "f32" || storage === "f16") {
    const { tensor, values } = operands.random([n, k], { dtype: storage });
    return { weights: { ...base, weight: { storage, data: tensor } }, matrix: values, bias: bias.values };
  }
  if (storage === "int8_rows") {
    const { q, scales } = quantizeRowsInt8(randomNumbers(n * k, 78), k);
    const data = operands.upload({ label: "q", dtype: "u32", shape: [n, k / 4] }, new Uint32Array(q.buffer));
    const scale = operands.upload({ label: "scale", dtype: "f32", shape: [n] }, scales);
    const matrix = Float32Array.from(q, (value, i) => value * scales[Math.floor(i / k)]!);
    return { weights: { ...base, weight: { storage, data, scale } }, matrix, bias: bias.values };
  }
  const affine = quantizeAffine(randomNumbers(n * k, 77), k);
  const words = new Uint32Array(affine.q.buffer);
  const pairs = Uint32Array.from(affine.scales, (scale, i) => scale | (affine.biases[i]! << 16));
  const data = operands.upload({ label: "q", dtype: "u32", shape: [words.length] }, words);
  const scaleBias = operands.upload({ label: "scale_bias", dtype: "u32", shape: [pairs.length] }, pairs);
  const weight = { storage, data, scaleBias };
  return { weights: { ...base, weight }, matrix: dequantizeAffine(affine, k), bias: bias.values };
}

interface Case {
  readonly shape: readonly [number, number, number];
  readonly storage: Storage;
  readonly variant: NonNullable<LinearOptions["variant"]>;
  readonly activation?: Activation;
  readonly dtype?: "f32" | "f16";
  readonly outDtype?: "f32" | "f16";
}

async function distance({ shape: [m, n, k], storage, variant, ...options }: Case): Promise<number> {
  const { activation = "none", dtype = "f32", outDtype = dtype } = options;
  let result = NaN;
  await withOperands(gpu(), async (operands) => {
    const x = operands.random([m, k], { dtype });
    const { weights, matrix, bias } = layer(operands, storage, [n, k]);
    const [out] = await runOp(gpu(), (recorder) => [
      linear(recorder, x.tensor, weights, { activation, variant, dtype: outDtype }),
    ]);
    const rows = storage === "int8_rows" ? dequantizeRows(quantizeRows(x.values, k)) : x.values;
    result = relativeL2(out!, twin({ m, n, k, x: rows, weight: matrix, bias, activation }));
  });
  return result;
}

describe.each(VARIANTS)(`linear, %s, on ${ADAPTER_TITLE}`, (variant) => {
  test.each(["f32", "f16", "int8"] as const)("agrees with its twin, %s weights", async (storage) => {
    // A software adapter takes 2 s to compile a tiled variant: there, only f32 weights try all of them.
    const shapes = ADAPTER.software && storage !== "f32" ? SHAPES.slice(2) : SHAPES;
    for (const shape of shapes)
      expect(await distance({ shape, storage, variant }), String(shape)).toBeLessThan(tolerance("f32"));
  });

  test("takes any k that is a multiple of 4, when weights are not int8", async () => {
    for (const k of [4, 20])
      expect(await distance({ shape: [5, 7, k], storage: "f32", variant })).toBeLessThan(tolerance("f32"));
  });

  test.each(["gelu_tanh", "silu"] as const)("fuses %s", async (activation) => {
    const error = await distance({ shape: [3, 33, 64], storage: "f32", variant, activation });
    expect(error).toBeLessThan(F32_EXP_TOLERANCE);
  });

  for (const dtype of FLOAT_TYPES.filter((type) => type === "f16")) {
    test.each(["f32", "f16", "int8"] as const)("takes and gives f16, %s weights", async (storage) => {
      for (const shape of SHAPES)
        expect(await distance({ shape, storage, variant, dtype }), String(shape)).toBeLessThan(
          tolerance("f16"),
        );
    });

    test("turns f16 into f32 and back", async () => {
      const shape = [17, 65, 128] as const;
      const up = await distance({ shape, storage: "f16", variant, dtype, outDtype: "f32" });
      expect(up).toBeLessThan(tolerance("f32"));
      const down = await distance({ shape, storage: "f16", variant, dtype: "f32", outDtype: dtype });
      expect(down).toBeLessThan(tolerance("f16"));
    });
  }
});

for (const dtype of FLOAT_TYPES.filter((type) => type === "f16")) {
  describe(`linear with f16 products, on ${ADAPTER_TITLE}`, () => {
    test.each(["f32", "f16", "int8"] as const)("agrees with its twin, %s weights", async (storage) => {
      for (const shape of [...SHAPES, [600, 70, 128]] as const) {
        for (const outDtype of FLOAT_TYPES) {
          const error = await distance({ shape, storage, variant: "f16", dtype, outDtype });
          expect(error, `${shape.join(" x ")} to ${outDtype}`).toBeLessThan(F16_PRODUCTS_TOLERANCE);
        }
      }
    });
  });
}

/**
 * [m, n, k] for matrix units: one row; tails in m and n; more than one tile of 128 x 128; 1 to 10 steps along k (64 is one
 * of int8), in turns of one, two and four; one, just one and two bands of eight tiles down, the last with one or three.
 */
const MATRIX_SHAPES = [
  [1, 4, 64],
  [70, 132, 128],
  [129, 260, 192],
  [130, 124, 320],
  [1024, 256, 128],
  [1025, 132, 64],
  [1290, 388, 256],
] as const;

if (hasMatrixUnits(ADAPTER)) {
  describe(`linear on the matrix units of ${ADAPTER_TITLE}`, () => {
    test.each(["f16", "int8"] as const)("agrees with its twin, %s weights", async (storage) => {
      for (const shape of MATRIX_SHAPES) {
        for (const outDtype of FLOAT_TYPES) {
          const error = await distance({
            shape,
            storage,
            variant: "subgroup_matrix",
            dtype: "f16",
            outDtype,
          });
          expect(error, `${shape.join(" x ")} to ${outDtype}`).toBeLessThan(F16_TOLERANCE);
        }
      }
    });

    test("takes an odd number of steps along k, one too", async () => {
      for (const k of [32, 96, 224]) {
        const options = { storage: "f16", variant: "subgroup_matrix", dtype: "f16" } as const;
        expect(await distance({ shape: [131, 140, k], ...options }), `k ${k}`).toBeLessThan(F16_TOLERANCE);
      }
    });

    test("fuses gelu_tanh", async () => {
      const options = { variant: "subgroup_matrix", dtype: "f16", activation: "gelu_tanh" } as const;
      const error = await distance({ shape: [70, 132, 96], storage: "f16", ...options });
      expect(error).toBeLessThan(F16_TOLERANCE);
    });
  });
}

if (hasInt8MatrixUnits(ADAPTER)) {
  describe(`linear on the int8 matrix units of ${ADAPTER_TITLE}`, () => {
    /** A quotient next to a half may be rounded either way: one unit of 127 in a sum of many. */
    const tolerance = { f32: 1e-3, f16: 1e-3 };

    test.each(FLOAT_TYPES)("agrees with the twin of rounded operands, x %s", async (dtype) => {
      for (const shape of MATRIX_SHAPES) {
        const options = { storage: "int8_rows", variant: "subgroup_matrix", dtype, outDtype: "f32" } as const;
        expect(await distance({ shape, ...options }), shape.join(" x ")).toBeLessThan(tolerance[dtype]);
      }
    });

    test("fuses gelu_tanh", async () => {
      const options = { storage: "int8_rows", variant: "subgroup_matrix", dtype: "f16" } as const;
      const error = await distance({ shape: [70, 132, 128], activation: "gelu_tanh", ...options });
      expect(error).toBeLessThan(tolerance.f16);
    });
  });
} else {
  test("linear refuses weights of int8 matrix units without such units", async () => {
    await withOperands(gpu(), async (operands) => {
      const recorder = new Recorder(gpu(), "test");
      const { weights } = layer(operands, "int8_rows", [8, 64]);
      expect(() => linear(recorder, operands.random([2, 64]).tensor, weights)).toThrow("int8 matrix units");
      recorder.discard();
    });
  });
}

test("linear's big tiles agree with the twin", async () => {
  const error = await distance({ shape: [1025, 513, 4], storage: "f32", variant: "tiled" });
  expect(error).toBeLessThan(tolerance("f32"));
});

test("linear refuses operands that do not fit", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const x = operands.random([2, 32]).tensor;
    expect(() => linear(recorder, x, layer(operands, "f32", [8, 64]).weights)).toThrow(
      "Cannot record linear as inner dimensions must match: x is [2, 32], layer is [8, 64].",
    );
    const int8 = { ...layer(operands, "int8", [8, 64]).weights, k: 32 };
    expect(() => linear(recorder, x, int8)).toThrow(WeightsError);
    expect(() => linear(recorder, x, int8)).toThrow(
      "layer has 32 input features; Weft needs a multiple of 64 for int8 weights.",
    );
    const odd = { ...layer(operands, "f32", [8, 6]).weights };
    expect(() => linear(recorder, operands.random([2, 6]).tensor, odd)).toThrow("needs a multiple of 4");
    const short = { ...layer(operands, "f32", [8, 32]).weights, bias: operands.random([7]).tensor };
    expect(() => linear(recorder, x, short)).toThrow("is [7], expected row 0 of 8 columns.");
    recorder.discard();
  });
});
