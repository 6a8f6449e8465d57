// The page of `weft serve` in headless Chromium, which offers itself to scripts as `globalThis.weft` under the address
// "#scripted" (ui/scripted.ts): opened, called, closed.

import { basename, resolve } from "node:path";
import type { Browser, Page } from "playwright-core";
import { GpuOutOfMemoryError, InputError, WebGPUUnavailableError, WeightsError } from "../errors.ts";
import type { ScriptedListeners, ScriptedWeft } from "../parallel/scripted_protocol.ts";
import type { EngineWish } from "../pipelines/engine.ts";
import { launchChromium } from "./chromium_node.ts";
import { packagePath } from "./package_files.ts";
import { isUrl } from "./render_plan.ts";
import { listen, serverUrl } from "./serve_command.ts";
import { createStaticServer, type ServedFolders } from "./static_server.ts";

const ADDRESS = "127.0.0.1";

/** What to open. */
export interface ChromiumPageOptions {
  /** A folder or a URL. */
  readonly model: string;
  /** A decoder's file. */
  readonly vae: string | undefined;
  readonly engine: EngineWish;
  /** Whether kernels are timed: browsers blur the GPU's clock otherwise. */
  readonly isTimed: boolean;
  /** Closes the browser, which ends whatever waits for it. */
  readonly signal: AbortSignal;
}

/** Where the page finds the model. */
interface Addresses {
  readonly model: string;
  readonly vae: string | undefined;
}

/** The page's answer; errors lose their class on the way, so they travel as data. */
type Answer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly name: string; readonly message: string };

/** The page, with its browser and the server that it comes from. */
export class ChromiumPage {
  readonly addresses: Addresses;
  readonly #page: Page;
  readonly #signal: AbortSignal;
  readonly #close: () => Promise<void>;

  private constructor(page: Page, addresses: Addresses, signal: AbortSignal, close: () => Promise<void>) {
    this.#page = page;
    this.addresses = addresses;
    this.#signal = signal;
    this.#close = close;
  }

  /** Starts server and browser, and opens the page. Rejects with an AbortError after the signal. */
  static async open({ model, vae, engine, isTimed, signal }: ChromiumPageOptions): Promise<ChromiumPage> {
    const { folders, addresses } = served(model, vae);
    const server = await listen(createStaticServer(folders), { host: ADDRESS, port: 0 });
    let browser: Browser | undefined;
    const onAbort = (): void => void browser?.close();
    const close = async (): Promise<void> => {
      signal.removeEventListener("abort", onAbort);
      await browser?.close();
      server.close();
      server.closeAllConnections();
    };
    signal.addEventListener("abort", onAbort);
    try {
      browser = await launchChromium({ args: isTimed ? ["--enable-webgpu-developer-features"] : [] });
      signal.throwIfAborted();
      const page = await browser.newPage();
      page.setDefaultTimeout(0); // a render takes as long as it takes
      await page.goto(`${serverUrl(server, ADDRESS)}?engine=${engine}#scripted`);
      await page.waitForFunction(() => "weft" in globalThis);
      return new ChromiumPage(page, addresses, signal, close);
    } catch (error) {
      await close();
      signal.throwIfAborted();
      throw error;
    }
  }

  /** Has `listener` hear what the page calls by this name. */
  async listen<Name extends keyof ScriptedListeners>(
    name: Name,
    listener: NonNullable<ScriptedListeners[Name]>,
  ): Promise<void> {
    await this.#do(() => this.#page.exposeFunction(name, listener));
  }

  /** Calls the page. Rejects with the class and sentence of its error, or with an AbortError after the signal. */
  async call<Name extends keyof ScriptedWeft>(
    name: Name,
    ...args: Parameters<ScriptedWeft[Name]>
  ): Promise<Awaited<ReturnType<ScriptedWeft[Name]>>> {
    const answer = await this.#do(() => this.#page.evaluate(callWeft, { name, args }));
    if (!answer.ok) throw restoreError(answer);
    return answer.value as Awaited<ReturnType<ScriptedWeft[Name]>>;
  }

  /** Ends the browser and the server. */
  async close(): Promise<void> {
    await this.#close();
  }

  async #do<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#signal.throwIfAborted();
      throw new Error("The browser ended before the video was done; it may have run out of memory.", {
        cause: error,
      });
    }
  }
}

/** What is served, and under which addresses. The model's keeps its name, which goes into the video's metadata. */
function served(model: string, vae: string | undefined): { folders: ServedFolders; addresses: Addresses } {
  const name = basename(resolve(model));
  const folders = {
    "/": packagePath("dist", "page"),
    ...(isUrl(model) ? {} : { [`/model/${name}/`]: model }),
    ...(vae === undefined ? {} : { [`/vae/${basename(vae)}`]: vae }),
  };
  const addresses = {
    model: isUrl(model) ? model : `/model/${encodeURIComponent(name)}/`,
    vae: vae && `/vae/${encodeURIComponent(basename(vae))}`,
  };
  return { folders, addresses };
}

/** Runs in the page. */
async function callWeft({
  name,
  args,
}: {
  name: keyof ScriptedWeft;
  args: readonly unknown[];
}): Promise<Answer> {
  const { weft } = globalThis as unknown as {
    weft: Record<string, (...args: readonly unknown[]) => unknown>;
  };
  try {
    return { ok: true, value: await weft[name]?.(...args) };
  } catch (error) {
    const { name: errorName, message } = error as Error;
    return { ok: false, name: errorName, message };
  }
}

const ERROR_CLASSES = { InputError, WeightsError, GpuOutOfMemoryError, WebGPUUnavailableError } as const;

function restoreError({ name, message }: { name: string; message: string }): Error {
  if (!Object.hasOwn(ERROR_CLASSES, name)) return new Error(message);
  return new ERROR_CLASSES[name as keyof typeof ERROR_CLASSES](message);
}
