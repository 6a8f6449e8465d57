// Keys and values of a block between clips that are computed on CPUs: out of arrays and into them. The twin on WebGPU is
// split_block.ts.

import type { ContextExchange, FrameKeys } from "./context_exchange.ts";
import type { OnnxVideo } from "./onnx_video.ts";

/** Keys, before rotary positions, and values, [rows, D]. */
interface KeysValues {
  readonly k: Float32Array;
  readonly v: Float32Array;
}

/** Sends what others need of a block's keys, waits for what this clip needs, and gives the own ones with those behind. */
export async function exchangeKeys(
  exchange: ContextExchange,
  { index, k, v, video }: KeysValues & { readonly index: number; readonly video: OnnxVideo },
): Promise<KeysValues> {
  const numbers = (k.length / video.tokens) * video.tokensPerFrame; // of a frame
  const sends = exchange.sends(index);
  if (sends.length > 0) {
    const places = sends.map((frame) => frame - video.clip.start);
    exchange.publish(index, {
      frames: sends,
      k: bytesOf(framesAt(k, places, numbers)),
      v: bytesOf(framesAt(v, places, numbers)),
    });
  }
  const needs = exchange.needs(index);
  if (needs.length === 0) return { k, v };
  const parts = await exchange.collect(index, Promise.resolve());
  const joined = (own: Float32Array, of: "k" | "v"): Float32Array => {
    const all = new Float32Array(own.length + needs.length * numbers);
    all.set(own);
    for (const part of parts) all.set(numbersOf(part, of), own.length + placeOf(part, needs) * numbers);
    return all;
  };
  return { k: joined(k, "k"), v: joined(v, "v") };
}

function framesAt(data: Float32Array, places: readonly number[], numbers: number): Float32Array {
  const frames = new Float32Array(places.length * numbers);
  for (const [i, place] of places.entries()) {
    frames.set(data.subarray(place * numbers, (place + 1) * numbers), i * numbers);
  }
  return frames;
}

function placeOf({ frames }: FrameKeys, needs: readonly number[]): number {
  const place = needs.indexOf(frames[0] ?? -1);
  if (place < 0) throw new Error(`Frames ${frames.join(", ")} were not asked for.`);
  return place;
}

function numbersOf(part: FrameKeys, of: "k" | "v"): Float32Array {
  return new Float32Array(part[of].slice().buffer);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
