// The transformer with head sizes of published models, and one of no tile's, and random weights, against its f64 twin. Odd grid, padded text,
// weights in two shards; the weights are made here, since f32 noise of this size would burden the repository.
import { describe, expect, it } from "vitest";
import { parseWanTransformerConfig, type WanTransformerConfig } from "../../../src/dit/transformer_config.ts";
import { openCheckpoint } from "../../../src/weights/checkpoint.ts";
import type { WeightStorage } from "../../../src/weights/weight_loader.ts";
import { readFixtureJson } from "../../reference/fixture_tensors.ts";
import { normalNumbers, randomWan, randomWanSource } from "../../reference/random_wan.ts";
import { relativeL2 } from "../../reference/compare.ts";
import { transformer, type TransformerAnswer } from "../../reference/transformer_wan.ts";
import { ADAPTER, ADAPTER_TITLE, useGpu } from "../device.ts";
import { type ForwardResult, runForward } from "./run_forward.ts";

const gpu = useGpu();

interface Arithmetic {
  readonly storage: Exclude<WeightStorage, "stored">;
  readonly dtype: "f32" | "f16";
  /** Relative L2 of the velocity. */
  readonly bound: number;
}

/** The bounds that the project promises (see transformer_wan.test.ts). */
const ARITHMETICS: readonly Arithmetic[] = [
  { storage: "f32", dtype: "f32", bound: 1e-4 },
  { storage: "f16", dtype: "f32", bound: 3e-3 },
  { storage: "int8", dtype: "f32", bound: 3e-2 },
  ...(ADAPTER.f16 ? [{ storage: "f16", dtype: "f16", bound: 5e-3 } as const] : []),
];

/** 3 frames of 5x7 tokens: no multiple of any tile. */
const SHAPE = [16, 3, 10, 14] as const;
const NUM_TOKENS = 11;
const MAX_SEQUENCE_LENGTH = 24;
const TIMESTEP = 412.5;

const MODELS = [
  { headDim: 128, layers: 2, seed: 1 },
  { headDim: 96, layers: 1, seed: 2 },
];

describe.each(MODELS)("heads of $headDim, layers: $layers", ({ headDim, layers, seed }) => {
  const config = configOf(headDim, layers);
  const weights = randomWan(config, seed);
  const latents = {
    shape: SHAPE,
    data: normalNumbers(SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3], seed + 10),
  };
  const prompt = normalNumbers(NUM_TOKENS * config.text_dim, seed + 20);

  let answer: TransformerAnswer | undefined;
  const twin = (): TransformerAnswer => {
    const text = new Float32Array(MAX_SEQUENCE_LENGTH * config.text_dim);
    text.set(prompt);
    answer ??= transformer({
      config,
      weight: (name) => weights.get(name)?.data ?? [],
      latents: latents.data,
      shape: SHAPE,
      timestep: TIMESTEP,
      text,
    });
    return answer;
  };

  const run = async ({ storage, dtype }: Arithmetic): Promise<ForwardResult> => {
    const checkpoint = await openCheckpoint(randomWanSource(weights), "transformer");
    return await runForward(gpu(), checkpoint, {
      options: { config, storage, dtype },
      latents,
      prompt: { data: prompt, numTokens: NUM_TOKENS, maxSequenceLength: MAX_SEQUENCE_LENGTH },
      timestep: TIMESTEP,
    });
  };

  it.each(ARITHMETICS.map((each) => [each.storage, each.dtype, each] as const))(
    `computes the twin's velocity with %s weights in %s arithmetic (${ADAPTER_TITLE})`,
    async (_storage, _dtype, arithmetic) => {
      const { velocity } = await run(arithmetic);
      const error = relativeL2(velocity, twin().velocity);
      expect(error).toBeLessThan(arithmetic.bound);
    },
  );

  it("computes every activation of the twin", async () => {
    const { activations } = await run({ storage: "f32", dtype: "f32", bound: 1e-4 });
    expect(activations.size).toBe(4 + 4 * layers);
    for (const [name, activation] of activations) {
      const wanted = twin().activations.get(name)?.subarray(0, activation.length) ?? []; // one padded text row
      expect([name, relativeL2(activation, wanted) < 1e-4]).toEqual([name, true]);
    }
  });
});

// Sizes of the model that diffusers' own tests make: no tile of the attention kernels fits them.
it("computes the twin's velocity with two heads of 12", async () => {
  const sizes = { num_attention_heads: 2, ffn_dim: 32, text_dim: 32, rope_max_seq_len: 32 };
  const config = { ...configOf(12, 2), ...sizes };
  const weights = randomWan(config, 5);
  const latents = { shape: SHAPE, data: normalNumbers(SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3], 6) };
  const text = normalNumbers(NUM_TOKENS * config.text_dim, 7);
  const checkpoint = await openCheckpoint(randomWanSource(weights), "transformer");
  const { velocity } = await runForward(gpu(), checkpoint, {
    options: { config, storage: "f32", dtype: "f32" },
    latents,
    prompt: { data: text, numTokens: NUM_TOKENS, maxSequenceLength: NUM_TOKENS },
    timestep: TIMESTEP,
  });
  const weight = (name: string): ArrayLike<number> => weights.get(name)?.data ?? [];
  const problem = { config, weight, latents: latents.data, shape: SHAPE, timestep: TIMESTEP, text };
  expect(relativeL2(velocity, transformer(problem).velocity)).toBeLessThan(1e-4);
});

function configOf(headDim: number, layers: number): WanTransformerConfig {
  const json = readFixtureJson("wan_head128/transformer/config.json") as Record<string, unknown>;
  // Whole groups of 64 in every layer, so that int8 is int8 everywhere.
  return parseWanTransformerConfig({
    ...json,
    attention_head_dim: headDim,
    num_layers: layers,
    text_dim: 64,
  });
}
