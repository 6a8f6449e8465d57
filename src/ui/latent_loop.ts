// The live preview: a few tiny pictures, one per latent frame, played as a loop on a canvas and scaled up smoothly.
import { prefersReducedMotion } from "./dom.ts";

/** Pictures of one step. */
export interface PreviewPictures {
  readonly width: number;
  readonly height: number;
  /** RGBA, one per latent frame. */
  readonly frames: readonly Uint8Array[];
}

/** Pixels of the canvas per latent pixel. */
const SCALE = 16;

/** Plays previews on a canvas until stopped. */
export class LatentLoop {
  readonly #canvas: HTMLCanvasElement;
  #pictures: ImageBitmap[] = [];
  #timer: ReturnType<typeof setInterval> | undefined;
  #index = 0;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
  }

  /** Replaces the pictures and goes on where the loop is. */
  async show({ width, height, frames }: PreviewPictures, latentFramesPerSecond: number): Promise<void> {
    const pictures = await Promise.all(
      frames.map((rgba) => createImageBitmap(new ImageData(new Uint8ClampedArray(rgba), width, height))),
    );
    for (const old of this.#pictures) old.close();
    this.#pictures = pictures;
    this.#canvas.width = width * SCALE;
    this.#canvas.height = height * SCALE;
    this.#draw();
    if (prefersReducedMotion()) return;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#next(), 1000 / latentFramesPerSecond);
  }

  /** Ends the loop; the last picture stays. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #next(): void {
    this.#index++;
    this.#draw();
  }

  #draw(): void {
    const picture = this.#pictures[this.#index % this.#pictures.length];
    const context = this.#canvas.getContext("2d");
    if (picture === undefined || context === null) return;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, this.#canvas.width, this.#canvas.height);
  }
}
