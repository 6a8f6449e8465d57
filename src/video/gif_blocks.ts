// Reads the blocks of a GIF file (GIF89a specification) and adds a comment, which ffmpeg does not write.
import { roundedFps, textOf, viewOf, type MediaInfo } from "./media_info.ts";

const EXTENSION = 0x21;
const IMAGE = 0x2c;
const TRAILER = 0x3b;
const GRAPHIC_CONTROL = 0xf9;
const COMMENT = 0xfe;
const MAX_SUB_BLOCK_BYTES = 255;

/** True when the bytes begin like a GIF file. */
export function isGif(bytes: Uint8Array): boolean {
  return /^GIF8[79]a$/.test(textOf(bytes, 0, 6));
}

/** Counts the images and adds up their delays. Throws RangeError on truncated blocks. */
export function probeGif(bytes: Uint8Array): MediaInfo {
  const view = viewOf(bytes);
  let frames = 0;
  let hundredths = 0;
  let comment: string | null = null;
  let at = 13 + paletteBytes(view.getUint8(10));
  while (view.getUint8(at) !== TRAILER) {
    if (view.getUint8(at) === IMAGE) {
      frames++;
      at = subBlocks(view, at + 11 + paletteBytes(view.getUint8(at + 9))).end; // 10 of descriptor, 1 of code size
    } else if (view.getUint8(at) === EXTENSION) {
      const { parts, end } = subBlocks(view, at + 2);
      if (view.getUint8(at + 1) === GRAPHIC_CONTROL) hundredths += view.getUint16(at + 4, true);
      if (view.getUint8(at + 1) === COMMENT)
        comment ??= parts.map(([from, to]) => textOf(bytes, from, to)).join("");
      at = end;
    } else throw new RangeError("a block is damaged");
  }
  return {
    container: "gif",
    codec: "gif",
    width: view.getUint16(6, true),
    height: view.getUint16(8, true),
    frames,
    fps: hundredths > 0 ? roundedFps((frames * 100) / hundredths) : null,
    duration: hundredths / 100,
    comment,
  };
}

/** The same GIF with a comment (ASCII) before its end. */
export function withGifComment(gif: Uint8Array, comment: string): Uint8Array {
  const text = new TextEncoder().encode(comment);
  const block = [EXTENSION, COMMENT];
  for (let at = 0; at < text.length; at += MAX_SUB_BLOCK_BYTES) {
    const part = text.subarray(at, at + MAX_SUB_BLOCK_BYTES);
    block.push(part.length, ...part);
  }
  block.push(0, TRAILER);
  const file = new Uint8Array(gif.length - 1 + block.length); // over the old trailer
  file.set(gif);
  file.set(block, gif.length - 1);
  return file;
}

/** Bytes of a colour table whose flags are given. */
function paletteBytes(flags: number): number {
  return flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0;
}

function subBlocks(
  view: DataView,
  start: number,
): { parts: (readonly [from: number, to: number])[]; end: number } {
  const parts: (readonly [number, number])[] = [];
  let at = start;
  for (let size = view.getUint8(at); size > 0; size = view.getUint8(at)) {
    parts.push([at + 1, at + 1 + size]);
    at += 1 + size;
  }
  return { parts, end: at + 1 };
}
