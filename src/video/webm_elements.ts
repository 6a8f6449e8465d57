// Reads the elements of a WebM file (EBML, RFC 8794; Matroska, RFC 9559): its first video track and COMMENT tag.
import { roundedFps, textOf, viewOf, type MediaInfo } from "./media_info.ts";

/** True when the bytes begin like a WebM or Matroska file. */
export function isWebm(bytes: Uint8Array): boolean {
  return bytes.length > 4 && viewOf(bytes).getUint32(0) === ID.EBML;
}

/** The facts of the first video track; null when there is none. Throws RangeError on truncated elements. */
export function probeWebm(bytes: Uint8Array): MediaInfo | null {
  const found: Found = {
    frames: 0,
    codec: "",
    width: 0,
    height: 0,
    timestampScale: 1e6,
    duration: 0,
    comment: null,
  };
  readElements(bytes, 0, bytes.length, found);
  if (!found.codec || !found.width) return null;
  const duration = (found.duration * found.timestampScale) / 1e9;
  const fps = found.frameNs ? 1e9 / found.frameNs : found.frames / duration;
  return {
    container: "webm",
    codec: CODECS[found.codec] ?? found.codec,
    width: found.width,
    height: found.height,
    frames: found.frames,
    fps: roundedFps(fps),
    duration,
    comment: found.comment,
  };
}

const ID = {
  EBML: 0x1a45dfa3,
  Segment: 0x18538067,
  Info: 0x1549a966,
  TimestampScale: 0x2ad7b1,
  Duration: 0x4489,
  Tracks: 0x1654ae6b,
  TrackEntry: 0xae,
  CodecID: 0x86,
  DefaultDuration: 0x23e383,
  Video: 0xe0,
  PixelWidth: 0xb0,
  PixelHeight: 0xba,
  Cluster: 0x1f43b675,
  SimpleBlock: 0xa3,
  BlockGroup: 0xa0,
  Tags: 0x1254c367,
  Tag: 0x7373,
  SimpleTag: 0x67c8,
  TagName: 0x45a3,
  TagString: 0x4487,
} as const;

const CODECS: Readonly<Record<string, string>> = { V_VP8: "vp8", V_VP9: "vp9", V_AV1: "av1" };

/** Elements that hold elements we look at. */
const PARENTS: ReadonlySet<number> = new Set<number>([
  ID.Segment,
  ID.Info,
  ID.Tracks,
  ID.TrackEntry,
  ID.Video,
  ID.Cluster,
  ID.Tags,
  ID.Tag,
  ID.SimpleTag,
]);

interface Found {
  frames: number;
  codec: string;
  width: number;
  height: number;
  timestampScale: number;
  /** In units of timestampScale nanoseconds. */
  duration: number;
  frameNs?: number;
  tagName?: string;
  comment: string | null;
}

function readElements(bytes: Uint8Array, start: number, end: number, found: Found): void {
  const view = viewOf(bytes);
  for (let at = start; at < end;) {
    const id = readVint(view, at, false);
    const size = readVint(view, at + id.length, true);
    const body = at + id.length + size.length;
    const isOpenEnded = size.value === 2 ** (7 * size.length) - 1; // a live stream's unknown size
    const next = isOpenEnded ? end : body + size.value;
    if (next > end) throw new RangeError("an element is cut off");
    if (PARENTS.has(id.value)) readElements(bytes, body, next, found);
    else readLeaf(id.value, bytes.subarray(body, next), found);
    at = next;
  }
}

function readLeaf(id: number, body: Uint8Array, found: Found): void {
  switch (id) {
    case ID.SimpleBlock:
    case ID.BlockGroup:
      found.frames++;
      break;
    case ID.CodecID:
      found.codec ||= textOf(body, 0, body.length);
      break;
    case ID.PixelWidth:
      found.width ||= readUint(body);
      break;
    case ID.PixelHeight:
      found.height ||= readUint(body);
      break;
    case ID.DefaultDuration:
      found.frameNs ??= readUint(body);
      break;
    case ID.TimestampScale:
      found.timestampScale = readUint(body);
      break;
    case ID.Duration:
      found.duration = body.length === 8 ? viewOf(body).getFloat64(0) : viewOf(body).getFloat32(0);
      break;
    case ID.TagName:
      found.tagName = textOf(body, 0, body.length);
      break;
    case ID.TagString:
      if (found.tagName === "COMMENT") found.comment ??= textOf(body, 0, body.length);
      break;
  }
}

/** EBML's number of 1 to 8 bytes: the first byte's leading zeros give the length. Ids keep their marker bit. */
function readVint(view: DataView, at: number, dropMarker: boolean): { value: number; length: number } {
  const first = view.getUint8(at);
  const length = Math.clz32(first) - 23;
  if (length > 8) throw new RangeError("a number is damaged");
  let value = dropMarker ? first & (0xff >> length) : first;
  for (let i = 1; i < length; i++) value = value * 256 + view.getUint8(at + i);
  return { value, length };
}

function readUint(body: Uint8Array): number {
  return body.reduce((value, byte) => value * 256 + byte, 0);
}
