// A model folder behind a URL, read with fetch and Range requests. Works, more slowly, with servers that ignore ranges.
// The only file of the project that calls fetch for weights; caching on disk is opfs_source.ts.

import { InputError, WeightsError } from "../errors.ts";
import type { ByteRange, FileSource } from "./file_source.ts";
import { assertRangeInside, missingFile } from "./memory_source.ts";
import { assertModelPath } from "./model_path.ts";

/** Attempts per request; network errors, 429 and 5xx are tried again after `RETRY_MS`, doubled each time. */
const ATTEMPTS = 3;
const RETRY_MS = 250;
/** Whole files kept in memory for servers that ignore ranges; beyond it every read downloads the file anew. */
const MAX_KEPT_BYTES = 512 * 1024 * 1024;

/** The files below `baseUrl` (its query, e.g. a token, is kept). Throws `InputError` when it is not an http(s) URL. */
export function openUrlSource(baseUrl: string): FileSource {
  const base = parseBaseUrl(baseUrl);
  const files = new Files(base);
  return {
    location: files.location,
    has: async (path) => typeof (await files.size(path)) === "number",
    async size(path) {
      const bytes = await files.size(path);
      if (typeof bytes === "string") throw absent(path, bytes, files.location);
      return bytes;
    },
    read: (path, range, signal) => files.read(path, range, signal),
  };
}

function parseBaseUrl(baseUrl: string): URL {
  const explain = `"${baseUrl}" is not a model URL; expected http(s)://host/path/to/model/.`;
  let url: URL;
  try {
    url = new URL(baseUrl, globalThis.location?.href);
  } catch (error) {
    throw new InputError(explain, { cause: error });
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new InputError(explain);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

/** Why there is no file: the server says so, or it answers with a page (as single-page servers do for any path). */
type Absence = "missing" | "page";

/** Sizes already learnt, and whole files from servers that ignore ranges. */
class Files {
  readonly location: string;
  readonly #base: URL;
  readonly #sizes = new Map<string, Promise<number | Absence>>();
  readonly #whole = new Map<string, Uint8Array>();
  #keptBytes = 0;

  constructor(base: URL) {
    this.#base = base;
    this.location = base.origin + base.pathname;
  }

  /** Bytes of the file, asked once per path. */
  size(path: string): Promise<number | Absence> {
    let size = this.#sizes.get(path);
    if (size === undefined) {
      size = this.#askSize(path);
      this.#sizes.set(path, size);
      size.catch(() => this.#sizes.delete(path));
    }
    return size;
  }

  async read(path: string, range: ByteRange | undefined, signal?: AbortSignal): Promise<Uint8Array> {
    signal?.throwIfAborted();
    const whole = this.#whole.get(path);
    if (whole !== undefined) {
      assertRangeInside(path, range, whole.byteLength);
      return whole.slice(range?.start, range?.end);
    }
    if (range !== undefined && range.start === range.end) return new Uint8Array(0);
    const response = await this.#fetch(path, { method: "GET", range, signal });
    if (typeof response === "string") throw absent(path, response, this.location);
    if (range === undefined) return readBody(path, response);
    if (response.status === 206) return readExactly(path, response, range);
    const bytes = await readBody(path, response);
    assertRangeInside(path, range, bytes.byteLength);
    this.#keep(path, bytes);
    return bytes.slice(range.start, range.end);
  }

  /** HEAD; where that is refused or says nothing, the first byte's Content-Range; else the length of the whole body. */
  async #askSize(path: string): Promise<number | Absence> {
    const head = await this.#fetch(path, { method: "HEAD" });
    if (typeof head === "string") return head;
    const length = contentLength(head);
    if (length !== undefined) return length;
    const probe = await this.#fetch(path, { method: "GET", range: { start: 0, end: 1 } });
    if (typeof probe === "string") return probe;
    const total = probe.status === 206 ? totalOfContentRange(probe) : contentLength(probe);
    if (total !== undefined) {
      await probe.body?.cancel();
      return total;
    }
    const bytes = await readBody(path, probe);
    this.#keep(path, bytes);
    return bytes.byteLength;
  }

  #keep(path: string, bytes: Uint8Array): void {
    if (this.#keptBytes + bytes.byteLength > MAX_KEPT_BYTES) return;
    this.#keptBytes += bytes.byteLength;
    this.#whole.set(path, bytes);
  }

  /** A response with the file in it (for HEAD also a refusal), or why there is none. */
  async #fetch(path: string, request: FileRequest): Promise<Response | Absence> {
    assertModelPath(path);
    const url = new URL(this.#base);
    url.pathname += path.split("/").map(encodeURIComponent).join("/");
    const response = await fetchWithRetry(url, path, request);
    const absence = absenceOf(response);
    if (absence === undefined && (response.ok || request.method === "HEAD")) return response;
    await response.body?.cancel();
    if (absence !== undefined) return absence;
    throw new WeightsError(
      `${path}: ${this.location} answered ${response.status} ${response.statusText}; check the address and whether it needs a login.`,
    );
  }
}

interface FileRequest {
  readonly method: "GET" | "HEAD";
  readonly range?: ByteRange | undefined;
  readonly signal?: AbortSignal | undefined;
}

async function fetchWithRetry(
  url: URL,
  path: string,
  { method, range, signal }: FileRequest,
): Promise<Response> {
  const headers = new Headers();
  if (range !== undefined) headers.set("Range", `bytes=${range.start}-${range.end - 1}`);
  for (let attempt = 1; ; attempt++) {
    const last = attempt === ATTEMPTS;
    try {
      const response = await fetch(url, { method, headers, ...(signal === undefined ? {} : { signal }) });
      if (last || (response.status !== 429 && response.status < 500)) return response;
      await response.body?.cancel();
    } catch (error) {
      signal?.throwIfAborted();
      if (last) {
        throw new WeightsError(
          `Cannot fetch ${path} from ${url.origin} (${reason(error)}); check the connection.`,
          {
            cause: error,
          },
        );
      }
    }
    await new Promise((done) => setTimeout(done, RETRY_MS * 2 ** (attempt - 1)));
    signal?.throwIfAborted();
  }
}

/** fetch hides the socket's error in `cause`. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return "network error";
  return error.cause instanceof Error ? error.cause.message : error.message;
}

async function readBody(path: string, response: Response): Promise<Uint8Array> {
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new WeightsError(
      `${path}: the connection ended before the file did (${reason(error)}); try again.`,
      {
        cause: error,
      },
    );
  }
}

async function readExactly(path: string, response: Response, range: ByteRange): Promise<Uint8Array> {
  const bytes = await readBody(path, response);
  if (bytes.byteLength !== range.end - range.start) {
    const total = totalOfContentRange(response) ?? range.start + bytes.byteLength;
    throw new WeightsError(
      `${path} is truncated: bytes ${range.start} to ${range.end} were asked for, the server has ${total}; download it again.`,
    );
  }
  return bytes;
}

/** A length that counts the file's own bytes: not that of a compressed transfer. */
function contentLength(response: Response): number | undefined {
  if (!response.ok || response.headers.has("Content-Encoding")) return undefined;
  const length = response.headers.get("Content-Length");
  return length === null ? undefined : Number(length);
}

function totalOfContentRange(response: Response): number | undefined {
  const total = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  return total === undefined ? undefined : Number(total);
}

function absenceOf(response: Response): Absence | undefined {
  if (response.status === 404 || response.status === 410) return "missing";
  const isPage = (response.headers.get("Content-Type") ?? "").startsWith("text/html");
  return response.ok && isPage ? "page" : undefined;
}

function absent(path: string, absence: Absence, location: string): WeightsError {
  if (absence === "missing") return missingFile(path, location);
  return new WeightsError(
    `${path}: ${location} answered with an HTML page instead of the file; give the address of the model folder itself.`,
  );
}
