// A recorder that also reads back what every attention kernel reads: rotated queries and keys, and the tile lists. So
// self-attention of any plan and attention over the text are seen as they are dispatched, whichever variant computes them.
import type { BufferRange, DispatchDescriptor } from "../../src/gpu/command.ts";
import { recordRead } from "../../src/gpu/readback.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import { f32ArrayFromF16 } from "../../src/util/half.ts";
import type { KeyRows, SampledAttention } from "../reference/attention_sample.ts";

/** One dispatch of attention. */
export interface SeenAttention {
  /** Where its keys lie in GPU memory. */
  readonly keys: GPUBuffer;
  /** Resolves once the recording is submitted. */
  readonly operands: Promise<SampledAttention>;
}

/** What was read lives until it is collected: 2 x tokens x D numbers a layer. */
export class AttentionWatch extends Recorder {
  /** In the order of recording. */
  readonly seen: SeenAttention[] = [];

  override dispatch(descriptor: DispatchDescriptor): void {
    super.dispatch(descriptor);
    const { q, k, query_tiles: queries, key_tiles: keys } = descriptor.buffers;
    if (!q || !k || !queries || !keys) return; // no attention
    this.seen.push({ keys: k.buffer, operands: this.#read(descriptor, [q, k, queries, keys]) });
  }

  async #read(
    { params, constants }: DispatchDescriptor,
    ranges: readonly BufferRange[],
  ): Promise<SampledAttention> {
    const sized = ranges.map((range) => ({ ...range, size: range.size ?? range.buffer.size }));
    const { bytes, release } = await recordRead(this, sized);
    const own = bytes.slice().buffer;
    release();
    const number = (name: string): number => Number(params[name]);
    const [heads, numQueryTiles] = [number("heads"), number("num_query_tiles")];
    const headDim = Number(constants?.["HEAD_DIM"]);
    const [q = 0, k = 0, queries = 0, keys = 0] = sized.map(({ size }) => size);
    const isF16 = q < 4 * number("num_queries") * heads * headDim;
    const floats = (offset: number, size: number): Float32Array =>
      isF16
        ? f32ArrayFromF16(new Uint16Array(own, offset, size / 2))
        : new Float32Array(own, offset, size / 4);
    return {
      heads,
      headDim,
      scale: number("scale"),
      q: floats(0, q),
      k: floats(q, k),
      numQueryTiles,
      perHead: number("list_stride") > 0,
      queryTiles: new Uint32Array(own, q + k, queries / 4),
      keyTiles: keyRows(new DataView(own, q + k + queries, keys)),
    };
  }
}

function keyRows(view: DataView): KeyRows[] {
  return Array.from({ length: view.byteLength / 16 }, (_, index) => ({
    start: view.getUint32(16 * index, true),
    rows: view.getUint32(16 * index + 4, true),
    bias: view.getFloat32(16 * index + 8, true),
  }));
}
