// The browser's private file system in front of a URL, in a real browser: the second visit needs the manifest only.
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openCheckpoint } from "../../src/weights/checkpoint.ts";
import { openFolderSource } from "../../src/weights/folder_source_node.ts";
import { launchChromium } from "./chromium.ts";
import type { WeightsPage } from "./weights_page.ts";

declare const weightsPage: WeightsPage;

const root = fileURLToPath(new URL("../../", import.meta.url));
const MODEL = join(root, "models/weft-nano");

let folder: string;
let pages: PreviewServer;
let models: Server;
let browser: Browser;
let page: Page;
let modelUrl: string;
let requested: string[] = [];
let damage = false;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-weights-page-"));
  const input = join(root, "tests/browser/weights_page.html");
  await build({
    root,
    logLevel: "error",
    build: { outDir: folder, emptyOutDir: true, rolldownOptions: { input } },
  });
  pages = await preview({ root, build: { outDir: folder }, preview: { port: 0, host: "127.0.0.1" } });
  models = await serveModel();
  modelUrl = `http://127.0.0.1:${(models.address() as AddressInfo).port}/`;
  browser = await launchChromium();
  page = await browser.newPage();
  await visit();
});

afterAll(async () => {
  await browser?.close();
  await pages?.close();
  models?.close();
  await rm(folder, { recursive: true, force: true });
});

async function visit(): Promise<void> {
  await page.goto(`${pages.resolvedUrls?.local[0]}tests/browser/weights_page.html`);
  await page.waitForFunction(() => "weightsPage" in globalThis);
}

/** The model's files for any origin, without ranges: what the plainest web server does. */
async function serveModel(): Promise<Server> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? "/");
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Headers", "Range");
    response.setHeader("Cross-Origin-Resource-Policy", "cross-origin");
    response.setHeader("Cache-Control", "no-store");
    if (request.method === "OPTIONS") return void response.end();
    if (request.method === "GET") requested.push(path);
    const file = join(MODEL, path);
    if (!existsSync(file)) return void response.writeHead(404).end();
    const bytes = readFileSync(file);
    if (damage && path.endsWith(".safetensors")) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    response.setHeader("Content-Length", bytes.length);
    response.end(request.method === "HEAD" ? undefined : bytes);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

const NAME = "encoder.final_layer_norm.weight";
const sum = () =>
  page.evaluate(([url, name]) => weightsPage.sum(url, "text_encoder", name), [modelUrl, NAME] as const);

test("the first visit downloads, the second reads what was kept, purge forgets", async () => {
  const local = await openCheckpoint(openFolderSource(MODEL), "text_encoder");
  const expected = (await local.readF32(NAME)).reduce((total, value) => total + value, 0);

  expect(await sum()).toBeCloseTo(expected, 6);
  expect(requested).toEqual(["/weights.json", "/text_encoder/model.safetensors"]);

  requested = [];
  await visit();
  expect(await sum()).toBeCloseTo(expected, 6);
  expect(requested).toEqual(["/weights.json"]);

  await page.evaluate((url) => weightsPage.purge(url), modelUrl);
  requested = [];
  await visit();
  expect(await sum()).toBeCloseTo(expected, 6);
  expect(requested).toEqual(["/weights.json", "/text_encoder/model.safetensors"]);
});

test("a damaged download is named and not kept", async () => {
  await page.evaluate((url) => weightsPage.purge(url), modelUrl);
  await visit();
  damage = true;
  await expect(sum()).rejects.toThrow(
    /text_encoder\/model.safetensors \(chunk 1 of 1\) is not the file its manifest describes/,
  );
  damage = false;
  await visit();
  expect(Number.isFinite(await sum())).toBe(true);
});
