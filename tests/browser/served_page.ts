// The built page, served as `weft serve` serves it. Not a test.
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { createStaticServer } from "../../src/cli/static_server.ts";
import { repoPath } from "../repo_path.ts";

const SCREENSHOTS = process.env["WEFT_SCREENSHOTS"];

/** A page on a port of its own, so that tests share no storage. */
export interface ServedPage {
  /** Ends in "/". */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves the page, which global_setup.ts has built, with the models. */
export async function servePage(): Promise<ServedPage> {
  const server = createStaticServer({ "/": repoPath("dist/page"), "/models/": repoPath("models") });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close() {
      server.close();
      return Promise.resolve();
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
