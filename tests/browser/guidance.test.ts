// Guidance by heads in the built page: chosen in the grid by mouse and keyboard, rendered, written into the file, and
// compared side by side with the same seed without.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readMetadata } from "../../src/video/inspect.ts";
import { launchChromium } from "./chromium.ts";
import { ready, type ServedPage, servePage } from "./served_page.ts";

const SCREENSHOTS = process.env["WEFT_SCREENSHOTS"];

let served: ServedPage;
let browser: Browser;
let page: Page;
const problems: string[] = [];

beforeAll(async () => {
  served = await servePage();
  browser = await launchChromium();
  page = await browser.newPage();
  page.on("pageerror", (error) => problems.push(error.message));
  await page.goto(`${served.address}?frames=5&width=64&height=64&seed=7&prompt=a+red+ball&heads=4.0`);
  await ready(page);
  await page.click("#settings summary");
  await page.click("#head-guidance summary");
});

afterAll(async () => {
  await browser?.close();
  await served?.close();
});

function pressed(): Promise<string[]> {
  return page.evaluate(() =>
    [...document.querySelectorAll('#head-grid [aria-pressed="true"]')].map((cell) => cell.ariaLabel ?? ""),
  );
}

async function generate(): Promise<void> {
  await page.click("#generate");
  await page.waitForSelector("#progress:not([hidden])");
  await page.waitForSelector("#generate:not([disabled])", { timeout: 120_000 });
}

test("the grid has a row for every layer, and shows what the field holds", async () => {
  expect(await page.locator("#head-grid button").count()).toBe(12 * 5); // 12 layers of 4 heads
  expect((await pressed()).map((label) => label.split(",", 2).join())).toEqual(["Layer 4, head 0"]);
  await page.fill("#heads", "4.0,7");
  expect(await pressed()).toHaveLength(1 + 5);
});

test("clicks and keys choose heads and whole layers", async () => {
  await page.locator('[data-layer="7"]').first().click(); // the whole layer, off
  await page.locator('[data-layer="4"][data-head="2"]').click();
  expect(await page.inputValue("#heads")).toBe("4.0,4.2");
  await page.focus("#head-grid button[tabindex='0']");
  await page.keyboard.press("Home");
  for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "Enter"]) await page.keyboard.press(key);
  expect(await page.inputValue("#heads")).toBe("2.0,4.0,4.2");
  await page.click("#heads-none");
  expect(await page.inputValue("#heads")).toBe("");
});

test("the model's own heads are a click away, coloured by their search", async () => {
  const path = new URL("../../models/weft-nano/heads/quality.json", import.meta.url);
  const { heads } = JSON.parse(await readFile(path, "utf8")) as { heads: { layer: number; head: number }[] };
  await page.click("#heads-model");
  expect(await page.inputValue("#heads")).toBe(heads.map(({ layer, head }) => `${layer}.${head}`).join());
  expect(await pressed()).toHaveLength(heads.length);
  expect(await page.locator("#head-grid .better, #head-grid .worse").count()).toBe(12 * 4);
  const [best] = heads;
  const label = await page
    .locator(`[data-layer="${best?.layer}"][data-head="${best?.head}"]`)
    .getAttribute("aria-label");
  expect(label).toMatch(/, search gain \+\d/);
  if (SCREENSHOTS !== undefined)
    await page.screenshot({ path: join(SCREENSHOTS, "heads.png"), fullPage: true });
});

test("heads without a strength change nothing; a strength without heads is explained", async () => {
  await page.fill("#heads", "4.0,4.2");
  expect(await page.innerText("#heads-summary")).toBe("off");
  await page.fill("#softpag", "3");
  expect(await page.innerText("#heads-summary")).toBe("3 on 2 heads");
  await page.fill("#heads", "");
  await page.click("#generate");
  await page.waitForSelector(".message.error");
  expect(await page.innerText(".message.error")).toBe("SoftPAG needs heads to perturb: name at least one.");
  await page.waitForSelector("#generate:not([disabled])");
});

test("two settings are compared side by side with the same seed", async () => {
  await page.fill("#softpag", "0");
  await generate();
  expect(await page.locator("#player video").count()).toBe(1);
  await page.click("#compare");
  expect(await page.inputValue("#seed")).toBe("7");
  await page.fill("#softpag", "3");
  await page.fill("#heads", "4,7.1");
  await generate();
  await page.waitForSelector(".comparison");
  expect(await page.locator(".comparison video").count()).toBe(2);
  expect(await page.locator(".comparison figcaption").allInnerTexts()).toEqual([
    "no guidance",
    "SoftPAG 3 on 4,7.1 at 0.5",
  ]);
  if (SCREENSHOTS !== undefined)
    await page.screenshot({ path: join(SCREENSHOTS, "compare.png"), fullPage: true });

  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(readMetadata(await readFile(await download.path()))).toMatchObject({
    seed: 7,
    perturbedGuidance: {
      scale: 3,
      perturbation: {
        heads: [
          { layers: [4], strength: 0.5 },
          { layers: [7], heads: [1], strength: 0.5 },
        ],
      },
    },
  });
  await page.click("#compare");
  expect(await page.locator("#player video").count()).toBe(1);
  expect(await page.locator(".comparison").count()).toBe(0);
  await page.fill("#heads", "");
  await page.click("#again");
  expect(await page.inputValue("#heads")).toBe("4,7.1");
});

test("the grid fits a narrow page, and nothing went wrong unseen", async () => {
  await page.setViewportSize({ width: 380, height: 800 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(380);
  if (SCREENSHOTS !== undefined)
    await page.screenshot({ path: join(SCREENSHOTS, "heads_380.png"), fullPage: true });
  expect(problems).toEqual([]);
});
