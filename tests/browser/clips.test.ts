// One small video over several tabs of headless Chromium, each with a WebGPU device of its own.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "./chromium.ts";
import type { ClipsPage } from "./clips_page.ts";

declare const clipsPage: ClipsPage;

const root = fileURLToPath(new URL("../../", import.meta.url));
let folder: string;
let pages: PreviewServer;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "weft-clips-page-"));
  const input = join(root, "tests/browser/clips_page.html");
  await build({
    root,
    logLevel: "error",
    build: { outDir: folder, emptyOutDir: true, target: "es2022", rolldownOptions: { input } },
  });
  pages = await preview({ root, build: { outDir: folder }, preview: { port: 0, host: "127.0.0.1" } });
  browser = await launchChromium();
  page = await browser.newPage();
  page.on("console", (message) => console.log(message.text()));
  await page.goto(`${pages.resolvedUrls?.local[0]}tests/browser/clips_page.html`);
  await page.waitForFunction(() => "clipsPage" in globalThis);
});

afterAll(async () => {
  await browser?.close();
  await pages?.close();
  await rm(folder, { recursive: true, force: true });
});

test.each(["full", "dual-scope", "tile"] as const)(
  "%s attention in two tabs: one tab's latents",
  async (plan) => {
    const { error, clips } = await page.evaluate((name) => clipsPage.render(name, 2), plan);
    expect(clips).toEqual([2]);
    expect(error).toBeLessThan(1e-4);
  },
);

test("a tab is closed in the middle: the other one finishes", async () => {
  const result = await page.evaluate(() => clipsPage.render("full", 2, { tab: 0, step: 2 }));
  expect(result.lost).toEqual(["tab 0"]);
  expect(result.clips).toEqual([2, 1]);
  expect(result.error).toBeLessThan(1e-4);
});
