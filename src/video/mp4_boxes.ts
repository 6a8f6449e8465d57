// Reads the boxes of an MP4 file (ISO 14496-12): its first video track and the iTunes-style comment.
import { roundedFps, textOf, viewOf, type MediaInfo } from "./media_info.ts";

/** True when the bytes begin like an MP4 or QuickTime file. */
export function isMp4(bytes: Uint8Array): boolean {
  return textOf(bytes, 4, 8) === "ftyp";
}

/** The facts of the first video track; null when there is none. Throws RangeError on truncated boxes. */
export function probeMp4(bytes: Uint8Array): MediaInfo | null {
  const view = viewOf(bytes);
  const file: Box = { type: "file", start: 0, end: bytes.length };
  const comment = find(view, file, "moov", "udta", "meta", "ilst", "\u00a9cmt", "data");
  const text = comment ? textOf(bytes, comment.start + 8, comment.end) : null; // after type and locale
  const moov = find(view, file, "moov");
  for (const track of moov ? boxes(view, moov) : []) {
    const handler = find(view, track, "mdia", "hdlr");
    if (track.type !== "trak" || !handler || fourcc(view, handler.start + 8) !== "vide") continue;
    return { container: "mp4", ...readTrack(view, track), comment: text };
  }
  return null;
}

interface Box {
  readonly type: string;
  /** First byte after the header, and after version and flags where the type has them and holds boxes. */
  readonly start: number;
  readonly end: number;
}

const CODECS: Readonly<Record<string, string>> = { avc1: "h264", vp09: "vp9", hvc1: "hevc", av01: "av1" };

type TrackInfo = Pick<MediaInfo, "codec" | "width" | "height" | "frames" | "fps" | "duration">;

function readTrack(view: DataView, track: Box): TrackInfo {
  const mdhd = needed(find(view, track, "mdia", "mdhd"));
  const stbl = needed(find(view, track, "mdia", "minf", "stbl"));
  const stsd = needed(find(view, stbl, "stsd"));
  const stts = needed(find(view, stbl, "stts"));
  const timescale = view.getUint32(mdhd.start + (view.getUint8(mdhd.start) === 1 ? 20 : 12));
  const entry = stsd.start + 8;
  let frames = 0;
  let ticks = 0;
  for (let run = 0; run < view.getUint32(stts.start + 4); run++) {
    const count = view.getUint32(stts.start + 8 + run * 8);
    frames += count;
    ticks += count * view.getUint32(stts.start + 12 + run * 8);
  }
  const name = fourcc(view, entry + 4);
  return {
    codec: CODECS[name] ?? name,
    width: view.getUint16(entry + 32),
    height: view.getUint16(entry + 34),
    frames,
    fps: ticks > 0 ? roundedFps((frames * timescale) / ticks) : null,
    duration: ticks / timescale,
  };
}

function find(view: DataView, parent: Box, ...path: string[]): Box | null {
  const [type, ...rest] = path;
  if (type === undefined) return parent;
  for (const box of boxes(view, parent)) {
    if (box.type !== type) continue;
    const found = find(view, box, ...rest);
    if (found) return found;
  }
  return null;
}

function* boxes(view: DataView, parent: Box): Generator<Box> {
  for (let at = parent.start; at + 8 <= parent.end;) {
    const type = fourcc(view, at + 4);
    let size = view.getUint32(at);
    let header = 8;
    if (size === 0) size = parent.end - at; // to the end
    if (size === 1) {
      size = Number(view.getBigUint64(at + 8));
      header = 16;
    }
    if (size < header || at + size > parent.end) throw new RangeError(`box ${type} is cut off`);
    yield { type, start: at + header + (type === "meta" ? 4 : 0), end: at + size };
    at += size;
  }
}

function fourcc(view: DataView, at: number): string {
  return String.fromCharCode(
    view.getUint8(at),
    view.getUint8(at + 1),
    view.getUint8(at + 2),
    view.getUint8(at + 3),
  );
}

function needed(box: Box | null): Box {
  if (!box) throw new RangeError("a box of the video track is missing");
  return box;
}
