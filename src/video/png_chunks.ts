// The chunks of a PNG file (W3C PNG, third edition): reads them, makes them, adds a tEXt comment. Pixels: png_image.ts.
import { textOf, viewOf, type MediaInfo } from "./media_info.ts";

/** The first bytes of every PNG file. */
export const PNG_SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const KEYWORD = "Comment";
/** Signature, then IHDR: length, type, 13 bytes, checksum. */
const IHDR_END = 8 + 4 + 4 + 13 + 4;

/** True when the bytes begin like a PNG file. */
export function isPng(bytes: Uint8Array): boolean {
  return PNG_SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/** The size of the picture and its comment. Throws RangeError on truncated chunks. */
export function probePng(bytes: Uint8Array): MediaInfo {
  const view = viewOf(bytes);
  let comment: string | null = null;
  for (let at = PNG_SIGNATURE.length, type = ""; type !== "IEND";) {
    const end = at + 8 + view.getUint32(at);
    type = textOf(bytes, at + 4, at + 8);
    if (end + 4 > bytes.length) throw new RangeError(`chunk ${type} is cut off`);
    const prefix = `${KEYWORD}\0`;
    if (type === "tEXt" && textOf(bytes, at + 8, at + 8 + prefix.length) === prefix) {
      comment ??= textOf(bytes, at + 8 + prefix.length, end);
    }
    at = end + 4;
  }
  const size = { width: view.getUint32(16), height: view.getUint32(20) };
  return { container: "png", codec: "png", ...size, frames: 1, fps: null, duration: null, comment };
}

/** The same PNG with a comment (ASCII) after its header. */
export function withPngText(png: Uint8Array, comment: string): Uint8Array {
  const chunk = pngChunk("tEXt", new TextEncoder().encode(`${KEYWORD}\0${comment}`));
  const file = new Uint8Array(png.length + chunk.length);
  file.set(png.subarray(0, IHDR_END));
  file.set(chunk, IHDR_END);
  file.set(png.subarray(IHDR_END), IHDR_END + chunk.length);
  return file;
}

/** A chunk with its length and checksum; `type` is its four letters. */
export function pngChunk(type: string, data: Uint8Array = new Uint8Array()): Uint8Array<ArrayBuffer> {
  const chunk = new Uint8Array(12 + data.length);
  const view = viewOf(chunk);
  view.setUint32(0, data.length);
  chunk.set(new TextEncoder().encode(type), 4);
  chunk.set(data, 8);
  view.setUint32(8 + data.length, crc32(chunk.subarray(4, 8 + data.length)));
  return chunk;
}

/** PNG's checksum (annex D). */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (CRC_TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let crc = index;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});
