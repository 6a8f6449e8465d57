// The page of `weft serve` in headless Chromium, which offers itself to scripts as `globalThis.weft` under the address
// "#scripted" (ui/scripted.ts): opened, called, closed.

import type { Server } from "node:http";
import { basename, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { GpuOutOfMemoryError, InputError, WebGPUUnavailableError, WeightsError } from "../errors.ts";
import type { ScriptedListeners, ScriptedWeft } from "../parallel/scripted_protocol.ts";
import type { EngineWish } from "../pipelines/engine.ts";
import { Chromium, type DevToolsEvent } from "./chromium_process.ts";
import { packagePath } from "./package_files.ts";
import { isUrl } from "./render_plan.ts";
import { listen, serverUrl } from "./serve_command.ts";
import { createStaticServer, type ServedFolders } from "./static_server.ts";

const ADDRESS = "127.0.0.1";
/** Time for the page's script to come; how often to look. */
const START_MS = 60_000;
const POLL_MS = 20;

/** What to open. */
export interface ChromiumPageOptions {
  /** A folder or a URL. */
  readonly model: string;
  /** A decoder's file. */
  readonly vae: string | undefined;
  readonly engine: EngineWish;
  /** Whether kernels are timed: browsers blur the GPU's clock otherwise. */
  readonly isTimed: boolean;
  /** What the page's functions of these names call; the page waits for them where it awaits them. */
  readonly listeners: ScriptedListeners;
  /** Ends the browser, and whatever waits for it. */
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

/** A call of the page. */
interface WeftCall {
  readonly name: keyof ScriptedWeft;
  readonly args: readonly unknown[];
}

/** What a function that the page calls was given. */
interface Post {
  readonly name: keyof ScriptedListeners;
  readonly id: number;
  readonly value: never;
}

/** The page, with its browser and the server that it comes from. */
export class ChromiumPage {
  readonly addresses: Addresses;
  readonly #options: ChromiumPageOptions;
  readonly #server: Server;
  #chromium: Chromium | undefined;
  #session: string | undefined;
  /** What went wrong in a listener. */
  #failure: unknown;

  private constructor(options: ChromiumPageOptions, server: Server, addresses: Addresses) {
    this.#options = options;
    this.#server = server;
    this.addresses = addresses;
  }

  /** Starts server and browser, and opens the page. Rejects with an AbortError after the signal. */
  static async open(options: ChromiumPageOptions): Promise<ChromiumPage> {
    const { folders, addresses } = served(options.model, options.vae);
    const server = await listen(createStaticServer(folders), { host: ADDRESS, port: 0 });
    const page = new ChromiumPage(options, server, addresses);
    try {
      await page.#whileItLives("The browser did not start; WEFT_DEBUG=1 shows why.", () => page.#open());
      return page;
    } catch (error) {
      await page.close();
      throw error;
    }
  }

  /** Calls the page. Rejects with the class and sentence of its error, or with an AbortError after the signal. */
  async call<Name extends keyof ScriptedWeft>(
    name: Name,
    ...args: Parameters<ScriptedWeft[Name]>
  ): Promise<Awaited<ReturnType<ScriptedWeft[Name]>>> {
    const sentence = "The browser ended before the video was done; it may have run out of memory.";
    const answer = await this.#whileItLives(
      sentence,
      async () => (await this.#evaluate(callWeft, { name, args })) as Answer,
    );
    if (!answer.ok) throw restoreError(answer);
    return answer.value as Awaited<ReturnType<ScriptedWeft[Name]>>;
  }

  /** Ends the browser and the server. */
  async close(): Promise<void> {
    await this.#chromium?.close();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #open(): Promise<void> {
    const { engine, isTimed, signal } = this.#options;
    const args = isTimed ? ["--enable-webgpu-developer-features"] : [];
    const chromium = await Chromium.start({ args, signal, onEvent: (event) => this.#hear(event) });
    this.#chromium = chromium;
    // A context of its own keeps its storage in memory.
    const { browserContextId } = await chromium.send("Target.createBrowserContext");
    const url = `${serverUrl(this.#server, ADDRESS)}?engine=${engine}#scripted`;
    const { targetId } = await chromium.send("Target.createTarget", { url, browserContextId });
    const { sessionId } = await chromium.send("Target.attachToTarget", { targetId, flatten: true });
    this.#session = String(sessionId);
    for (const domain of ["Inspector", "Runtime"]) await chromium.send(`${domain}.enable`, {}, this.#session);
    await chromium.send("Runtime.addBinding", { name: "weftPost" }, this.#session);
    const deadline = performance.now() + START_MS;
    while (!(await this.#offerListeners())) {
      if (performance.now() > deadline) throw new Error("The page did not start.");
      await setTimeout(POLL_MS);
    }
  }

  /** Whether the page's script was there; before it comes, contexts come and go. */
  async #offerListeners(): Promise<boolean> {
    try {
      return (await this.#evaluate(offerListeners, Object.keys(this.#options.listeners))) === true;
    } catch (error) {
      if (this.#chromium?.hasEnded !== false) throw error;
      return false;
    }
  }

  #hear({ method, params }: DevToolsEvent): void {
    if (method === "Inspector.targetCrashed") void this.#chromium?.close();
    if (method === "Runtime.bindingCalled") void this.#answer(JSON.parse(String(params["payload"])) as Post);
  }

  async #answer({ name, id, value }: Post): Promise<void> {
    try {
      await this.#options.listeners[name]?.(value);
    } catch (error) {
      this.#failure ??= error;
      await this.#chromium?.close();
      return;
    }
    await this.#evaluate(answerPost, id).catch(() => undefined); // the browser has ended: the running call says it
  }

  /** Runs a function, of which only the source travels, in the page. */
  async #evaluate<A>(work: (argument: A) => unknown, argument: A): Promise<unknown> {
    const expression = `(${String(work)})(${JSON.stringify(argument)})`;
    const options = { expression, awaitPromise: true, returnByValue: true };
    const evaluated = await this.#chromium?.send("Runtime.evaluate", options, this.#session);
    const { result, exceptionDetails } = evaluated as {
      readonly result: { readonly value?: unknown; readonly description?: string };
      readonly exceptionDetails?: unknown;
    };
    if (exceptionDetails !== undefined) throw new Error(result.description ?? "The page's script failed.");
    return result.value;
  }

  /** Says `sentence` when the work fails because the browser has ended. */
  async #whileItLives<T>(sentence: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.#options.signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#chromium?.hasEnded !== true) throw error;
      throw new Error(sentence, { cause: error });
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

// The functions below run in the page.

async function callWeft({ name, args }: WeftCall): Promise<Answer> {
  const { weft } = globalThis as unknown as {
    weft: Record<string, (...values: readonly unknown[]) => unknown>;
  };
  try {
    return { ok: true, value: await weft[name]?.(...args) };
  } catch (error) {
    const { name: errorName, message } = error as Error;
    return { ok: false, name: errorName, message };
  }
}

/** Puts functions of these names on globalThis, which post what they get and resolve when it has been answered. */
function offerListeners(names: readonly string[]): boolean {
  if (!("weft" in globalThis)) return false;
  const { weftPost } = globalThis as unknown as { weftPost: (payload: string) => void };
  const waiting = new Map<number, () => void>();
  let lastId = 0;
  const offer = (name: string) => (value: unknown) =>
    new Promise<void>((resolve) => {
      waiting.set(++lastId, resolve);
      weftPost(JSON.stringify({ name, id: lastId, value }));
    });
  const weftAnswer = (id: number): void => {
    waiting.get(id)?.();
    waiting.delete(id);
  };
  Object.assign(globalThis, { weftAnswer }, Object.fromEntries(names.map((name) => [name, offer(name)])));
  return true;
}

function answerPost(id: number): void {
  (globalThis as unknown as { weftAnswer: (id: number) => void }).weftAnswer(id);
}

const ERROR_CLASSES = { InputError, WeightsError, GpuOutOfMemoryError, WebGPUUnavailableError } as const;

function restoreError({ name, message }: { name: string; message: string }): Error {
  if (!Object.hasOwn(ERROR_CLASSES, name)) return new Error(message);
  return new ERROR_CLASSES[name as keyof typeof ERROR_CLASSES](message);
}
