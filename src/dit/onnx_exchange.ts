// Keys and values of a block between clips that are computed on CPUs: out of arrays and into them. The twin on WebGPU is
// split_block.ts.

import type { ContextExchange } from "./context_exchange.ts";
import { framesFromInt8, int8Bytes, int8FromFrames } from "./int8_frames.ts";
import { framesOf } from "./onnx_rotations.ts";
import type { OnnxVideo } from "./onnx_video.ts";

/** Keys, before rotary positions, and values, [rows, D]. */
export interface KeysValues {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** Sends what others need of a block's keys, waits for what this clip needs, and gives the own ones with those behind. */
export async function exchangeKeys(
  exchange: ContextExchange,
  { index, k, v, video }: KeysValues & { readonly index: number; readonly video: OnnxVideo },
): Promise<KeysValues> {
  const numbers = (k.length / video.tokens) * video.tokensPerFrame; // of a frame
  const frames = exchange.sends(index);
  if (frames.length > 0) {
    const places = frames.map((frame) => frame - video.clip.start);
    const parts = { k: framesOf(k, places, numbers), v: framesOf(v, places, numbers) };
    publishKeys(exchange, { index, frames, ...parts });
  }
  const needs = exchange.needs(index);
  if (needs.length === 0) return { k, v };
  const others = await collectKeys(exchange, { index, needs, numbers });
  return { k: joined(k, others.k), v: joined(v, others.v) };
}

/** Sends keys and values of some frames, [frames, numbers] each, which must not change any more. */
export function publishKeys(
  exchange: ContextExchange,
  { index, frames, k, v }: KeysValues & { readonly index: number; readonly frames: readonly number[] },
): void {
  const { int8Group: group } = exchange;
  const parts = [k, v].map((values) =>
    group === undefined ? bytesOf(values) : int8FromFrames(values, { frames: frames.length, group }),
  );
  // Whoever waits for them in vain says so.
  exchange.publish(index, { frames, parts }).catch(() => undefined);
}

/** What a clip waits for. */
interface NeededKeys {
  readonly index: number;
  readonly needs: readonly number[];
  /** Values of a frame. */
  readonly numbers: number;
}

/** Waits for keys and values of the needed frames, one after the other. */
export async function collectKeys(
  exchange: ContextExchange,
  { index, needs, numbers }: NeededKeys,
): Promise<KeysValues> {
  const { int8Group: group } = exchange;
  const frames = needs.length;
  if (group === undefined) {
    const [k, v] = [new Float32Array(frames * numbers), new Float32Array(frames * numbers)];
    await exchange.collect(index, [bytesOf(k), bytesOf(v)], Promise.resolve());
    return { k, v };
  }
  const size = int8Bytes(frames * numbers, group);
  const [k, v] = [new Uint8Array(size), new Uint8Array(size)];
  await exchange.collect(index, [k, v], Promise.resolve());
  return { k: framesFromInt8(k, { frames, group }), v: framesFromInt8(v, { frames, group }) };
}

function joined(first: Float32Array, second: Float32Array): Float32Array {
  const all = new Float32Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
