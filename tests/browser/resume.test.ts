// Renders that a reload or a closed tab cuts off go on from their last step, and give the very same file.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { launchChromium } from "./chromium.ts";
import { downloadVideo, ready, screenshots, type ServedPage, servePage } from "./served_page.ts";

const PROMPT = "a red ball bounces on grass";
const QUERY = `?frames=5&width=64&height=64&seed=7&variant=base&steps=16&prompt=${PROMPT.replaceAll(" ", "+")}`;

const problems: string[] = [];
let served: ServedPage;
let browser: Browser;
let context: BrowserContext;
let undisturbed: string;

beforeAll(async () => {
  served = await servePage();
  browser = await launchChromium();
  context = await browser.newContext();
  const page = await openPage();
  await page.click("#generate");
  undisturbed = await hashOfVideo(page);
  await context.close();
});

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1280, height: 860 } }); // a storage of its own
});
afterEach(() => context.close());

afterAll(async () => {
  await browser?.close();
  await served?.close();
});

test("after a reload in the middle the page goes on by itself, and the file is the same", async () => {
  const page = await openPage();
  await page.click("#generate");
  await atStep(page, 5);
  await page.reload();
  const first = await page.waitForFunction(
    () => /Denoising, step (\d+) of 16/.exec(document.body.innerText)?.[1],
  );
  expect(Number(await first.jsonValue())).toBeGreaterThanOrEqual(4);
  expect(await hashOfVideo(page)).toBe(undisturbed);
  expect(await keptFiles(page)).toEqual([]);
  await page.reload();
  await ready(page);
  expect(await page.isHidden("#unfinished")).toBe(true);
});

test("after the tab was closed another one offers the render, with its settings; it gives the same file", async () => {
  const other = await openPage("?prompt=something+else");
  const page = await openPage();
  await page.click("#generate");
  await atStep(page, 3);
  await other.reload();
  await ready(other);
  expect(await other.isHidden("#unfinished")).toBe(true); // it is running
  await page.close();
  await other.waitForSelector("#unfinished:not([hidden])"); // as soon as the tab is gone
  expect(await other.innerText("#unfinished")).toMatch(/a red ball bounces on grass\s+\d+ of 16 steps done/);
  await screenshots(other, "unfinished");
  await other.click("#unfinished .resume");
  expect(await other.isHidden("#unfinished")).toBe(true);
  expect(await other.inputValue("#prompt")).toBe(PROMPT);
  expect(await other.inputValue("#seed")).toBe("7");
  expect(await hashOfVideo(other)).toBe(undisturbed);
});

test("a cancelled render leaves nothing behind", async () => {
  const page = await openPage();
  await page.click("#generate");
  await atStep(page, 3);
  expect(await keptFiles(page)).toEqual(expect.arrayContaining(["job", "state"]));
  await page.keyboard.press("Escape");
  await ready(page);
  await page.waitForFunction(() => document.getElementById("unfinished")?.hidden);
  expect(await keptFiles(page)).toEqual([]);
});

test("damaged numbers are refused in a sentence, and can be discarded", async () => {
  const page = await openPage();
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

async function openPage(query = QUERY): Promise<Page> {
  const page = await context.newPage();
  page.on("console", (message) => problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(`${served.address}${query}`);
  await ready(page);
  return page;
}

async function atStep(page: Page, step: number): Promise<void> {
  await page.waitForFunction((n) => {
    const found = /Denoising, step (\d+)/.exec(document.body.innerText);
    return Number(found?.[1] ?? 0) >= n;
  }, step);
}

async function hashOfVideo(page: Page): Promise<string> {
  return createHash("sha256")
    .update(await readFile(await downloadVideo(page)))
    .digest("hex");
}

/** Names of all files of kept jobs. */
async function keptFiles(page: Page): Promise<string[]> {
  return await page.evaluate(async () => {
    const names: string[] = [];
    const jobs = await (await navigator.storage.getDirectory()).getDirectoryHandle("weft-jobs");
    for await (const job of jobs.values()) {
      for await (const file of (job as FileSystemDirectoryHandle).values()) names.push(file.name);
    }
    return names.sort();
  });
}
