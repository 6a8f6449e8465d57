// One small video over several tabs of headless Chromium, each with a WebGPU device of its own.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { build, preview, type PreviewServer } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "./chromium.ts";
import type { ClipsPage, HelperPage, TabsRender, TabsResult } from "./clips_page.ts";

declare const clipsPage: ClipsPage;
declare const helperPage: HelperPage;

const root = fileURLToPath(new URL("../../", import.meta.url));
let folder: string;
let pages: PreviewServer;
let browser: Browser;
let page: Page;
let address: string;
/** What the test does when the page has come to its step. */
let atStep: () => Promise<void> = async () => undefined;

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
  page = await (await browser.newContext()).newPage();
  page.on("console", (message) => console.log(message.text()));
  await page.exposeFunction("onStepTaken", () => atStep());
  address = `${pages.resolvedUrls?.local[0]}tests/browser/clips_page.html`;
  await page.goto(address);
  await page.waitForFunction(() => "clipsPage" in globalThis);
});

afterAll(async () => {
  await browser?.close();
  await pages?.close();
  await rm(folder, { recursive: true, force: true });
});

test.each(["full", "dual-scope", "tile"] as const)(
  "%s attention in two tabs that the page opens: one tab's latents",
  async (plan) => {
    const { error, clips } = await render({ plan, tabs: 2 });
    expect(clips).toEqual([2]);
    expect(error).toBeLessThan(1e-4);
  },
);

test("tabs that nobody opened come through the broker", async () => {
  const [one, other] = [await openHelper(), await openHelper()];
  expect(await one.evaluate(() => globalThis.opener as unknown)).toBeNull();
  const { error, clips } = await render({ plan: "dual-scope", tabs: 2, areOpened: true });
  expect(clips).toEqual([2]);
  expect(error).toBeLessThan(1e-4);
  expect(await one.evaluate(() => helperPage.heard)).toEqual([
    expect.stringMatching(/^admitted as tab \d+$/),
  ]);
  await one.close();
  await other.close();
});

test.each([true, false])(
  "a tab is closed in the middle (opened: %s): the other one finishes",
  async (areOpened) => {
    const helpers = areOpened ? [] : [await openHelper(), await openHelper()];
    atStep = async () => {
      const tabs = areOpened
        ? page
            .context()
            .pages()
            .filter((each) => each !== page)
        : helpers;
      await tabs[0]?.close();
    };
    const started = performance.now();
    const result = await render({ plan: "full", tabs: 2, areOpened: !areOpened, pauseAt: 2 });
    expect(result.reasons).toEqual(["it has gone"]);
    expect(performance.now() - started).toBeLessThan(20_000); // not by waiting for it to be silent
    expect(result.clips).toEqual([2, 1]);
    expect(result.error).toBeLessThan(1e-4);
    for (const each of helpers.slice(1)) await each.close();
  },
);

test("a tab is frozen in the middle: its frames go to the other, and what it says later is not heard", async () => {
  const helpers = [await openHelper(), await openHelper()];
  atStep = async () => {
    // Does not answer for long, as a frozen tab.
    const frozen = helpers[0]?.evaluate(() => {
      const end = performance.now() + 9000;
      while (performance.now() < end);
    });
    frozen?.catch(() => undefined); // the others may be done first; it is closed then
  };
  const result = await render({ plan: "dual-scope", tabs: 2, areOpened: true, pauseAt: 1, stallMs: 5000 });
  expect(result.reasons).toEqual([expect.stringMatching(/^(silent|no progress) for 5 s$/)]);
  expect(result.clips).toEqual([2, 1]);
  expect(result.error).toBeLessThan(1e-4);
  for (const each of helpers) await each.close();
});

test.each(["everything twice", "strangers' messages", "nonsense"] as const)(
  "a tab sends %s: the latents stay the same, and nobody is lost",
  async (meddling) => {
    const helpers = [await openHelper(), await openHelper()];
    await helpers[0]?.evaluate((how) => (helperPage.meddling = how), meddling);
    const result = await render({ plan: "dual-scope", tabs: 2, areOpened: true });
    expect(result.lost).toEqual([]);
    expect(result.error).toBeLessThan(1e-4);
    for (const each of helpers) await each.close();
  },
);

test("a tab with a wrong invitation is refused; one without has to be let in", async () => {
  const wrong = await openHelper("renders.guessed");
  await wrong.waitForFunction(() => helperPage.heard.length > 0);
  expect(await wrong.evaluate(() => helperPage.heard)).toEqual([
    "The invitation is not, or not any more, the one of that tab.",
  ]);
  const without = await openHelper("renders");
  await without.waitForFunction(() => helperPage.heard.length > 0);
  expect(await page.evaluate(() => clipsPage.asked())).toBe(1);
  await page.evaluate(() => clipsPage.refuse());
  await without.waitForFunction(() => helperPage.heard.length > 1);
  expect(await without.evaluate(() => helperPage.heard)).toEqual([
    "asked",
    "The other tab does not want help just now.",
  ]);
  await wrong.close();
  await without.close();
});

async function render(options: TabsRender): Promise<TabsResult> {
  return await page.evaluate((asked) => clipsPage.render(asked), options);
}

/** A helper tab that nobody opened, in the storage of the page. */
async function openHelper(hash = "renders.please-come"): Promise<Page> {
  const helper = await page.context().newPage();
  await helper.goto(`${address}#${hash}`);
  await helper.waitForFunction(() => "helperPage" in globalThis);
  return helper;
}
