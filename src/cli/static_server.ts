// A small file server for the built page and the models: the headers that make a page cross-origin isolated, byte
// ranges for weights, and nothing outside the folders it was given.

import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { extname, join, sep } from "node:path";
import { pipeline } from "node:stream/promises";

/**
 * Folders by the path they are served under, for instance { "/": "dist/page", "/models/": "models" }; a path that does not
 * end in "/" is that of a single file.
 */
export type ServedFolders = Readonly<Record<string, string>>;

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".wgsl": "text/plain; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".gif": "image/gif",
  ".ico": "image/x-icon",
  ".mp4": "video/mp4",
  ".webm": "video/webm",
  ".woff2": "font/woff2",
};

/** Threads of WebAssembly need shared memory, which only isolated pages get. */
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-cache",
  "Accept-Ranges": "bytes",
};

/** A server of these folders; not yet listening. */
export function createStaticServer(folders: ServedFolders): Server {
  return createServer((request, response) => {
    answer(request, response, folders).catch(() => response.destroy());
  });
}

/** Bytes `start` to `end` (exclusive) that a Range header asks for; "all" without one, "invalid" where none exist. */
export function parseRange(
  header: string | undefined,
  size: number,
): { start: number; end: number } | "all" | "invalid" {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined || last === undefined) return "all"; // several ranges: the whole file is a valid answer too
  if (first === "" && last === "") return "all";
  const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === "" || last === "" ? size : Math.min(size, Number(last) + 1);
  return start < end ? { start, end } : "invalid";
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  folders: ServedFolders,
): Promise<void> {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405);
  const file = await findFile(request.url ?? "/", folders);
  if (file === undefined) return refuse(response, 404);
  const range = parseRange(request.headers.range, file.size);
  if (range === "invalid") {
    response.setHeader("Content-Range", `bytes */${file.size}`);
    return refuse(response, 416);
  }
  const { start, end } = range === "all" ? { start: 0, end: file.size } : range;
  if (range !== "all") response.setHeader("Content-Range", `bytes ${start}-${end - 1}/${file.size}`);
  response.setHeader("Content-Type", TYPES[extname(file.path).toLowerCase()] ?? "application/octet-stream");
  response.setHeader("Content-Length", end - start);
  response.statusCode = range === "all" ? 200 : 206;
  if (request.method === "HEAD" || start === end) response.end();
  else await pipeline(createReadStream(file.path, { start, end: end - 1 }), response);
}

/** The regular file behind a URL; undefined when there is none inside the folder it belongs to. */
async function findFile(
  url: string,
  folders: ServedFolders,
): Promise<{ path: string; size: number } | undefined> {
  const path = decodedPath(url);
  if (path === undefined) return undefined;
  const prefix = Object.keys(folders)
    .filter((known) => (known.endsWith("/") ? path.startsWith(known) : path === known))
    .toSorted((a, b) => b.length - a.length)[0];
  const folder = prefix === undefined ? undefined : folders[prefix];
  if (prefix === undefined || folder === undefined) return undefined;
  try {
    if (path === prefix && !prefix.endsWith("/")) return await regularFile(folder);
    const rest = path.slice(prefix.length);
    // Links are followed before the check, so that none leads outside.
    const root = await realpath(folder);
    const file = await realpath(join(root, rest.endsWith("/") || rest === "" ? `${rest}index.html` : rest));
    return file.startsWith(root + sep) ? await regularFile(file) : undefined;
  } catch {
    return undefined;
  }
}

async function regularFile(path: string): Promise<{ path: string; size: number } | undefined> {
  const info = await stat(path);
  return info.isFile() ? { path, size: info.size } : undefined;
}

/** The URL's path, decoded; undefined for what no honest request contains. */
function decodedPath(url: string): string | undefined {
  try {
    const path = decodeURIComponent(url.replace(/[?#].*$/, ""));
    return /[\0\\]/.test(path) || path.split("/").includes("..") ? undefined : path;
  } catch {
    return undefined;
  }
}

function refuse(response: ServerResponse, status: number): void {
  response.statusCode = status;
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.end(`${status}\n`);
}
