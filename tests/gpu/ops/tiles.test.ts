// Tiles of linear layers that `weft tune` may choose compute what the op's twin does. A software adapter takes up to half
// a minute to compile one, so there all but the smallest wait for WEFT_TEST_TILES=1.
import { expect, test } from "vitest";
import { linear, type LinearVariant, tilesOfLinear } from "../../../src/ops/linear.ts";
import { hasMatrixUnits } from "../../../src/ops/matrix_units.ts";
import { Recorder } from "../../../src/gpu/recorder.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { linear as twin } from "../../reference/linear.ts";
import { ADAPTER, ADAPTER_TITLE, SLOW_TILES, useGpu } from "../device.ts";
import { runOp, withOperands } from "./run_op.ts";

const gpu = useGpu();

/** Tails in every axis; steps along k that no stage divides, but an even number for matrix units. */
const SIZES: Readonly<Record<LinearVariant, { m: number; n: number; k: number }>> = {
  tiled: { m: 70, n: 132, k: 72 },
  f16: { m: 70, n: 132, k: 72 },
  subgroup_matrix: { m: 1290, n: 388, k: 256 },
  direct: { m: 5, n: 4, k: 4 },
};
/** Eight roundings of sums before one goes to f32, as in linear.test.ts. */
const TOLERANCE = { f32: 1e-5, f16: 2e-3 };

function typeOf(variant: LinearVariant): "f32" | "f16" {
  return variant === "tiled" ? "f32" : "f16";
}

interface Case {
  readonly variant: LinearVariant;
  readonly tile: string;
}

function cases(): Case[] {
  const variants: LinearVariant[] = ["tiled"];
  if (ADAPTER.f16) variants.push("f16");
  if (hasMatrixUnits(ADAPTER)) variants.push("subgroup_matrix");
  const all = variants.flatMap((variant) =>
    tilesOfLinear(variant, { ...SIZES[variant], storage: typeOf(variant) }, ADAPTER).map(({ name }) => ({
      variant,
      tile: name,
    })),
  );
  if (!ADAPTER.software || SLOW_TILES) return all;
  return all.filter(({ tile }) => tile === "64x128x16 by 64");
}

test.each(cases())(`linear $variant, tile $tile, agrees with the twin on ${ADAPTER_TITLE}`, async (one) => {
  const { variant, tile } = one;
  const { m, n, k } = SIZES[variant];
  const dtype = typeOf(variant);
  await withOperands(gpu(), async (operands) => {
    const [x, w] = [operands.random([m, k], { dtype }), operands.random([n, k], { dtype })];
    const bias = operands.random([n]);
    const weight = { storage: dtype, data: w.tensor } as const;
    const layer = { label: "layer", n, k, weight, bias: bias.tensor };
    const options = { variant, tile, dtype: "f32", activation: "silu" } as const;
    const [out] = await runOp(gpu(), (recorder) => [linear(recorder, x.tensor, layer, options)]);
    const operandsOfTwin = { x: x.values, weight: w.values, bias: bias.values, activation: "silu" } as const;
    expect(relativeL2(out!, twin({ m, n, k, ...operandsOfTwin }))).toBeLessThan(TOLERANCE[dtype]);
  });
});

test("linear refuses a tile that it has not, and names those it has", async () => {
  await withOperands(gpu(), async (operands) => {
    const recorder = new Recorder(gpu(), "test");
    const [x, w, bias] = [operands.random([2, 8]), operands.random([4, 8]), operands.random([4])];
    const weight = { storage: "f32", data: w.tensor } as const;
    const layer = { label: "layer", n: 4, k: 8, weight, bias: bias.tensor };
    expect(() => linear(recorder, x.tensor, layer, { variant: "tiled", tile: "square" })).toThrow(
      'There is no tile "square" for linear tiled, f32 x f32, 4 x 8; there are 16x64x16 by 64.',
    );
    recorder.discard();
  });
});
