// Reads the chunks of a PNG file (W3C PNG, third edition) and adds a tEXt comment.
import { textOf, viewOf, type MediaInfo } from "./media_info.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const KEYWORD = "Comment";
/** Signature, then IHDR: length, type, 13 bytes, checksum. */
const IHDR_END = 8 + 4 + 4 + 13 + 4;

/** True when the bytes begin like a PNG file. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/** The size of the picture and its comment. Throws RangeError on truncated chunks. */
export function probePng(bytes: Uint8Array): MediaInfo {
  const view = viewOf(bytes);
  let comment: string | null = null;
  for (let at = SIGNATURE.length, type = ""; type !== "IEND";) {
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
  const body = new TextEncoder().encode(`tEXt${KEYWORD}\0${comment}`);
  const file = new Uint8Array(png.length + 4 + body.length + 4);
  const chunk = IHDR_END + 4;
  file.set(png.subarray(0, IHDR_END));
  file.set(body, chunk);
  file.set(png.subarray(IHDR_END), chunk + body.length + 4);
  const view = viewOf(file);
  view.setUint32(IHDR_END, body.length - 4);
  view.setUint32(chunk + body.length, crc32(body));
  return file;
}

/** PNG's checksum (annex D), bit by bit: a few kilobytes a file need no table. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
