// Decodes a video's latents with TAEHV, one latent frame at a time: memory use does not grow with the video, and
// a clip may take over where another ended. The network is taehv_decoder_graph.ts; preview colours are elsewhere.
import type { Tensor } from "onnxruntime-web";
import type { FrameBatch } from "../video/frame_batch.ts";
import type { OrtRuntime, OrtSession } from "./ort_runtime.ts";
import { SerialQueue } from "./serial_queue.ts";
import {
  framesPerLatent,
  spatialScale,
  taehvDecoderConfig,
  type TaehvCheckpoint,
  type TaehvConfigJson,
  type TaehvDecoderConfig,
} from "./taehv_config.ts";
import {
  buildTaehvDecoder,
  memoryInput,
  memoryOutput,
  memoryShapes,
  NUM_MEMORIES,
} from "./taehv_decoder_graph.ts";

/** What a decoder is made of. */
export interface TaehvDecoderOptions {
  readonly checkpoint: TaehvCheckpoint;
  /** Contents of vae/config.json; without it the tensors' shapes and TAEHV's defaults decide. */
  readonly config?: TaehvConfigJson | undefined;
  readonly ort: OrtRuntime;
  readonly latentHeight: number;
  readonly latentWidth: number;
  readonly signal?: AbortSignal | undefined;
}

/** Everything the decoder remembers between latent frames; plain data, so that it can go to another worker. */
export interface DecoderState {
  /** Latent frames decoded so far; the first one's warm-up frames are trimmed. */
  readonly latentFramesDecoded: number;
  /** The nine memories, flattened. */
  readonly memories: readonly Float32Array[];
}

/** Frames with their unrounded colours. */
export interface DecodedVideo {
  readonly frames: FrameBatch;
  /** [numFrames, 3, height, width] in [0, 1]. */
  readonly video: Float32Array;
}

/**
 * Builds the decoder's graph for one latent size and loads it.
 * Throws `WeightsError` when the checkpoint is not a TAEHV or disagrees with its config.
 */
export async function createTaehvDecoder(options: TaehvDecoderOptions): Promise<TaehvDecoder> {
  const { checkpoint, ort, latentHeight, latentWidth, signal } = options;
  const config = taehvDecoderConfig(checkpoint, options.config);
  const size = { latentHeight, latentWidth, latentFrames: 1 };
  const model = await buildTaehvDecoder(checkpoint, config, size);
  signal?.throwIfAborted();
  const session = await ort.createSession(model, { gpuOutputs: MEMORY_OUTPUTS });
  return new TaehvDecoder({ ort, session, config, latentHeight, latentWidth });
}

/** Latent frame `index` of latents [channels, numLatentFrames, height, width], as [channels, height, width]. */
export function takeLatentFrame(
  latents: Float32Array,
  shape: readonly [number, number, number, number],
  index: number,
): Float32Array {
  const [channels, numLatentFrames, height, width] = shape;
  const plane = height * width;
  const frame = new Float32Array(channels * plane);
  for (let channel = 0; channel < channels; channel++) {
    const start = (channel * numLatentFrames + index) * plane;
    frame.set(latents.subarray(start, start + plane), channel * plane);
  }
  return frame;
}

interface DecoderParts {
  readonly ort: OrtRuntime;
  readonly session: OrtSession;
  readonly config: TaehvDecoderConfig;
  readonly latentHeight: number;
  readonly latentWidth: number;
}

/** A loaded decoder and the state of the video that it is in. Calls are carried out in the order they are made. */
export class TaehvDecoder {
  readonly config: TaehvDecoderConfig;
  readonly height: number;
  readonly width: number;
  readonly #parts: DecoderParts;
  readonly #shapes: readonly number[][];
  readonly #queue = new SerialQueue();
  #memories: readonly Tensor[];
  #latentFramesDecoded = 0;

  constructor(parts: DecoderParts) {
    const { config, latentHeight, latentWidth } = parts;
    this.#parts = parts;
    this.config = config;
    this.height = latentHeight * spatialScale(config);
    this.width = latentWidth * spatialScale(config);
    this.#shapes = memoryShapes(config, { latentHeight, latentWidth });
    this.#memories = this.#zeros();
  }

  /**
   * Decodes the next latent frame [channels, latentHeight, latentWidth], in the model's own latent scale.
   * The first one gives `framesPerLatent - framesToTrim` frames (1), every later one `framesPerLatent` (4).
   * Rejects with AbortError before it starts when the signal is aborted; the state is then unchanged.
   */
  decode(latentFrame: Float32Array, signal?: AbortSignal): Promise<FrameBatch> {
    return this.#queue.run(async () => {
      const { outputs, trimmed } = await this.#step(latentFrame, ["rgba"], signal);
      return this.#frameBatch(outputs, trimmed);
    });
  }

  /** As `decode`, with the frames as floats too. */
  decodeFloat(latentFrame: Float32Array, signal?: AbortSignal): Promise<DecodedVideo> {
    return this.#queue.run(async () => {
      const { outputs, trimmed } = await this.#step(latentFrame, ["rgba", "video"], signal);
      const video = cpuData(outputs, "video", Float32Array);
      return {
        frames: this.#frameBatch(outputs, trimmed),
        video: video.subarray(trimmed * 3 * this.height * this.width),
      };
    });
  }

  /** Copies the state after the last latent frame, for another decoder of the same model and size. */
  readState(): Promise<DecoderState> {
    return this.#queue.run(async () => {
      const memories: Float32Array[] = [];
      for (const memory of this.#memories) memories.push(floats(await memory.getData()).slice());
      return { latentFramesDecoded: this.#latentFramesDecoded, memories };
    });
  }

  /** Continues where another decoder ended. Throws when the memories are of another size. */
  writeState(state: DecoderState): Promise<void> {
    return this.#queue.run(async () => {
      const sizes = this.#shapes.map((shape) => shape.reduce((product, dim) => product * dim, 1));
      if (state.memories.map((memory) => memory.length).join() !== sizes.join())
        throw new Error(
          `The decoder's nine memories have ${sizes.join(", ")} values; the state given is of another model or size.`,
        );
      this.#replaceMemories(
        state.memories.map((memory, k) => this.#parts.ort.tensor(memory.slice(), this.#shapes[k] ?? [])),
      );
      this.#latentFramesDecoded = state.latentFramesDecoded;
    });
  }

  /**
   * Goes back to the start of a video; or to a later latent frame, with empty memories: frames are right again after
   * `memoryFrames` latent frames.
   */
  reset(latentFrame = 0): Promise<void> {
    return this.#queue.run(async () => {
      this.#replaceMemories(this.#zeros());
      this.#latentFramesDecoded = latentFrame;
    });
  }

  /** Frees the model and the memories once the calls made before have ended. */
  dispose(): Promise<void> {
    return this.#queue.run(async () => {
      this.#replaceMemories([]);
      await this.#parts.session.release();
    });
  }

  async #step(
    latentFrame: Float32Array,
    wanted: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<{ outputs: Record<string, Tensor>; trimmed: number }> {
    signal?.throwIfAborted();
    const { ort, session, config, latentHeight, latentWidth } = this.#parts;
    const feeds: Record<string, Tensor> = {
      latent: ort.tensor(latentFrame, [1, config.latentChannels, latentHeight, latentWidth]),
    };
    for (const [k, memory] of this.#memories.entries()) feeds[memoryInput(k)] = memory;
    const outputs = await session.run(feeds, [...wanted, ...MEMORY_OUTPUTS]);
    this.#replaceMemories(MEMORY_OUTPUTS.map((name) => tensorOf(outputs, name)));
    const trimmed = this.#latentFramesDecoded === 0 ? config.framesToTrim : 0;
    this.#latentFramesDecoded++;
    return { outputs, trimmed };
  }

  #frameBatch(outputs: Record<string, Tensor>, trimmed: number): FrameBatch {
    const { height, width } = this;
    const packed = cpuData(outputs, "rgba", Int32Array).subarray(trimmed * height * width);
    // The graph packs R, G, B, A from the lowest byte up; every WebAssembly and WebGPU host is little-endian.
    const data = new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
    return { width, height, numFrames: framesPerLatent(this.config) - trimmed, data };
  }

  #zeros(): Tensor[] {
    return this.#shapes.map((shape) =>
      this.#parts.ort.tensor(new Float32Array(shape.reduce((product, dim) => product * dim, 1)), shape),
    );
  }

  #replaceMemories(memories: readonly Tensor[]): void {
    for (const memory of this.#memories) memory.dispose();
    this.#memories = memories;
  }
}

const MEMORY_OUTPUTS = Array.from({ length: NUM_MEMORIES }, (_, k) => memoryOutput(k));

function tensorOf(outputs: Record<string, Tensor>, name: string): Tensor {
  const tensor = outputs[name];
  if (tensor === undefined) throw new Error(`onnxruntime gave no output ${name}.`);
  return tensor;
}

function cpuData<T extends Float32Array | Int32Array>(
  outputs: Record<string, Tensor>,
  name: string,
  type: { new (): T },
): T {
  const { data } = tensorOf(outputs, name);
  if (!(data instanceof type))
    throw new Error(`onnxruntime gave output ${name} as another type than ${type.name}.`);
  return data;
}

function floats(data: Tensor.DataType): Float32Array {
  if (!(data instanceof Float32Array)) throw new Error("The decoder's memories must be 32-bit floats.");
  return data;
}
