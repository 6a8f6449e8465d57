// The built page, served as `weft serve` serves it. Not a test.
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { build } from "vite";
import { createStaticServer } from "../../src/cli/static_server.ts";

const SCREENSHOTS = process.env["WEFT_SCREENSHOTS"];

/** A page on a port of its own, so that tests share no storage. */
export interface ServedPage {
  /** Ends in "/". */
  readonly address: string;
  close(): Promise<void>;
}

/** Builds the page and serves it with the models. */
export async function servePage(): Promise<ServedPage> {
  const folder = await mkdtemp(join(tmpdir(), "weft-page-"));
  const root = fileURLToPath(new URL("../../", import.meta.url));
  await build({ root, logLevel: "error", build: { outDir: folder, emptyOutDir: true } });
  const server = createStaticServer({ "/": folder, "/models/": join(root, "models") });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until the page can render. */
export async function ready(page: Page): Promise<void> {
  await page.waitForSelector("#generate:not([disabled])", { timeout: 60_000 });
}

/** Waits for the video and downloads it. */
export async function downloadVideo(page: Page): Promise<string> {
  await page.waitForSelector("#result:not([hidden])", { timeout: 200_000 });
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  return await download.path();
}

/** Takes pictures into the folder that WEFT_SCREENSHOTS names: wide and narrow, light and dark. */
export async function screenshots(where: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return;
  for (const colorScheme of ["light", "dark"] as const) {
    for (const width of [1280, 380]) {
      await where.emulateMedia({ colorScheme });
      await where.setViewportSize({ width, height: 860 });
      await where.screenshot({
        path: join(SCREENSHOTS, `${name}_${width}_${colorScheme}.png`),
        fullPage: true,
        animations: "disabled",
      });
    }
  }
  await where.setViewportSize({ width: 1280, height: 860 });
}
