// Small pictures of evenly spaced frames, and strips of them one below the other.
import { frameBytes } from "../../src/metrics/frame_planes.ts";
import type { FrameBatch } from "../../src/video/frame_batch.ts";

const COLUMNS = 12;
const SIDE = 64;
const GAP = 2;

/** Collects the thumbnails of one video while its frames go by. */
export class Thumbnails {
  readonly #wanted: readonly number[];
  readonly #rgb = new Uint8Array(COLUMNS * SIDE * SIDE * 3);
  #frame = 0;

  /** @param numFrames frames of the whole video */
  constructor(numFrames: number) {
    this.#wanted = Array.from({ length: COLUMNS }, (_, i) =>
      Math.round((i * (numFrames - 1)) / (COLUMNS - 1)),
    );
  }

  /** Takes the next frames. */
  write(batch: FrameBatch): void {
    for (let index = 0; index < batch.numFrames; index++, this.#frame++) {
      const column = this.#wanted.indexOf(this.#frame);
      if (column >= 0) this.#shrink(frameBytes(batch, index), batch, column);
    }
  }

  /** All thumbnails, RGB, one after the other. */
  base64(): string {
    return Buffer.from(this.#rgb).toString("base64");
  }

  #shrink(rgba: Uint8Array, { width, height }: { width: number; height: number }, column: number): void {
    const [wide, high] = [width / SIDE, height / SIDE];
    for (let y = 0; y < SIDE; y++) {
      for (let x = 0; x < SIDE; x++) {
        for (let colour = 0; colour < 3; colour++) {
          let [sum, count] = [0, 0];
          for (let v = Math.floor(y * high); v < Math.floor((y + 1) * high); v++) {
            for (let u = Math.floor(x * wide); u < Math.floor((x + 1) * wide); u++, count++)
              sum += rgba[4 * (v * width + u) + colour] ?? 0;
          }
          this.#rgb[3 * ((column * SIDE + y) * SIDE + x) + colour] = Math.round(sum / count);
        }
      }
    }
  }
}

/** Strips of `base64`, one below the other, as an RGBA picture. */
export function composeSheet(strips: readonly string[]): { width: number; height: number; data: Uint8Array } {
  const [width, height] = [COLUMNS * (SIDE + GAP) - GAP, strips.length * (SIDE + GAP) - GAP];
  const data = new Uint8Array(4 * width * height).fill(255);
  strips.forEach((strip, row) => {
    const rgb = Buffer.from(strip, "base64");
    for (let at = 0; at < rgb.length; at += 3) {
      const pixel = at / 3;
      const column = Math.floor(pixel / (SIDE * SIDE));
      const [y, x] = [Math.floor(pixel / SIDE) % SIDE, pixel % SIDE];
      const target = 4 * ((row * (SIDE + GAP) + y) * width + column * (SIDE + GAP) + x);
      data.set(rgb.subarray(at, at + 3), target);
    }
  });
  return { width, height, data };
}
