// Pictures to PNG and back; ffmpeg as an independent reader is in round_trip.test.ts.
import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { contactSheet } from "../../../src/video/contact_sheet.ts";
import { probe } from "../../../src/video/inspect.ts";
import { withPngText } from "../../../src/video/png_chunks.ts";
import { decodePng, encodePng } from "../../../src/video/png_image.ts";
import { randomNumbers } from "../../reference/random.ts";

const noise = (width: number, height: number): Uint8Array =>
  Uint8Array.from(randomNumbers(width * height * 4, 5), (value, i) =>
    i % 4 === 3 ? 255 : 127 * (value + 1),
  );

test.for([
  [1, 1],
  [3, 70],
  [257, 2],
] as const)("a %i x %i picture of noise comes back as it was", async ([width, height]) => {
  const picture = { width, height, data: noise(width, height) };
  const png = await encodePng(picture);
  expect(await decodePng(png)).toEqual(picture);
  expect(await decodePng(withPngText(png, "a comment"))).toEqual(picture);
  expect(probe(png)).toMatchObject({ codec: "png", width, height });
});

test("alpha is not stored, and a smooth picture is small", async () => {
  const data = new Uint8Array(64 * 64 * 4).map((_, i) => (i % 4 === 3 ? 0 : 4 * ((i >> 8) % 64)));
  const png = await encodePng({ width: 64, height: 64, data });
  expect(png.length).toBeLessThan(400);
  expect((await decodePng(png)).data.filter((_, i) => i % 4 === 3)).toEqual(new Uint8Array(4096).fill(255));
});

test("the pixels are one zlib stream of filtered rows", async () => {
  const png = await encodePng({ width: 1, height: 2, data: Uint8Array.of(9, 8, 7, 255, 10, 6, 7, 255) });
  const at = Buffer.from(png).indexOf("IDAT");
  const rows = inflateSync(png.subarray(at + 4, png.length - 16));
  expect([...rows]).toEqual([2, 9, 8, 7, 2, 1, 254, 0]);
});

test("a PNG of another kind is refused, a damaged one too", async () => {
  const png = await encodePng({ width: 2, height: 2, data: noise(2, 2) });
  const grey = png.slice();
  grey[25] = 0;
  await expect(decodePng(grey)).rejects.toThrow(RangeError);
  const damaged = png.slice();
  damaged.fill(0, 45, 55);
  await expect(decodePng(damaged)).rejects.toThrow();
});

test("a sheet has no empty tile, and shows first and last frame", () => {
  for (let numFrames = 1; numFrames < 100; numFrames++) {
    const { frames, columns, rows } = contactSheet(numFrames);
    expect(frames.length).toBe(columns * rows);
    expect(new Set(frames).size).toBe(frames.length);
    expect(frames[0]).toBe(0);
    if (numFrames > 1) expect(frames.at(-1)).toBe(numFrames - 1);
    expect(frames.length).toBeGreaterThan(Math.min(16, numFrames) * 0.75);
  }
});
