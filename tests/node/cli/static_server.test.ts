import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serverUrl } from "../../../src/cli/serve_command.ts";
import { createStaticServer, parseRange } from "../../../src/cli/static_server.ts";

const root = mkdtempSync(join(tmpdir(), "weft-serve-"));
let server: Server;
let url: string;

beforeAll(async () => {
  for (const folder of ["page", "page/assets", "models"]) mkdirSync(join(root, folder));
  writeFileSync(join(root, "secret.txt"), "secret");
  writeFileSync(join(root, "page", "index.html"), "<title>weft</title>");
  writeFileSync(join(root, "page", "assets", "ort.wasm"), "wasm");
  writeFileSync(join(root, "models", "weights.bin"), "0123456789");
  writeFileSync(join(root, "models", "empty.json"), "");
  symlinkSync(join(root, "secret.txt"), join(root, "models", "link.txt"));
  server = createStaticServer({
    "/": join(root, "page"),
    "/models/": join(root, "models"),
    "/one.txt": join(root, "secret.txt"),
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = serverUrl(server, "127.0.0.1");
});
afterAll(() => {
  server.close();
  rmSync(root, { recursive: true });
});

/** A request whose path is sent as it is: fetch would resolve "..". */
function rawStatus(path: string, method = "GET"): Promise<number> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(url);
    const sent = request({ host: "127.0.0.1", port, path, method }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on("error", reject).end();
  });
}

describe("createStaticServer()", () => {
  test("serves the page, isolated", async () => {
    const response = await fetch(url);
    expect(await response.text()).toBe("<title>weft</title>");
    expect(response.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(response.headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(response.headers.get("cross-origin-embedder-policy")).toBe("require-corp");
  });

  test("knows the types that browsers insist on", async () => {
    const response = await fetch(`${url}assets/ort.wasm?v=1`);
    expect(response.headers.get("content-type")).toBe("application/wasm");
  });

  test.each([
    ["bytes=2-4", 206, "234", "bytes 2-4/10"],
    ["bytes=7-", 206, "789", "bytes 7-9/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=8-99", 206, "89", "bytes 8-9/10"],
    ["bytes=10-", 416, "416\n", "bytes */10"],
    ["bytes=0-1,4-5", 200, "0123456789", null],
  ])("answers the range %s", async (range, status, body, contentRange) => {
    const response = await fetch(`${url}models/weights.bin`, { headers: { range } });
    expect(response.status).toBe(status);
    expect(await response.text()).toBe(body);
    expect(response.headers.get("content-range")).toBe(contentRange);
  });

  test("answers HEAD with the size, and serves empty files", async () => {
    const head = await fetch(`${url}models/weights.bin`, { method: "HEAD" });
    expect(head.headers.get("content-length")).toBe("10");
    expect(await head.text()).toBe("");
    expect(await (await fetch(`${url}models/empty.json`)).text()).toBe("");
  });

  test.each([
    "/../secret.txt",
    "/..%2fsecret.txt",
    "/%2e%2e/secret.txt",
    "/models/../../secret.txt",
    "/models/..%5c..%5csecret.txt",
    "/models/link.txt",
    "/models/%00",
    "/models/%zz",
    "/models",
    "/models/",
    "/nothing.js",
  ])("has nothing at %s", async (path) => {
    expect(await rawStatus(path)).toBe(404);
  });

  test("only reads", async () => {
    expect(await rawStatus("/index.html", "POST")).toBe(405);
    expect(await rawStatus("/index.html", "DELETE")).toBe(405);
  });
});

test("parseRange() without a range means all", () => {
  expect(parseRange(undefined, 10)).toBe("all");
  expect(parseRange("bytes=-", 10)).toBe("all");
  expect(parseRange("bytes=0-0", 0)).toBe("invalid");
});

test("a single file is served under its own path, and nothing beside it", async () => {
  expect(await (await fetch(`${url}one.txt`)).text()).toBe("secret");
  expect(await rawStatus("/one.txt/secret.txt")).toBe(404);
  expect(await rawStatus("/one.txtx")).toBe(404);
});
