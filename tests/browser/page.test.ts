// The built page in headless Chromium, served as `weft serve` serves it: what a visitor sees, starts, stops and takes
// away. Videos are tiny, as there is no GPU here. With WEFT_SCREENSHOTS=FOLDER it also takes pictures.
import { readFile } from "node:fs/promises";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ScriptedWeft } from "../../src/parallel/scripted_protocol.ts";
import { probe, readMetadata } from "../../src/video/inspect.ts";
import { launchChromium } from "./chromium.ts";
import { ready, screenshots, type ServedPage, servePage } from "./served_page.ts";

declare const weft: ScriptedWeft;

const TINY = "frames=5&width=48&height=48&seed=7";

const problems: string[] = [];
let served: ServedPage;
let browser: Browser;
let page: Page;
let address: string;

beforeAll(async () => {
  served = await servePage();
  address = served.address;
  browser = await launchChromium();
  page = await openPage(`${address}?${TINY}&prompt=a+red+ball+bounces+on+grass`);
});

afterAll(async () => {
  await browser?.close();
  await served?.close();
});

test("the page says what it will compute with and what it will download", async () => {
  await ready(page);
  const capability = await page.innerText("#capability");
  expect(capability).toMatch(/CPU, \d+ thread/);
  expect(capability).toMatch(/onnxruntime in WebAssembly/);
  expect(capability).toMatch(/software.*processor/);
  expect(await page.innerText("#model")).toMatch(/weft-nano\s+1\d\.\d MB to download/);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(true);
  await screenshots(page, "start");
});

test("an empty prompt is explained in one sentence, and nothing starts", async () => {
  await page.fill("#prompt", "  ");
  await page.click("#generate");
  await page.waitForSelector(".message.error");
  expect(await page.innerText(".message.error")).toBe(
    "The prompt is empty: say in a sentence what the video should show.",
  );
  await ready(page);
});

test("Escape stops a render within three seconds, and the page is usable again", async () => {
  await page.click("#settings summary");
  await page.selectOption("#num-frames", "33");
  await page.selectOption("#size", "128x128");
  await page.fill("#prompt", "a green cube spins on sand");
  await page.keyboard.press("Control+Enter");
  await page.waitForFunction(() => /Denoising, step/.test(document.body.innerText));
  expect(await page.isDisabled("#generate")).toBe(true);
  const start = performance.now();
  await page.keyboard.press("Escape");
  await ready(page);
  expect(performance.now() - start).toBeLessThan(3000); // two, and time to notice on a busy machine
  expect(await page.innerText("#screen")).toContain("Cancelled");
  expect(await page.locator(".message.error").count()).toBe(0);
  expect(await page.isHidden("#cancel")).toBe(true);
});

test("a render shows progress, previews after every step, and the video with its sheet and settings", async () => {
  await page.goto(`${address}?${TINY}&prompt=a+red+zebra+bounces+on+grass`);
  await ready(page);
  await page.evaluate(() => {
    const seen = new Set<string>();
    new MutationObserver(() => {
      seen.add(document.getElementById("badge")?.textContent ?? "");
      seen.add(document.getElementById("progress-stage")?.textContent ?? "");
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
    Object.assign(globalThis, { seenTexts: seen });
  });
  await page.click("#generate");
  await page.waitForSelector("#preview:not([hidden])");
  expect(await colours(page)).toBeGreaterThan(20);
  await page.waitForSelector("#result:not([hidden])", { timeout: 120_000 });
  const seen = await page.evaluate(() => [
    ...(globalThis as unknown as { seenTexts: Set<string> }).seenTexts,
  ]);
  for (const step of [1, 2, 3, 4]) expect(seen).toContain(`Preview · step ${step} of 4`);
  expect(seen).toEqual(expect.arrayContaining(["Decoding the frames", "Writing the file"]));
  expect(await page.innerText("#messages")).toMatch(/does not know "zebra"/);
  await page.waitForFunction(
    () => (document.querySelector("#player video") as HTMLVideoElement).readyState >= 2,
  );
  expect(
    await page.evaluate(() => (document.querySelector("#player video") as HTMLVideoElement).videoWidth),
  ).toBe(48);
  expect(await page.innerText("#result")).toMatch(/48 × 48[\s\S]*5 frames[\s\S]*seed 7/);
  expect(await page.evaluate(() => document.querySelector<HTMLImageElement>(".sheet")?.naturalWidth)).toBe(
    248,
  );
  await screenshots(page, "done");
});

test("the download is a playable file that knows its settings", async () => {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(download.suggestedFilename()).toBe("a-red-zebra-bounces-on-grass-7.mp4");
  const file = await readFile(await download.path());
  expect(probe(file)).toMatchObject({ codec: "h264", frames: 5, width: 48, height: 48, fps: 16 });
  expect(readMetadata(file)).toMatchObject({
    prompt: "a red zebra bounces on grass",
    seed: 7,
    model: "weft-nano",
  });
});

test("the model is cached by now; removing it empties the cache, and the page goes on", async () => {
  expect(await page.innerText("#model")).toMatch(/nothing to download[\s\S]*17\.\d MB cached/);
  await page.click("#cache button");
  await page.waitForFunction(() => /MB to download/.test(document.getElementById("model")?.innerText ?? ""));
  expect(await page.locator("#cache").count()).toBe(0);
});

test("every control has a name, the keyboard reaches it, and nothing is wider than 380 px", async () => {
  await page.click("#settings summary");
  await page.setViewportSize({ width: 380, height: 800 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(380);
  const tabbed = new Set<string>();
  for (let i = 0; i < 40; i++) {
    await page.keyboard.press("Tab");
    tabbed.add(
      await page.evaluate(() => document.activeElement?.id || document.activeElement?.tagName || ""),
    );
  }
  for (const id of [
    "theme",
    "prompt",
    "num-frames",
    "size",
    "seed",
    "dice",
    "format",
    "fps",
    "generate",
    "download",
  ]) {
    expect(tabbed).toContain(id);
  }
  const unnamed = await page.evaluate(() =>
    [...document.querySelectorAll<HTMLElement>("button, input, select, textarea, a[href]")]
      .filter((control) => {
        const { labels } = control as HTMLInputElement;
        return !control.ariaLabel && !control.textContent?.trim() && !labels?.length;
      })
      .map((control) => control.outerHTML),
  );
  expect(unnamed).toEqual([]);
  await page.setViewportSize({ width: 1280, height: 860 });
});

test("attention is chosen with its density, its mask is looked at by keyboard, and the file says what it was", async () => {
  await page.setViewportSize({ width: 380, height: 800 });
  const hint = (): Promise<string> => page.innerText("#attention-hint");
  expect(await hint()).toBe("Every token sees every other.");
  await page.selectOption("#num-frames", "129");
  expect(await hint()).toMatch(/^dual-scope: \d\d\.\d % of all pairs are computed\.$/);

  await page.focus("#mask summary");
  await page.keyboard.press("Enter");
  const drawing = page.locator("#mask-picture svg");
  await drawing.waitFor();
  expect(await drawing.locator("title").first().textContent()).toMatch(/^Density \d\d\.\d %/);
  await page.keyboard.press("Tab");
  await page.keyboard.press("ArrowDown");
  expect(await page.inputValue("#mask-layer")).toBe("0");
  expect(await drawing.textContent()).toMatch(/layer 0, head 0, step 0 \(timestep 1000\)/);
  await page.selectOption("#mask-head", "3");
  await page.selectOption("#mask-step", "2");
  expect(await drawing.textContent()).toMatch(/layer 0, head 3, step 2 \(timestep 750\)/);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(380);
  await screenshots(page, "mask");

  await page.selectOption("#num-frames", "5");
  await page.selectOption("#attention", "tile:2");
  expect(await hint()).toMatch(/^tile:2: 100\.0 %|Every token/);
  await page.selectOption("#num-frames", "17");
  expect(await hint()).toMatch(/^tile:2: 7\d\.\d %/);
});

test("another file can be made, which says its attention, and earlier videos stay at hand", async () => {
  await page.selectOption("#format", "gif");
  await page.click("#generate");
  await page.waitForSelector("#player img", { timeout: 120_000 });
  expect(await page.innerText("#download")).toBe("Download GIF");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  expect(readMetadata(await readFile(await download.path()))).toMatchObject({ attention: "tile:2" });
  await page.selectOption("#attention", "full");
  await page.click("#again");
  expect(await page.inputValue("#attention")).toBe("tile:2");
  expect(await page.locator("#history-list button").count()).toBe(2);
  await page.locator("#history-list button").last().click();
  expect(await page.innerText("#download")).toBe("Download MP4");
  await page.click("#again");
  expect(await page.inputValue("#seed")).toBe("7");
  await page.setViewportSize({ width: 1280, height: 860 });
  await screenshots(page, "settings");
});

test("the theme can be chosen and is kept", async () => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await background();
  await page.click("#theme");
  const light = await background();
  expect(light).not.toBe(dark);
  await page.reload();
  expect(await background()).toBe(light);
});

test("without WebGPU the page computes on the processor; asked for WebGPU it says what is missing", async () => {
  const bare = await openPage("about:blank", { isBroken: true });
  await bare.route("**/render_worker*.js", async (route) => {
    const response = await route.fetch();
    const hide = `Object.defineProperty(navigator, "gpu", { value: undefined });`;
    await route.fulfill({ response, body: hide + (await response.text()) });
  });
  await bare.goto(address);
  await ready(bare);
  expect(await bare.innerText("#capability")).toMatch(/no graphics adapter here/);
  await bare.goto(`${address}?engine=webgpu`);
  await bare.waitForSelector(".message.error");
  expect(await bare.innerText(".message.error")).toMatch(/no WebGPU; use a current Chrome/);
  expect(await bare.innerText("#capability")).toMatch(/No WebGPU here/);
  expect(await bare.isDisabled("#generate")).toBe(true);
  await screenshots(bare, "missing");
  await bare.close();
});

test("a script can render through the page without seeing it, and cancel", async () => {
  await page.goto("about:blank"); // a change of "#" alone loads nothing
  await page.goto(`${address}#scripted`);
  await page.waitForFunction(() => "weft" in globalThis);
  expect(await page.isVisible("body")).toBe(false);
  const events: string[] = [];
  await page.exposeFunction("onWeftEvent", (event: { type: string }) => void events.push(event.type));
  expect(await page.evaluate(() => weft.describe())).toMatchObject({ compute: { name: "onnx" } });
  await page.evaluate(() => weft.load({ model: "/models/weft-nano" }));
  const request = {
    prompt: "a blue cone",
    numFrames: 1,
    width: 32,
    height: 32,
    seed: 1,
    format: "png",
  } as const;
  const job = await page.evaluate((asked) => weft.render(asked), request);
  expect(probe(Buffer.from(job.file, "base64"))).toMatchObject({ container: "png", width: 32 });
  expect(job.settings).toMatchObject({ prompt: "a blue cone", seed: 1 });
  expect(new Set(events)).toEqual(new Set(["download", "stage", "progress"]));
  const cancelled = page.evaluate((asked) => {
    const rendered = weft.render({ ...asked, numFrames: 129, width: 128, height: 128 });
    weft.cancel();
    return rendered;
  }, request);
  await expect(cancelled).rejects.toThrow(/AbortError/);
});

test("nothing was printed to the console, and no request went elsewhere", () => {
  expect(problems).toEqual([]);
});

async function openPage(url: string, { isBroken = false } = {}): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const opened = await context.newPage();
  if (!isBroken) {
    opened.on("console", (message) => problems.push(message.text()));
    opened.on("pageerror", (error) => problems.push(String(error)));
  }
  opened.on("request", (request) => {
    if (!/^(data|blob|about):/.test(request.url()) && !request.url().startsWith(address))
      problems.push(request.url());
  });
  await opened.goto(url);
  return opened;
}

/** Different colours of the preview canvas. */
async function colours(where: Page): Promise<number> {
  return await where.evaluate(() => {
    const canvas = document.getElementById("preview") as HTMLCanvasElement;
    const pixels = canvas.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
    return new Set(new Uint32Array(new Uint8Array(pixels).buffer)).size;
  });
}
