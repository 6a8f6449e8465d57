// TAEHV checkpoints of any shape with random weights, in memory, for tests in Node and in the browser.
import type { TaehvCheckpoint } from "../../src/onnx/taehv_config.ts";
import { WeightsError } from "../../src/errors.ts";
import type { TaehvWeights } from "./taehv.ts";

/** What a random decoder looks like. `groups` are the frames each TGrow has channels for. */
export interface RandomTaehv {
  readonly latentChannels: number;
  readonly widths: readonly [number, number, number, number];
  readonly groups: readonly [number, number, number];
  readonly patchSize: number;
}

/** Random weights of that shape, scaled so that values neither vanish nor explode. */
export function randomTaehv(shape: RandomTaehv): Map<string, { shape: number[]; data: Float32Array }> {
  const weights: Map<string, { shape: number[]; data: Float32Array }> = new Map();
  let seed = 1;
  const random = (): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 1073741824 - 1;
  };
  const add = (name: string, dims: number[]): void => {
    const fanIn = dims.slice(1).reduce((product, dim) => product * dim, 1);
    const scale = dims.length === 1 ? 0.2 : Math.sqrt(4 / fanIn);
    const size = dims.reduce((product, dim) => product * dim, 1);
    weights.set(name, { shape: dims, data: Float32Array.from({ length: size }, () => random() * scale) });
  };
  const addConv = (name: string, out: number, input: number): void => {
    add(`${name}.weight`, [out, input, 3, 3]);
    add(`${name}.bias`, [out]);
  };
  addConv("decoder.1", shape.widths[0], shape.latentChannels);
  for (let stage = 0; stage < 3; stage++) {
    const [layer, width] = [3 + 6 * stage, shape.widths[stage]!];
    for (let block = 0; block < 3; block++)
      for (const [k, input] of [2 * width, width, width].entries())
        addConv(`decoder.${layer + block}.conv.${2 * k}`, width, input);
    add(`decoder.${layer + 4}.conv.weight`, [shape.groups[stage]! * width, width, 1, 1]);
    add(`decoder.${layer + 5}.weight`, [shape.widths[stage + 1]!, width, 3, 3]);
  }
  addConv("decoder.22", 3 * shape.patchSize ** 2, shape.widths[3]);
  return weights;
}

/** A checkpoint over weights in memory. */
export function memoryCheckpoint(weights: TaehvWeights): TaehvCheckpoint {
  const find = (name: string): { shape: readonly number[]; data: Float32Array } => {
    const tensor = weights.get(name);
    if (tensor === undefined) throw new WeightsError(`No tensor ${name}.`);
    return tensor;
  };
  return {
    location: "memory",
    has: (name) => weights.has(name),
    info: (name) => ({ ...find(name), dtype: "F32", storage: "f32", bytes: find(name).data.byteLength }),
    readF32: async (name, { shape } = {}) => {
      const tensor = find(name);
      if (shape !== undefined && shape.join() !== tensor.shape.join())
        throw new WeightsError(`Tensor ${name} has shape [${tensor.shape.join(", ")}].`);
      return tensor.data;
    },
  };
}
