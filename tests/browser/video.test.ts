// The browser's ffmpeg runtime, built as the page is built, against the one in Node: same core, same bytes.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createNodeFfmpeg } from "../../src/video/ffmpeg_node.ts";
import { probe, readMetadata } from "../../src/video/inspect.ts";
import { createVideoEncoder } from "../../src/video/video_encoder.ts";
import { syntheticFrames } from "../node/video/synthetic.ts";
import { launchChromium } from "./chromium.ts";
import type { VideoPage } from "./video_page.ts";

declare const videoPage: VideoPage;

const runtime = createNodeFfmpeg();
let folder: string;
let server: PreviewServer;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-video-page-"));
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const input = join(root, "tests/browser/video_page.html");
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
  await page.goto(`${server.resolvedUrls?.local[0]}tests/browser/video_page.html`);
  await page.waitForFunction(() => "videoPage" in globalThis);
});

afterAll(async () => {
  await browser?.close();
  await server?.close();
  runtime.dispose();
  await rm(folder, { recursive: true, force: true });
});

test.for(["mp4", "webm", "gif", "png"] as const)(
  "the browser encodes the same %s as Node",
  async (format) => {
    const file = Buffer.from(await page.evaluate((f) => videoPage.encode(f), format), "base64");
    expect(probe(file)).toMatchObject(
      format === "png" ? { frames: 1 } : { frames: 9, width: 64, height: 48 },
    );
    expect(readMetadata(file)).toEqual({ prompt: "ü 🔴" });

    const options = {
      width: 64,
      height: 48,
      fps: 16,
      runtime,
      segmentFrames: 4,
      metadata: { prompt: "ü 🔴" },
    };
    const encoder = createVideoEncoder({ format, ...options });
    await encoder.write(syntheticFrames(9, 64, 48));
    expect(Buffer.compare(file, await encoder.finish())).toBe(0);
  },
);

test("an abort in the browser rejects within a second, and the next encoding works", async () => {
  const { name, tookMs } = await page.evaluate(() => videoPage.abort(500));
  expect(name).toBe("AbortError");
  expect(tookMs).toBeLessThan(1000);
  expect(await page.evaluate(() => videoPage.encode("mp4"))).toMatch(/^[A-Za-z0-9+/=]{1000,}$/);
});
