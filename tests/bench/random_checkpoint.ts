// A checkpoint of random numbers in any configuration: what speed is measured with when the real weights are not at
// hand. Values are small, so that activations stay finite through 30 layers.
import type { WanTransformerConfig } from "../../src/dit/transformer_config.ts";
import { f16ArrayFromF32 } from "../../src/util/half.ts";
import { quantizeAffine } from "../../src/weights/affine.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import type { StoredTensor } from "../../src/weights/stored_tensor.ts";

/** Wan 2.1 T2V 1.3B's transformer/config.json. */
export const WAN_1_3B: WanTransformerConfig = {
  _class_name: "WanTransformer3DModel",
  patch_size: [1, 2, 2],
  num_attention_heads: 12,
  attention_head_dim: 128,
  in_channels: 16,
  out_channels: 16,
  text_dim: 4096,
  freq_dim: 256,
  ffn_dim: 8960,
  num_layers: 30,
  cross_attn_norm: true,
  qk_norm: "rms_norm_across_heads",
  eps: 1e-6,
  rope_max_seq_len: 1024,
  image_dim: null,
  added_kv_proj_dim: null,
  pos_embed_seq_len: null,
};

const BLOCK = 2 ** 16;

/** A checkpoint that has every tensor, whatever its name, in one storage. */
export function randomCheckpoint(storage: "f16" | "int8"): Checkpoint {
  const values = Float32Array.from(
    { length: BLOCK },
    (_, i) => 0.02 * Math.sin(12.9898 * i + 78.233 * (i % 97)),
  );
  const bits = f16ArrayFromF32(values);
  const int8 = quantizeAffine(values, 64);
  const refuse = (): never => {
    throw new Error("A random checkpoint has no bytes.");
  };
  return {
    location: "random",
    names: [],
    totalBytes: 0,
    has: (name) => !name.endsWith(".bias"),
    info: () => ({ dtype: "F16", storage, shape: [], bytes: 0 }),
    read: refuse,
    readRows: refuse,
    readIntegers: refuse,
    readF32: async (_name, { shape = [] } = {}) => tile(values, count(shape)),
    readStored: async (_name, { shape = [] } = {}): Promise<StoredTensor> => {
      const length = count(shape);
      if (storage === "f16" || count(shape.slice(1)) % 64 !== 0) {
        return { storage: "f16", shape, bits: tile(bits, length) };
      }
      return {
        storage,
        shape,
        q: tile(int8.q, length),
        scales: tile(int8.scales, length / 64),
        biases: tile(int8.biases, length / 64),
      };
    },
  };
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Repeats a block until it has `length` elements. */
function tile<T extends Float32Array | Uint16Array | Uint8Array>(block: T, length: number): T {
  const constructor = block.constructor as new (length: number) => T;
  const out = new constructor(length);
  for (let at = 0; at < length; at += block.length)
    out.set(block.subarray(0, Math.min(block.length, length - at)), at);
  return out;
}
