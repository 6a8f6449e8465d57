// onnxruntime in a worker of the built page: the same frames as in Node, and WebGPU on a shared device.
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openOrtInNode } from "../../src/onnx/ort_runtime_node.ts";
import { createTaehvDecoder } from "../../src/onnx/taehv_decoder.ts";
import { memoryCheckpoint, randomTaehv, type RandomTaehv } from "../reference/random_taehv.ts";
import { launchChromium } from "./chromium.ts";
import type { ask as askPage } from "./decoder_page.ts";

declare const ask: typeof askPage;

let folder: string;
let server: PreviewServer;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-decoder-page-"));
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const input = join(root, "tests/browser/decoder_page.html");
  await build({
    root,
    logLevel: "error",
    build: { outDir: folder, emptyOutDir: true, rolldownOptions: { input } },
  });
  server = await preview({ root, build: { outDir: folder }, preview: { port: 0, host: "127.0.0.1" } });
  browser = await launchChromium();
  page = await browser.newPage();
  page.on("console", (message) => console.info(message.text()));
  page.on("pageerror", (error) => console.error(error));
  await page.goto(`${server.resolvedUrls?.local[0]}tests/browser/decoder_page.html`);
  await page.waitForFunction(() => "ask" in globalThis);
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
});

test("the page decodes the frames that Node decodes, on all cores", async () => {
  const taehv: RandomTaehv = { latentChannels: 4, widths: [5, 4, 3, 2], groups: [1, 2, 2], patchSize: 1 };
  const latentFrame = Array.from({ length: 4 * 3 * 5 }, (_, i) => 2 * Math.sin(i * 0.7));
  const answer = await page.evaluate((question) => ask(question), {
    kind: "decode",
    taehv,
    latentFrame,
  } as const);
  expect(answer.error).toBeUndefined();
  expect(answer.numThreads).toBe(availableParallelism());

  const ort = await openOrtInNode({ provider: "wasm", numThreads: 1 });
  const checkpoint = memoryCheckpoint(randomTaehv(taehv));
  const decoder = await createTaehvDecoder({ checkpoint, ort, latentHeight: 3, latentWidth: 5 });
  await decoder.decode(Float32Array.from(latentFrame));
  const { video } = await decoder.decodeFloat(Float32Array.from(latentFrame));
  await decoder.dispose();
  expect(answer.values.length).toBe(video.length);
  for (const [i, value] of video.entries()) expect(answer.values[i]).toBeCloseTo(value, 5);
});

test("the page computes with WebGPU on our device", async () => {
  const question = { kind: "increment", values: [1, 2.5, -3] } as const;
  const answer = await page.evaluate((asked) => ask(asked), question);
  expect(answer).toEqual({ values: [2, 3.5, -2], numThreads: 1 });
});
