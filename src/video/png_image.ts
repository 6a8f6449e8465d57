// Pictures to PNG and back (W3C PNG, third edition): 8-bit RGB, deflated by the platform's own streams. Reads only what
// it writes. No ffmpeg: a contact sheet and a preview need no 32 MB of WebAssembly.
import { pngChunk, PNG_SIGNATURE } from "./png_chunks.ts";
import { textOf, viewOf } from "./media_info.ts";

/** A picture in memory. */
export interface Picture {
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  /** RGBA, height x width x 4; alpha counts as opaque. */
  readonly data: Uint8Array;
}

/** Each byte less the one above it: simple, and good for smooth pictures. */
const FILTER_UP = 2;
/** Bits a channel, colour type RGB, deflate, adaptive filters, not interlaced. */
const RGB8 = [8, 2, 0, 0, 0];

/** Encodes a picture without loss. */
export async function encodePng({ width, height, data }: Picture): Promise<Uint8Array> {
  const rows = new Uint8Array(height * (1 + width * 3));
  for (let y = 0, to = 0, from = 0; y < height; y++) {
    rows[to++] = FILTER_UP;
    for (let x = 0; x < width; x++, from += 4) {
      for (let channel = from; channel < from + 3; channel++) {
        const above = y === 0 ? 0 : (data[channel - width * 4] ?? 0);
        rows[to++] = (data[channel] ?? 0) - above;
      }
    }
  }
  const header = new Uint8Array(13);
  viewOf(header).setUint32(0, width);
  viewOf(header).setUint32(4, height);
  header.set(RGB8, 8);
  const packed = await through(rows, new CompressionStream("deflate"));
  const parts = [PNG_SIGNATURE, pngChunk("IHDR", header), pngChunk("IDAT", packed), pngChunk("IEND")];
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Decodes what `encodePng` wrote. Throws RangeError for another PNG, TypeError when its data are damaged. */
export async function decodePng(png: Uint8Array): Promise<Picture> {
  const view = viewOf(png);
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  if (!RGB8.every((value, i) => png[24 + i] === value)) throw new RangeError("it is not plain 8-bit RGB");
  const rows = await through(imageData(png), new DecompressionStream("deflate"));
  const data = new Uint8Array(width * height * 4);
  for (let y = 0, from = 0, to = 0; y < height; y++) {
    if (rows[from++] !== FILTER_UP) throw new RangeError("it has filters other than Up");
    for (let x = 0; x < width; x++, to += 4) {
      for (let channel = to; channel < to + 3; channel++) {
        const above = y === 0 ? 0 : (data[channel - width * 4] ?? 0);
        data[channel] = (rows[from++] ?? 0) + above;
      }
      data[to + 3] = 255;
    }
  }
  return { width, height, data };
}

/** The compressed pixels of a file with one IDAT chunk. */
function imageData(png: Uint8Array): Uint8Array<ArrayBuffer> {
  const view = viewOf(png);
  for (let at = PNG_SIGNATURE.length; at + 8 <= png.length;) {
    const end = at + 8 + view.getUint32(at);
    if (textOf(png, at + 4, at + 8) === "IDAT") return png.slice(at + 8, end);
    at = end + 4;
  }
  throw new RangeError("it has no pixels");
}

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}
