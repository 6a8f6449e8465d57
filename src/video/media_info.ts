// What can be said about a video file without decoding it.

/** Facts from a file's headers. */
export interface MediaInfo {
  readonly container: "mp4" | "webm" | "gif" | "png";
  /** "h264", "vp9", "gif", "png"; another codec by the name its container has for it. */
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  /** Frames per second, to three decimals; null for a still picture. */
  readonly fps: number | null;
  /** Seconds; null for a still picture. */
  readonly duration: number | null;
  /** The text in the file's comment field, or null. */
  readonly comment: string | null;
}

/** The bytes as a DataView; reading beyond the end throws RangeError, which `probe` turns into a sentence. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Part of the bytes as UTF-8. */
export function textOf(bytes: Uint8Array, start: number, end: number): string {
  return new TextDecoder().decode(bytes.subarray(start, end));
}

/** To three decimals: 24 for what a file's whole nanoseconds make 24.00000038. */
export function roundedFps(fps: number): number {
  return Math.round(fps * 1000) / 1000;
}
