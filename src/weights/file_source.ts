// Where a model's files come from, as one small interface: a folder (Node), a URL, the browser's OPFS cache.
// It knows bytes and ranges only; safetensors.ts knows what they mean.

/** A byte range, `end` exclusive. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Read access to the files of one model. Paths are relative to the model's folder, with "/". */
export interface FileSource {
  /** Where the files are, for messages and metadata. */
  readonly location: string;
  has(path: string): Promise<boolean>;
  /** Size in bytes; throws `WeightsError` when the file is missing. */
  size(path: string): Promise<number>;
  /** The whole file or a range of it; throws `WeightsError` when missing or shorter than the range. */
  read(path: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array>;
}
