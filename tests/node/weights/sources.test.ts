import { createHash } from "node:crypto";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import type { FileSource } from "../../../src/weights/file_source.ts";
import { openFolderSource } from "../../../src/weights/folder_source_node.ts";
import { openUrlSource } from "../../../src/weights/url_source.ts";
import { expectWeightsError, sourceOf } from "./model_files.ts";

const BYTES = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);

interface Behaviour {
  ranges: boolean;
  head: boolean;
  length: boolean;
  failures: number;
}
const polite: Behaviour = { ranges: true, head: true, length: true, failures: 0 };
let behaviour: Behaviour;
let requests: string[];
let server: Server;
let base: string;

function answer(request: IncomingMessage, response: ServerResponse): void {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  requests.push(`${request.method} ${request.url}${range === null ? "" : ` ${range[1]}-${range[2]}`}`);
  if (behaviour.failures-- > 0) return void response.writeHead(503).end();
  if (request.method === "HEAD" && !behaviour.head) return void response.writeHead(405).end();
  const path = (request.url ?? "").split("?")[0];
  if (path === "/spa/page")
    return void response.writeHead(200, { "Content-Type": "text/html" }).end("<html></html>");
  if (path === "/m/cut")
    return void response
      .writeHead(200, { "Content-Length": 500 })
      .write(BYTES.slice(0, 9), () => response.destroy());
  if (path === "/m/secret") return void response.writeHead(403).end();
  if (path !== "/m/sub/a%20b.bin") return void response.writeHead(404).end("not here");
  if (range !== null && behaviour.ranges) {
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, BYTES.length)];
    response.writeHead(206, { "Content-Range": `bytes ${start}-${end - 1}/${BYTES.length}` });
    return void response.end(BYTES.slice(start, end));
  }
  if (behaviour.length) response.setHeader("Content-Length", BYTES.length);
  else response.setHeader("Transfer-Encoding", "chunked");
  response.writeHead(200, { "Content-Type": "application/octet-stream" });
  response.end(request.method === "HEAD" ? undefined : BYTES);
}

beforeAll(async () => {
  server = createServer(answer);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  behaviour = { ...polite };
  requests = [];
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-weights-"));
  await mkdir(join(folder, "sub"));
  await writeFile(join(folder, "sub", "a b.bin"), BYTES);
});
afterEach(() => rm(folder, { recursive: true }));

const sources: [string, () => FileSource][] = [
  ["memory", () => sourceOf({ "sub/a b.bin": BYTES })],
  ["folder", () => openFolderSource(folder)],
  ["url", () => openUrlSource(`${base}/m`)],
];

test.each(sources)("%s: sizes, whole files, ranges, and what is not there", async (_, open) => {
  const source = open();
  expect(await source.has("sub/a b.bin")).toBe(true);
  expect(await source.has("sub/b")).toBe(false);
  expect(await source.size("sub/a b.bin")).toBe(1000);
  expect(await source.read("sub/a b.bin")).toEqual(BYTES);
  expect(await source.read("sub/a b.bin", { start: 10, end: 300 })).toEqual(BYTES.slice(10, 300));
  expect(await source.read("sub/a b.bin", { start: 1000, end: 1000 })).toEqual(new Uint8Array(0));
  await expectWeightsError(
    source.read("sub/a b.bin", { start: 990, end: 1001 }),
    /truncated: bytes 990 to 1001 .* has 1000/,
  );
  await expectWeightsError(source.read("sub/b"), /sub\/b is missing in .*; the model folder is incomplete/);
  await expectWeightsError(source.size("sub/b"), /sub\/b is missing/);
  await expect(source.read("sub/a b.bin", undefined, AbortSignal.abort())).rejects.toMatchObject({
    name: "AbortError",
  });
});

test.each(["../a", "/etc/passwd", "a//b", "a/./b", "a\\b", "c:/x", ""])(
  "the path %j does not lead out of a folder",
  async (path) => {
    await expectWeightsError(openFolderSource(folder).read(path), /is not a path inside a model folder/);
    await expectWeightsError(openUrlSource(base).read(path), /is not a path inside a model folder/);
  },
);

test("a folder that is not there has no files", async () => {
  await expectWeightsError(
    openFolderSource(join(folder, "no")).read("config.json"),
    /config.json is missing in .*no;/,
  );
});

test("url: only the range travels, and the size is asked once", async () => {
  const source = openUrlSource(`${base}/m/?token=1`);
  await source.size("sub/a b.bin");
  await source.size("sub/a b.bin");
  await source.read("sub/a b.bin", { start: 5, end: 7 });
  expect(requests).toEqual(["HEAD /m/sub/a%20b.bin?token=1", "GET /m/sub/a%20b.bin?token=1 5-6"]);
  expect(source.location).toBe(`${base}/m/`);
});

test("url: a server that ignores ranges is asked once for the whole file", async () => {
  behaviour.ranges = false;
  const source = openUrlSource(`${base}/m`);
  expect(await source.read("sub/a b.bin", { start: 10, end: 300 })).toEqual(BYTES.slice(10, 300));
  expect(await source.read("sub/a b.bin", { start: 900, end: 1000 })).toEqual(BYTES.slice(900));
  expect(requests.length).toBe(1);
  await expectWeightsError(source.read("sub/a b.bin", { start: 0, end: 1001 }), /truncated/);
});

test.each([
  ["refuses HEAD", { head: false }],
  ["refuses HEAD and ignores ranges", { head: false, ranges: false }],
  ["names no length and ignores ranges", { length: false, ranges: false }],
])("url: the size is found where the server %s", async (_, change) => {
  Object.assign(behaviour, change);
  expect(await openUrlSource(`${base}/m`).size("sub/a b.bin")).toBe(1000);
});

test("url: a busy server is asked again, a broken one is reported", async () => {
  behaviour.failures = 2;
  expect((await openUrlSource(`${base}/m`).read("sub/a b.bin")).length).toBe(1000);
  behaviour.failures = 3;
  await expectWeightsError(openUrlSource(`${base}/m`).read("sub/a b.bin"), /answered 503/);
});

test("url: pages, refusals, dead hosts and broken connections are explained", async () => {
  const spa = openUrlSource(`${base}/spa`);
  expect(await spa.has("page")).toBe(false);
  await expectWeightsError(
    spa.size("page"),
    /HTML page instead of the file; give the address of the model folder itself/,
  );
  await expectWeightsError(spa.read("page"), /HTML page/);
  await expectWeightsError(openUrlSource(`${base}/m`).read("secret"), /answered 403/);
  await expectWeightsError(openUrlSource(`${base}/m`).read("cut"), /connection ended before the file did/);
  await expectWeightsError(
    openUrlSource("http://127.0.0.1:1/m").read("a"),
    /Cannot fetch a from .*127\.0\.0\.1:1/,
  );
});

test.each(["not a url", "file:///etc", "ftp://host/m"])("url: %j is refused", (url) => {
  expect(() => openUrlSource(url)).toThrow(InputError);
});

test("the folder source reads the same bytes as the file has", async () => {
  const bytes = await openFolderSource("tests/fixtures/wan_tiny").read(
    "transformer/diffusion_pytorch_model.safetensors",
  );
  expect(createHash("sha256").update(bytes).digest("hex").length).toBe(64);
  expect(bytes.byteLength).toBe(812008);
});
