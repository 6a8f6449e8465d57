// The Chromium of `weft render --host chromium`, for tests to drive with playwright.
import { type Browser, chromium } from "playwright-core";
import { findChromium } from "../../src/cli/chromium_node.ts";

/** Launches it. Close it when done. */
export async function launchChromium(): Promise<Browser> {
  const { executable: executablePath, args, env } = await findChromium();
  return await chromium.launch({ executablePath, args: [...args], env: { ...env } });
}
