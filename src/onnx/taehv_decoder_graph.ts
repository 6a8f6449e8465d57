// TAEHV's decoder as an ONNX graph: latent frames and nine memories in, frames and nine memories out, so that a
// clip is decoded latent frame by latent frame and can be handed on. Built from the safetensors names of
// madebyollin/taehv (taew2_1, taew2_2, ...). The graph only; running it is taehv_decoder.ts.
//
// Two exact simplifications: TGrow (a bias-free 1x1) is folded into the bias-free 3x3 that follows it, and so is
// the nearest x2 upsampling, as four 2x2 kernels, one per output phase (4/9 of the multiplications).
import { WeightsError } from "../errors.ts";
import { GraphBuilder, type Attribute, type Value } from "./graph_builder.ts";
import { foldTimeGrowth, foldUpsample, type ConvWeight } from "./taehv_fold.ts";
import {
  convShape,
  framesPerLatent,
  spatialScale,
  STAGE_LAYERS,
  type TaehvDecoderConfig,
  type TensorSource,
} from "./taehv_config.ts";

/** Number of MemBlocks, hence of memories. */
export const NUM_MEMORIES = 9;

/** Size of what one call decodes. */
export interface DecoderGraphSize {
  readonly latentHeight: number;
  readonly latentWidth: number;
  /** Latent frames per call. */
  readonly latentFrames: number;
}

/** Name of the input that takes memory `index`. */
export const memoryInput = (index: number): string => `mem${index}_in`;
/** Name of the output that gives memory `index` for the next call. */
export const memoryOutput = (index: number): string => `mem${index}_out`;

/** Shapes [1, channels, height, width] of the nine memories. */
export function memoryShapes(config: TaehvDecoderConfig, size: DecoderGraphSize): number[][] {
  let scale = 1;
  return STAGE_LAYERS.flatMap((_, stage) => {
    const shape = [1, config.widths[stage] ?? 0, size.latentHeight * scale, size.latentWidth * scale];
    scale *= config.spaceFactors[stage] ?? 1;
    return [shape, shape, shape];
  });
}

/**
 * Builds the model. Inputs: `latent` [latentFrames, channels, h, w] and `mem<k>_in` (zeros before a clip).
 * Outputs: `video` f32 [n, 3, H, W] in [0, 1]; `rgba` int32 [n, H, W] whose four bytes are R, G, B, 255;
 * `mem<k>_out`; n is framesPerLatent x latentFrames. Nothing is trimmed here.
 * Throws `WeightsError` when a tensor is missing, mis-shaped or not finite.
 */
export async function buildTaehvDecoder(
  source: TensorSource,
  config: TaehvDecoderConfig,
  size: DecoderGraphSize,
): Promise<Uint8Array> {
  const graph = new GraphBuilder("taehv_decoder");
  const parts: DecoderParts = { graph, source, config };
  const { latentFrames, latentHeight, latentWidth } = size;
  const latent = graph.input("latent", "float32", [
    latentFrames,
    config.latentChannels,
    latentHeight,
    latentWidth,
  ]);
  const shapes = memoryShapes(config, size);

  let x = clampSoftly(graph, latent);
  x = graph.node("Relu", [
    await conv3x3(parts, x, "decoder.1", { in: config.latentChannels, out: config.widths[0] }),
  ]);
  let frames = latentFrames;
  let [height, width] = [latentHeight, latentWidth];
  for (const [stage, firstLayer] of STAGE_LAYERS.entries()) {
    for (let block = 0; block < 3; block++) {
      const index = stage * 3 + block;
      const memory = graph.input(memoryInput(index), "float32", shapes[index] ?? []);
      const step = await memBlock(parts, { x, memory, frames }, firstLayer + block);
      graph.output(memoryOutput(index), step.memory, "float32", shapes[index] ?? []);
      x = step.x;
    }
    const factor = config.timeFactors[stage] ?? 1;
    height *= config.spaceFactors[stage] ?? 1;
    width *= config.spaceFactors[stage] ?? 1;
    x = await grow(parts, x, stage);
    frames *= factor;
    if (factor > 1)
      x = graph.node("Reshape", [
        x,
        graph.int64s("frames_shape", [frames, config.widths[stage + 1] ?? 0, height, width]),
      ]);
  }
  x = graph.node("Relu", [x]);
  await writeFrames(parts, x, {
    frames: framesPerLatent(config) * latentFrames,
    height: latentHeight * spatialScale(config),
    width: latentWidth * spatialScale(config),
  });
  return graph.encode();
}

interface DecoderParts {
  readonly graph: GraphBuilder;
  readonly source: TensorSource;
  readonly config: TaehvDecoderConfig;
}

// TAEHV's Clamp: tanh(x / 3) * 3.
function clampSoftly(graph: GraphBuilder, x: Value): Value {
  const three = graph.scalar("three", 3);
  return graph.node("Mul", [graph.node("Tanh", [graph.node("Div", [x, three])]), three]);
}

interface MemStep {
  readonly x: Value;
  readonly memory: Value;
  readonly frames: number;
}

// relu(conv(cat[x, past]) + x), past being the block's input one frame earlier; the new memory is its last input.
async function memBlock(
  parts: DecoderParts,
  { x, memory, frames }: MemStep,
  layer: number,
): Promise<{ x: Value; memory: Value }> {
  const { graph } = parts;
  const width = convShape(parts.source, `decoder.${layer}.conv.2.weight`)[0];
  const name = `decoder.${layer}.conv`;
  const past =
    frames === 1 ? memory : graph.node("Concat", [memory, sliceFrames(graph, x, 0, frames - 1)], axis(0));
  let y = graph.node("Concat", [x, past], axis(1));
  y = graph.node("Relu", [await conv3x3(parts, y, `${name}.0`, { in: 2 * width, out: width })]);
  y = graph.node("Relu", [await conv3x3(parts, y, `${name}.2`, { in: width, out: width })]);
  y = await conv3x3(parts, y, `${name}.4`, { in: width, out: width });
  const last = frames === 1 ? x : sliceFrames(graph, x, frames - 1, frames);
  return { x: graph.node("Relu", [graph.node("Add", [y, x])]), memory: last };
}

// End of a stage: nearest x2, TGrow and the bias-free 3x3, in one go. Channels are grouped by output frame.
async function grow(parts: DecoderParts, x: Value, stage: number): Promise<Value> {
  const { graph, source, config } = parts;
  const layer = (STAGE_LAYERS[stage] ?? 0) + 4;
  const [inWidth, outWidth] = [config.widths[stage] ?? 0, config.widths[stage + 1] ?? 0];
  const growth = convShape(source, `decoder.${layer}.conv.weight`)[0];
  const pointwise = await readConv(source, `decoder.${layer}.conv.weight`, [growth, inWidth, 1, 1]);
  const spatial = await readConv(source, `decoder.${layer + 1}.weight`, [outWidth, inWidth, 3, 3]);
  const folded = foldTimeGrowth(pointwise, spatial, config.timeFactors[stage] ?? 1);
  const name = `decoder.${layer + 1}`;
  if (config.spaceFactors[stage] === 1)
    return graph.node(
      "Conv",
      [x, graph.constant(`${name}.weight`, folded.shape, folded.data)],
      convAttributes(name, [1, 1, 1, 1]),
    );
  const phases = foldUpsample(folded).map((kernel, phase) => {
    const [down, right] = [phase >> 1, phase & 1];
    const weight = graph.constant(`${name}.weight_phase${phase}`, kernel.shape, kernel.data);
    return graph.node("Conv", [x, weight], convAttributes(name, [1 - down, 1 - right, down, right]));
  });
  const stacked = graph.node("Concat", phases, axis(1));
  return graph.node("DepthToSpace", [stacked], { attributes: { blocksize: { i: 2 }, mode: { s: "DCR" } } });
}

// The last convolution, the clamp to [0, 1], and the two forms of the frames.
async function writeFrames(
  parts: DecoderParts,
  x: Value,
  size: { frames: number; height: number; width: number },
): Promise<void> {
  const { graph, config } = parts;
  const { frames, height, width } = size;
  let y = await conv3x3(parts, x, "decoder.22", { in: config.widths[3], out: 3 * config.patchSize ** 2 });
  if (config.patchSize > 1)
    // torch.pixel_shuffle orders channels colour first, then the patch: ONNX calls that CRD.
    y = graph.node("DepthToSpace", [y], {
      attributes: { blocksize: { i: config.patchSize }, mode: { s: "CRD" } },
    });
  const video = graph.node("Clip", [y, graph.scalar("zero", 0), graph.scalar("one", 1)]);
  graph.output("video", video, "float32", [frames, 3, height, width]);
  graph.output("rgba", packRgba(graph, video), "int32", [frames, height, width]);
}

// R + 256 G + 65536 B is below 2^24, hence exact in f32; alpha 255 is added as int32 bits (255 << 24 is negative).
// No uint8 and no transpose, since the webgpu provider has neither kernel for bytes.
function packRgba(graph: GraphBuilder, video: Value): Value {
  const levels = graph.node("Round", [graph.node("Mul", [video, graph.scalar("levels", 255)])]);
  const byte = graph.scalar("byte", 256);
  const [red, green, blue] = graph.nodeWithOutputs("Split", [levels], 3, axis(1));
  if (!red || !green || !blue) throw new Error("Split must give three colours.");
  const high = graph.node("Mul", [graph.node("Add", [graph.node("Mul", [blue, byte]), green]), byte]);
  const colour = graph.node("Cast", [graph.node("Add", [high, red])], { attributes: { to: { i: 6 } } });
  const opaque = graph.node("Add", [colour, graph.constant("alpha", [], Int32Array.of(255 << 24))]);
  return graph.node("Squeeze", [opaque, graph.int64s("channel_axis", [1])]);
}

async function conv3x3(
  parts: DecoderParts,
  x: Value,
  name: string,
  width: { in: number; out: number },
): Promise<Value> {
  const { graph, source } = parts;
  const weight = await readConv(source, `${name}.weight`, [width.out, width.in, 3, 3]);
  const bias = await readTensor(source, `${name}.bias`, [width.out]);
  const operands = [
    x,
    graph.constant(`${name}.weight`, weight.shape, weight.data),
    graph.constant(`${name}.bias`, [width.out], bias),
  ];
  return graph.node("Conv", operands, convAttributes(name, [1, 1, 1, 1]));
}

function convAttributes(
  name: string,
  pads: readonly number[],
): { name: string; attributes: Record<string, Attribute> } {
  return { name, attributes: { pads: { ints: pads } } };
}

function axis(i: number): { attributes: Record<string, Attribute> } {
  return { attributes: { axis: { i } } };
}

function sliceFrames(graph: GraphBuilder, x: Value, start: number, end: number): Value {
  return graph.node("Slice", [
    x,
    graph.int64s("start", [start]),
    graph.int64s("end", [end]),
    graph.int64s("axes", [0]),
  ]);
}

async function readConv(source: TensorSource, name: string, shape: ConvWeight["shape"]): Promise<ConvWeight> {
  return { shape, data: await readTensor(source, name, shape) };
}

async function readTensor(
  source: TensorSource,
  name: string,
  shape: readonly number[],
): Promise<Float32Array> {
  if (![...source.names].includes(name))
    throw new WeightsError(`Tensor ${name} is missing; a TAEHV checkpoint has it (keys decoder.<layer>.…).`);
  const stored = source.info(name).shape;
  if (stored.join() !== shape.join())
    throw new WeightsError(
      `Tensor ${name} has shape [${stored.join(", ")}]; expected [${shape.join(", ")}].`,
    );
  const data = await source.readF32(name);
  if (!data.every(Number.isFinite))
    throw new WeightsError(`Tensor ${name} holds values that are not finite.`);
  return data;
}
