// Renders that a reload or a closed tab cuts off go on from their last step, and give the very same file.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "./chromium.ts";
import { downloadVideo, ready, screenshots, type ServedPage, servePage } from "./served_page.ts";

const PROMPT = "a red ball bounces on grass";
const QUERY = `?frames=5&width=64&height=64&seed=7&variant=base&steps=16&prompt=${PROMPT.replaceAll(" ", "+")}`;

const problems: string[] = [];
let served: ServedPage;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let afterReload: string;

beforeAll(async () => {
  served = await servePage();
  browser = await launchChromium();
  context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  page = await openPage();
});

afterAll(async () => {
  await browser?.close();
  await served?.close();
});

test("after a reload in the middle the page goes on by itself", async () => {
  await page.click("#generate");
  await atStep(page, 5);
  await page.reload();
  const first = await page.waitForFunction(
    () => /Denoising, step (\d+) of 16/.exec(document.body.innerText)?.[1],
  );
  expect(Number(await first.jsonValue())).toBeGreaterThanOrEqual(4);
  afterReload = await hashOfVideo(page);
  expect(await keptFiles(page)).toEqual([]);
});

// Cut off at another step, it could hardly be the same file if one of the two were not that of an undisturbed render; that
// a pipeline which goes on from a state ends like one that was not disturbed is shown in tests/gpu/pipelines.
test("after the tab was closed another one offers the render, with its settings; it gives the same file", async () => {
  const closing = await openPage();
  await closing.click("#generate");
  await atStep(closing, 3);
  await page.goto(`${served.address}?prompt=something+else`);
  await ready(page);
  expect(await page.isHidden("#unfinished")).toBe(true); // it is running
  await closing.close();
  await page.waitForSelector("#unfinished:not([hidden])"); // as soon as the tab is gone
  expect(await page.innerText("#unfinished")).toMatch(/a red ball bounces on grass\s+\d+ of 16 steps done/);
  await screenshots(page, "unfinished");
  await page.click("#unfinished .resume");
  expect(await page.isHidden("#unfinished")).toBe(true);
  expect(await page.inputValue("#prompt")).toBe(PROMPT);
  expect(await page.inputValue("#seed")).toBe("7");
  expect(await hashOfVideo(page)).toBe(afterReload);
});

test("a cancelled render leaves nothing behind", async () => {
  await page.click("#generate");
  await atStep(page, 3);
  expect(await keptFiles(page)).toEqual(expect.arrayContaining(["job", "state"]));
  await page.keyboard.press("Escape");
  await ready(page);
  await page.waitForFunction(() => document.getElementById("unfinished")?.hidden);
  expect(await keptFiles(page)).toEqual([]);
});

test("damaged numbers are refused in a sentence, and can be discarded", async () => {
  await page.click("#generate");
  await atStep(page, 3);
  await page.goto("about:blank");
  await page.goto(served.address);
  await ready(page);
  await page.evaluate(async () => {
    const jobs = await (await navigator.storage.getDirectory()).getDirectoryHandle("weft-jobs");
    for await (const job of jobs.values()) {
      const file = await (job as FileSystemDirectoryHandle).getFileHandle("state");
      const bytes = new Uint8Array(await (await file.getFile()).arrayBuffer());
      bytes[bytes.length - 1]! ^= 1;
      const stream = await file.createWritable();
      await stream.write(bytes);
      await stream.close();
    }
  });
  await page.click("#unfinished .resume");
  await page.waitForSelector(".message.error");
  expect(await page.innerText(".message.error")).toBe(
    "What was kept of this render is damaged, so it cannot go on: start it again.",
  );
  await page.click("#unfinished .link");
  await page.waitForFunction(() => document.getElementById("unfinished")?.hidden);
  expect(await keptFiles(page)).toEqual([]);
});

test("nothing was printed to the console", () => {
  expect(problems).toEqual([]);
});

async function openPage(): Promise<Page> {
  const opened = await context.newPage();
  opened.on("console", (message) => problems.push(message.text()));
  opened.on("pageerror", (error) => problems.push(String(error)));
  await opened.goto(`${served.address}${QUERY}`);
  await ready(opened);
  return opened;
}

async function atStep(where: Page, step: number): Promise<void> {
  await where.waitForFunction((n) => {
    const found = /Denoising, step (\d+)/.exec(document.body.innerText);
    return Number(found?.[1] ?? 0) >= n;
  }, step);
}

async function hashOfVideo(where: Page): Promise<string> {
  return createHash("sha256")
    .update(await readFile(await downloadVideo(where)))
    .digest("hex");
}

/** Names of all files of kept jobs. */
async function keptFiles(where: Page): Promise<string[]> {
  return await where.evaluate(async () => {
    const names: string[] = [];
    const jobs = await (await navigator.storage.getDirectory()).getDirectoryHandle("weft-jobs");
    for await (const job of jobs.values()) {
      for await (const file of (job as FileSystemDirectoryHandle).values()) names.push(file.name);
    }
    return names.sort();
  });
}
