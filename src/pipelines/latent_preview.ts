// A cheap picture of latents: one RGB pixel per latent pixel by a linear map, as ComfyUI's previews do. For the live
// preview only; the real pictures come from the decoder.

/** rgb = latent . factors + bias, in -1 .. 1. */
export interface LatentRgb {
  /** [channels][3]. */
  readonly factors: readonly (readonly number[])[];
  readonly bias: readonly number[];
}

/** Wan 2.1's map: ComfyUI, comfy/latent_formats.py, class Wan21. */
export const WAN21_LATENT_RGB: LatentRgb = {
  factors: [
    [-0.1299, -0.1692, 0.2932],
    [0.0671, 0.0406, 0.0442],
    [0.3568, 0.2548, 0.1747],
    [0.0372, 0.2344, 0.142],
    [0.0313, 0.0189, -0.0328],
    [0.0296, -0.0956, -0.0665],
    [-0.3477, -0.4059, -0.2925],
    [0.0166, 0.1902, 0.1975],
    [-0.0412, 0.0267, -0.1364],
    [-0.1293, 0.074, 0.1636],
    [0.068, 0.3019, 0.1128],
    [0.0032, 0.0581, 0.0639],
    [-0.1251, 0.0927, 0.1699],
    [0.006, -0.0633, 0.0005],
    [0.3477, 0.2275, 0.295],
    [0.1984, 0.0913, 0.1861],
  ],
  bias: [-0.1835, -0.0868, -0.336],
};

/**
 * RGBA pictures of latents [channels, T, h, w], one per latent frame, h x w pixels each.
 */
export function latentPreview(
  latents: Float32Array,
  shape: readonly [number, number, number, number],
  { factors, bias }: LatentRgb,
): Uint8Array[] {
  const [channels, frames, height, width] = shape;
  const plane = height * width;
  return Array.from({ length: frames }, (_, frame) => {
    const picture = new Uint8Array(4 * plane).fill(255);
    for (let pixel = 0; pixel < plane; pixel++) {
      for (let color = 0; color < 3; color++) {
        let value = bias[color] ?? 0;
        for (let channel = 0; channel < channels; channel++) {
          value +=
            (factors[channel]?.[color] ?? 0) * (latents[(channel * frames + frame) * plane + pixel] ?? 0);
        }
        picture[4 * pixel + color] = Math.max(0, Math.min(255, Math.round(127.5 * (value + 1))));
      }
    }
    return picture;
  });
}
