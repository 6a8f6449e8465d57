// TAEHV's decoder as an ONNX graph: latent frames and nine memories in, frames and nine memories out, so that a
// clip is decoded latent frame by latent frame and can be handed on. Built from the safetensors names of
// madebyollin/taehv (taew2_1, taew2_2, ...). The graph only; running it is taehv_decoder.ts.
//
// Two exact simplifications: TGrow (a bias-free 1x1) is folded into the bias-free 3x3 that follows it, and so is
// the nearest x2 upsampling, as four 2x2 kernels, one per output phase (4/9 of the multiplications).
import { GraphBuilder, type Attribute, type Value } from "./graph_builder.ts";
import { foldTimeGrowth, foldUpsample, type ConvWeight } from "./taehv_fold.ts";
import { convShape, STAGE_LAYERS, type TaehvDecoderConfig, type TaehvCheckpoint } from "./taehv_config.ts";

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
export function memoryShapes(
  config: TaehvDecoderConfig,
  size: Pick<DecoderGraphSize, "latentHeight" | "latentWidth">,
): number[][] {
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
  checkpoint: TaehvCheckpoint,
  config: TaehvDecoderConfig,
  size: DecoderGraphSize,
): Promise<Uint8Array> {
  const graph = new GraphBuilder("taehv_decoder");
  const parts: DecoderParts = { graph, checkpoint, config };
  const { latentFrames: frames, latentHeight: height, latentWidth: width } = size;
  const latent = graph.input("latent", "float32", [frames, config.latentChannels, height, width]);
  const first = await conv3x3(parts, clampSoftly(graph, latent), {
    name: "decoder.1",
    in: config.latentChannels,
    out: config.widths[0],
  });
  let flow: Flow = { x: graph.node("Relu", [first]), frames, height, width };
  for (const stage of STAGE_LAYERS.keys()) {
    flow = await memBlocks(parts, flow, stage);
    flow = await grow(parts, flow, stage);
  }
  await writeFrames(parts, flow);
  return graph.encode();
}

interface DecoderParts {
  readonly graph: GraphBuilder;
  readonly checkpoint: TaehvCheckpoint;
  readonly config: TaehvDecoderConfig;
}

// TAEHV's Clamp: tanh(x / 3) * 3.
function clampSoftly(graph: GraphBuilder, x: Value): Value {
  const three = graph.scalar("three", 3);
  return graph.node("Mul", [graph.node("Tanh", [graph.node("Div", [x, three])]), three]);
}

/** Frames on their way through the network, [frames, channels, height, width]. */
interface Flow {
  readonly x: Value;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
}

// Three times relu(conv(cat[x, past]) + x), past being the block's input one frame earlier; what a block saw last
// is its memory for the next call.
async function memBlocks(parts: DecoderParts, flow: Flow, stage: number): Promise<Flow> {
  const { graph, config } = parts;
  const width = config.widths[stage] ?? 0;
  const shape = [1, width, flow.height, flow.width];
  let { x } = flow;
  for (let block = 0; block < 3; block++) {
    const index = stage * 3 + block;
    const name = `decoder.${(STAGE_LAYERS[stage] ?? 0) + block}.conv`;
    const memory = graph.input(memoryInput(index), "float32", shape);
    const { past, last } = shiftFrames(graph, { ...flow, x }, memory);
    graph.output(memoryOutput(index), last, "float32", shape);
    let y = graph.node("Concat", [x, past], axis(1));
    y = graph.node("Relu", [await conv3x3(parts, y, { name: `${name}.0`, in: 2 * width, out: width })]);
    y = graph.node("Relu", [await conv3x3(parts, y, { name: `${name}.2`, in: width, out: width })]);
    y = await conv3x3(parts, y, { name: `${name}.4`, in: width, out: width });
    x = graph.node("Relu", [graph.node("Add", [y, x])]);
  }
  return { ...flow, x };
}

// The frames one later, the memory in front; and the frame that falls off the end.
function shiftFrames(graph: GraphBuilder, { x, frames }: Flow, memory: Value): { past: Value; last: Value } {
  if (frames === 1) return { past: memory, last: x };
  return {
    past: graph.node("Concat", [memory, sliceFrames(graph, x, 0, frames - 1)], axis(0)),
    last: sliceFrames(graph, x, frames - 1, frames),
  };
}

// End of a stage: nearest x2, TGrow and the bias-free 3x3 in one go; after the last stage also the ReLU, here
// because onnxruntime fuses it into the convolutions.
async function grow({ graph, checkpoint, config }: DecoderParts, flow: Flow, stage: number): Promise<Flow> {
  const layer = (STAGE_LAYERS[stage] ?? 0) + 4;
  const [inWidth, outWidth] = [config.widths[stage] ?? 0, config.widths[stage + 1] ?? 0];
  const [time, space] = [config.timeFactors[stage] ?? 1, config.spaceFactors[stage] ?? 1];
  const growth = convShape(checkpoint, `decoder.${layer}.conv.weight`)[0];
  const pointwise = await readConv(checkpoint, `decoder.${layer}.conv.weight`, [growth, inWidth, 1, 1]);
  const spatial = await readConv(checkpoint, `decoder.${layer + 1}.weight`, [outWidth, inWidth, 3, 3]);
  const kernels =
    space === 2
      ? foldUpsample(foldTimeGrowth(pointwise, spatial, time))
      : [foldTimeGrowth(pointwise, spatial, time)];
  const phases = kernels.map((kernel, phase) => {
    const [down, right] = [phase >> 1, phase & 1];
    const pads = space === 2 ? [1 - down, 1 - right, down, right] : [1, 1, 1, 1];
    const weight = graph.constant(`decoder.${layer + 1}.weight`, kernel.shape, kernel.data);
    const y = graph.node("Conv", [flow.x, weight], {
      name: `decoder.${layer + 1}`,
      attributes: { pads: { ints: pads } },
    });
    return stage === STAGE_LAYERS.length - 1 ? graph.node("Relu", [y]) : y;
  });
  // Channels: output phase, then output frame, then colour plane; DCR takes the phases off, Reshape the frames.
  let x = space === 2 ? depthToSpace(graph, graph.node("Concat", phases, axis(1)), space, "DCR") : phases[0];
  if (x === undefined) throw new Error("A stage has at least one kernel.");
  const grown = { frames: flow.frames * time, height: flow.height * space, width: flow.width * space };
  if (time > 1) {
    const shape = graph.int64s("frames_shape", [grown.frames, outWidth, grown.height, grown.width]);
    x = graph.node("Reshape", [x, shape]);
  }
  return { ...grown, x };
}

// The last convolution, the clamp to [0, 1], and the two forms of the frames.
async function writeFrames(parts: DecoderParts, flow: Flow): Promise<void> {
  const { graph, config } = parts;
  const { patchSize } = config;
  const [height, width] = [flow.height * patchSize, flow.width * patchSize];
  const out = 3 * patchSize ** 2;
  let y = await conv3x3(parts, flow.x, { name: "decoder.22", in: config.widths[3], out });
  // torch.pixel_shuffle orders channels colour first, then the patch: ONNX calls that CRD.
  if (patchSize > 1) y = depthToSpace(graph, y, patchSize, "CRD");
  const video = graph.node("Clip", [y, graph.scalar("zero", 0), graph.scalar("one", 1)]);
  graph.output("video", video, "float32", [flow.frames, 3, height, width]);
  graph.output("rgba", packRgba(graph, video), "int32", [flow.frames, height, width]);
}

// R + 256 G + 65536 B is below 2^24, hence exact in f32; alpha 255 is added as int32 bits (255 << 24 is negative).
// No Round, no bytes: the webgpu provider has no kernels for them and would go through the CPU.
function packRgba(graph: GraphBuilder, video: Value): Value {
  const scaled = graph.node("Mul", [video, graph.scalar("levels", 255)]);
  const levels = graph.node("Floor", [graph.node("Add", [scaled, graph.scalar("half", 0.5)])]);
  const byte = graph.scalar("byte", 256);
  const [red, green, blue] = graph.nodeWithOutputs("Split", [levels], 3, axis(1));
  if (!red || !green || !blue) throw new Error("Split must give three colours.");
  const high = graph.node("Mul", [graph.node("Add", [graph.node("Mul", [blue, byte]), green]), byte]);
  const colour = graph.node("Cast", [graph.node("Add", [high, red])], { attributes: { to: { i: 6 } } });
  const opaque = graph.node("Add", [colour, graph.constant("alpha", [], Int32Array.of(255 << 24))]);
  return graph.node("Squeeze", [opaque, graph.int64s("channel_axis", [1])]);
}

async function conv3x3(
  { graph, checkpoint }: DecoderParts,
  x: Value,
  layer: { name: string; in: number; out: number },
): Promise<Value> {
  const { name } = layer;
  const weight = await readConv(checkpoint, `${name}.weight`, [layer.out, layer.in, 3, 3]);
  const bias = await checkpoint.readF32(`${name}.bias`, { shape: [layer.out] });
  const operands = [
    x,
    graph.constant(`${name}.weight`, weight.shape, weight.data),
    graph.constant(`${name}.bias`, [layer.out], bias),
  ];
  return graph.node("Conv", operands, { name, attributes: { pads: { ints: [1, 1, 1, 1] } } });
}

function depthToSpace(graph: GraphBuilder, x: Value, blocksize: number, mode: "DCR" | "CRD"): Value {
  return graph.node("DepthToSpace", [x], { attributes: { blocksize: { i: blocksize }, mode: { s: mode } } });
}

function sliceFrames(graph: GraphBuilder, x: Value, start: number, end: number): Value {
  const bounds = [graph.int64s("start", [start]), graph.int64s("end", [end]), graph.int64s("axes", [0])];
  return graph.node("Slice", [x, ...bounds]);
}

function axis(i: number): { attributes: Record<string, Attribute> } {
  return { attributes: { axis: { i } } };
}

async function readConv(
  checkpoint: TaehvCheckpoint,
  name: string,
  shape: ConvWeight["shape"],
): Promise<ConvWeight> {
  return { shape, data: await checkpoint.readF32(name, { shape }) };
}
