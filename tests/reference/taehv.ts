// The TAEHV decoder by plain loops, from taehv.py of madebyollin/taehv: whole clip at once, frames first, no
// folding. Slow; for tiny sizes only.

/** Weights by name, as in the checkpoint. */
export type TaehvWeights = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data: Float32Array }
>;

/** What of the decoder is switched on. */
export interface TaehvShape {
  /** Frames that each stage's end makes of one. */
  readonly timeFactors: readonly number[];
  readonly spaceFactors: readonly number[];
  readonly patchSize: number;
}

/** Frames x channels x height x width. */
export interface Images {
  readonly frames: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly data: Float64Array;
}

/** Decodes latents [frames, channels, h, w]; nothing is trimmed, values are clamped to [0, 1]. */
export function decodeTaehv(weights: TaehvWeights, shape: TaehvShape, latents: Images): Images {
  let x = map(latents, (value) => Math.tanh(value / 3) * 3);
  x = relu(conv(weights, "decoder.1", x));
  for (let stage = 0; stage < 3; stage++) {
    const layer = 3 + 6 * stage;
    for (let block = 0; block < 3; block++) x = memBlock(weights, `decoder.${layer + block}`, x);
    if (shape.spaceFactors[stage] === 2) x = nearest2(x);
    x = timeGrow(conv(weights, `decoder.${layer + 4}.conv`, x), x.channels, shape.timeFactors[stage]!);
    x = conv(weights, `decoder.${layer + 5}`, x);
  }
  x = conv(weights, "decoder.22", relu(x));
  return map(pixelShuffle(x, shape.patchSize), (value) => Math.min(1, Math.max(0, value)));
}

function memBlock(weights: TaehvWeights, name: string, x: Images): Images {
  const { frames, channels, height, width } = x;
  const size = channels * height * width;
  const cat = images(frames, 2 * channels, height, width);
  for (let t = 0; t < frames; t++) {
    cat.data.set(x.data.subarray(t * size, (t + 1) * size), 2 * t * size);
    if (t > 0) cat.data.set(x.data.subarray((t - 1) * size, t * size), (2 * t + 1) * size);
  }
  let y = relu(conv(weights, `${name}.conv.0`, cat));
  y = conv(weights, `${name}.conv.4`, relu(conv(weights, `${name}.conv.2`, y)));
  return relu({ ...y, data: y.data.map((value, i) => value + x.data[i]!) });
}

/** Square kernel, stride 1, zero padding that keeps the size; the bias is optional. */
function conv(weights: TaehvWeights, name: string, x: Images): Images {
  const { shape, data: kernel } = weights.get(`${name}.weight`)!;
  const bias = weights.get(`${name}.bias`)?.data;
  const [out, , side] = shape as [number, number, number];
  const y = images(x.frames, out, x.height, x.width);
  const half = (side - 1) / 2;
  let at = 0;
  for (let t = 0; t < x.frames; t++)
    for (let o = 0; o < out; o++)
      for (let row = 0; row < x.height; row++)
        for (let column = 0; column < x.width; column++) {
          let sum = bias?.[o] ?? 0;
          for (let c = 0; c < x.channels; c++)
            for (let ky = 0; ky < side; ky++)
              for (let kx = 0; kx < side; kx++) {
                const [r, s] = [row + ky - half, column + kx - half];
                if (r < 0 || s < 0 || r >= x.height || s >= x.width) continue;
                sum +=
                  kernel[((o * x.channels + c) * side + ky) * side + kx]! *
                  x.data[((t * x.channels + c) * x.height + r) * x.width + s]!;
              }
          y.data[at++] = sum;
        }
  return y;
}

/** [T, groups x C] -> [T x factor, C]; with more groups than wanted the last ones are kept. */
function timeGrow(x: Images, channels: number, factor: number): Images {
  const y = images(x.frames * factor, channels, x.height, x.width);
  const size = channels * x.height * x.width;
  const groups = x.channels / channels;
  for (let t = 0; t < x.frames; t++)
    y.data.set(
      x.data.subarray((t * groups + groups - factor) * size, (t + 1) * groups * size),
      t * factor * size,
    );
  return y;
}

function nearest2(x: Images): Images {
  const y = images(x.frames, x.channels, x.height * 2, x.width * 2);
  for (let plane = 0; plane < x.frames * x.channels; plane++)
    for (let row = 0; row < y.height; row++)
      for (let column = 0; column < y.width; column++)
        y.data[(plane * y.height + row) * y.width + column] =
          x.data[(plane * x.height + (row >> 1)) * x.width + (column >> 1)]!;
  return y;
}

/** torch.pixel_shuffle: [T, C p p, h, w] -> [T, C, h p, w p]. */
function pixelShuffle(x: Images, p: number): Images {
  const y = images(x.frames, x.channels / (p * p), x.height * p, x.width * p);
  for (let plane = 0; plane < y.frames * y.channels; plane++)
    for (let row = 0; row < y.height; row++)
      for (let column = 0; column < y.width; column++) {
        const source = plane * p * p + (row % p) * p + (column % p);
        y.data[(plane * y.height + row) * y.width + column] =
          x.data[(source * x.height + Math.floor(row / p)) * x.width + Math.floor(column / p)]!;
      }
  return y;
}

function images(frames: number, channels: number, height: number, width: number): Images {
  return { frames, channels, height, width, data: new Float64Array(frames * channels * height * width) };
}

function relu(x: Images): Images {
  return map(x, (value) => Math.max(0, value));
}

function map(x: Images, change: (value: number) => number): Images {
  return { ...x, data: x.data.map(change) };
}
