// The page with workers of its own and helper tabs, which come, go and freeze: the frames of a render without them.
import { readFile } from "node:fs/promises";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createNodeFfmpeg } from "../../src/video/ffmpeg_node.ts";
import { probe } from "../../src/video/inspect.ts";
import { readFrames } from "../../src/video/read_frames.ts";
import { launchChromium } from "./chromium.ts";
import { downloadVideo, ready, screenshots, type ServedPage, servePage } from "./served_page.ts";

const STEPS = 8;
/** Enough for a worker to load the model meanwhile, and join. */
const MANY_STEPS = 24;
const PROMPT = "a red ball bounces on grass";
/** Grey levels that a frame may be off, after rounding and compression. */
const MAX_LEVELS = 2;

const problems: string[] = [];
const ffmpeg = createNodeFfmpeg();
let served: ServedPage;
let browser: Browser;
/** One for all tests: it keeps the model, so that not every test downloads it. */
let context: BrowserContext;
let page: Page;
/** The frames that the page makes alone, by steps. */
const alone = new Map<number, Uint8Array>();

beforeAll(async () => {
  served = await servePage();
  browser = await launchChromium();
  context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  context.setDefaultTimeout(60_000); // two cores for several tabs
  for (const steps of [STEPS, MANY_STEPS]) {
    page = await openPage(query(steps));
    await page.click("#generate");
    alone.set(steps, await framesOf(page));
    await page.close();
  }
});

afterAll(async () => {
  await browser?.close();
  await served?.close();
  ffmpeg.dispose();
});

test("a worker of the page shares the frames; the panel says who computes what", async () => {
  await openLeader(STEPS);
  expect(await page.innerText("#workers-summary")).toBe("this tab");
  await page.focus("#add-worker");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => /and 1 more/.test(document.body.innerText));
  expect(await workerLines()).toEqual([/^this tab/, /^worker 1.*waits for a video/].map(matching));
  await page.click("#generate");
  await atStep(3);
  expect(await workerLines()).toEqual([/this tab CPU, \d thread/, /worker 1 CPU, \d thread/].map(matching));
  await screenshots(page, "workers");
  await expectFrames();
  const lines = await workerLines();
  for (const line of lines)
    expect(line).toMatch(/of 17 · .*step 8 of 8 · [\d.]+ .?B sent · \d+ % of transfers hidden/);
  expect(await page.locator("#workers-timeline rect.compute").count()).toBe(2 * STEPS);
  expect(await page.getAttribute("#workers-timeline svg", "aria-label")).toMatch(
    /^Timeline of \d+ seconds: this tab computed \d+ %, worker 1 computed \d+ %/,
  );
});

test("workers are added and removed in the middle", async () => {
  await openLeader(MANY_STEPS);
  await page.click("#generate");
  await atStep(2);
  await page.click("#add-worker");
  await linesMatch("worker 1 .* of 17");
  await page.click("#workers-list .link");
  await linesMatch("worker 1 .*left: it has gone");
  await expectFrames(MANY_STEPS);
});

test("a tab that the page opens helps; it is closed in the middle", async () => {
  await openLeader(STEPS);
  const helper = await openHelper();
  expect(await helper.evaluate(() => globalThis.opener !== null)).toBe(true);
  await helper.waitForFunction(() => /Ready: waits/.test(document.body.innerText));
  await screenshots(helper, "helper");
  await page.click("#generate");
  await helper.waitForFunction(() => /frames \d+ to \d+ of 17 · step [1-9]/.test(document.body.innerText));
  expect(await helper.innerText("#helper")).toMatch(/Helps with “a red ball bounces on grass”/);
  await helper.close();
  await linesMatch("tab 1 .*left: it has gone");
  await expectFrames();
});

test("a tab that the browser freezes leaves first, and comes back when it can", async () => {
  await openLeader(STEPS);
  const helper = await openHelper();
  await helper.waitForFunction(() => /Ready: waits/.test(document.body.innerText));
  await page.click("#generate");
  await helper.waitForFunction(() => /of 17 · step [1-9]/.test(document.body.innerText));
  await helper.evaluate(() => document.dispatchEvent(new Event("freeze")));
  await linesMatch("tab 1 .*left: it has gone");
  await helper.evaluate(() => document.dispatchEvent(new Event("resume")));
  await helper.waitForFunction(() => /Ready: waits|Helps with/.test(document.body.innerText));
  await expectFrames();
});

test("a tab that nobody opened finds the render, asks, and helps when it is let in", async () => {
  await openLeader(MANY_STEPS);
  await page.click("#generate");
  await atStep(1);
  const other = await openPage("?prompt=other");
  await other.waitForSelector("#other-tabs .message");
  expect(await other.innerText("#other-tabs")).toMatch(
    /^Another tab makes “a red ball bounces on grass”, \d+ of 24 steps done. Help with it$/,
  );
  await other.click("#other-tabs .link");
  await other.waitForFunction(() =>
    /Somebody at the other tab has to let this one/.test(document.body.innerText),
  );
  expect(await other.evaluate(() => globalThis.opener)).toBeNull();
  await page.waitForSelector("#workers-asking .primary");
  await screenshots(page, "asking");
  await page.click("#workers-asking .primary");
  await linesMatch("tab 1 .* of 17");
  await expectFrames(MANY_STEPS);
});

test("the page is reloaded in the middle: it goes on, and its helper finds it again", async () => {
  await openLeader(STEPS);
  const helper = await openHelper();
  await helper.waitForFunction(() => /Ready: waits/.test(document.body.innerText));
  await page.click("#generate");
  await helper.waitForFunction(() => /of 17 · step [2-9]/.test(document.body.innerText));
  await page.reload();
  await helper.waitForFunction(() => /Helps with/.test(document.body.innerText));
  await expectFrames();
});

test("cancel reaches everybody, who then help with the next video", async () => {
  await openLeader(STEPS);
  const helper = await openHelper();
  await page.click("#add-worker");
  await page.waitForFunction(() => /and 2 more/.test(document.body.innerText));
  await page.click("#generate");
  await helper.waitForFunction(() => /of 17 · step [1-9]/.test(document.body.innerText));
  await page.keyboard.press("Escape");
  await helper.waitForFunction(() => /Ready: waits/.test(document.body.innerText));
  await ready(page);
  await page.click("#generate");
  await helper.waitForFunction(() => /of 17 · step [1-9]/.test(document.body.innerText));
  await expectFrames();
});

test("nothing was printed to the console", () => {
  expect(problems).toEqual([]);
});

/** 5 latent frames, guided, with a scheduler that remembers. */
function query(steps: number): string {
  return `?frames=17&width=64&height=64&seed=7&variant=base&steps=${steps}&exchange=f32&prompt=${PROMPT.replaceAll(" ", "+")}`;
}

/** The page that renders, alone at first. */
async function openLeader(steps: number): Promise<void> {
  for (const opened of context.pages()) await opened.close();
  page = await openPage(query(steps));
  await page.click("#workers summary");
}

async function openPage(query: string): Promise<Page> {
  const opened = await context.newPage();
  watch(opened);
  await opened.goto(`${served.address}${query}`);
  await ready(opened);
  return opened;
}

async function openHelper(): Promise<Page> {
  const [helper] = await Promise.all([context.waitForEvent("page"), page.click("#open-tab")]);
  watch(helper);
  return helper;
}

function watch(opened: Page): void {
  opened.on("console", (message) => problems.push(message.text()));
  opened.on("pageerror", (error) => problems.push(String(error)));
}

async function atStep(step: number): Promise<void> {
  await page.waitForFunction((n) => {
    const found = /Denoising, step (\d+)/.exec(document.body.innerText);
    return Number(found?.[1] ?? 0) >= n;
  }, step);
}

async function workerLines(): Promise<string[]> {
  const texts = await page.locator("#workers-list li").allInnerTexts();
  return texts.map((text) => text.replaceAll(/\s+/g, " ").trim());
}

/** Waits until the panel has a line like this. */
async function linesMatch(pattern: string): Promise<void> {
  await page.waitForFunction(
    (source) =>
      [...document.querySelectorAll<HTMLElement>("#workers-list li")].some(({ innerText }) =>
        new RegExp(source).test(innerText.replaceAll(/\s+/g, " ")),
      ),
    pattern,
  );
}

function matching(pattern: RegExp): unknown {
  return expect.stringMatching(pattern);
}

async function framesOf(of: Page): Promise<Uint8Array> {
  const file = await readFile(await downloadVideo(of));
  expect(probe(file)).toMatchObject({ frames: 17, width: 64, height: 64 });
  const batches: Uint8Array[] = [];
  for await (const { data } of readFrames(ffmpeg, file)) batches.push(data);
  return Buffer.concat(batches);
}

/** The video is the one that the page makes alone. */
async function expectFrames(steps = STEPS): Promise<void> {
  const frames = await framesOf(page);
  const wanted = alone.get(steps)!;
  expect(frames.length).toBe(wanted.length);
  const worst = frames.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0);
  expect(worst).toBeLessThanOrEqual(MAX_LEVELS);
}
