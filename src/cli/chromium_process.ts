// A headless Chromium that belongs to this process: started with a folder of its own for all its files, spoken to over
// pipes in the Chrome DevTools Protocol (JSON, each message ended by a zero byte), and ended with everything it has started.
// It can be ended at any time, also while it starts, and when this process exits, no process and no folder are left.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { findChromium } from "./chromium_node.ts";

/** Parameters and results; whoever asks knows what they are. */
type Values = Readonly<Record<string, unknown>>;

/** What the browser tells of one of its pages. */
export interface DevToolsEvent {
  readonly method: string;
  readonly params: Values;
}

/** How to start one. */
export interface ChromiumOptions {
  /** Besides those that every Chromium here has. */
  readonly args: readonly string[];
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: DevToolsEvent) => void;
}

interface Waiting {
  readonly resolve: (result: Values) => void;
  readonly reject: (reason: unknown) => void;
}

interface Message extends Partial<DevToolsEvent> {
  readonly id?: number;
  readonly result?: Values;
  readonly error?: { readonly message: string };
}

/** Quiet, and awake: a page that nobody sees is not slowed down, and may open others. */
const ARGS = [
  "--headless",
  "--remote-debugging-pipe",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-extensions",
  "--disable-breakpad",
  "--disable-hang-monitor",
  "--disable-popup-blocking",
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--password-store=basic",
  "--use-mock-keychain",
];

/** Characters of its last words that are kept for an error. */
const MAX_SAID = 2000;

/** The browser. */
export class Chromium {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #commands: Writable;
  readonly #options: ChromiumOptions;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #hasEnded = false;

  private constructor(child: ChildProcess, folder: string, options: ChromiumOptions) {
    this.#child = child;
    this.#folder = folder;
    this.#options = options;
    this.#commands = child.stdio[3] as Writable;
    // What is written to a browser that has ended is lost, and told by the end itself.
    this.#commands.on("error", () => undefined);
    readMessages(child.stdio[4] as Readable, (message) => this.#receive(message));
    child.on("error", (error) => this.#end(error));
    let said = "";
    child.stderr?.on("data", (data: Buffer) => (said = (said + data.toString()).slice(-MAX_SAID)));
    child.on("exit", () => this.#end(new Error(`The browser has ended. It said: ${said}`)));
    options.signal.addEventListener("abort", this.#kill);
    process.on("exit", this.#remove);
  }

  /** Starts one; it takes commands at once. Rejects with an AbortError after the signal. */
  static async start(options: ChromiumOptions): Promise<Chromium> {
    const { executable, args, env } = await findChromium(options.signal);
    const folder = mkdtempSync(join(tmpdir(), "weft-chromium-")); // in one breath with what removes it
    const all = [
      ...ARGS,
      ...args,
      ...options.args,
      `--user-data-dir=${join(folder, "profile")}`,
      "about:blank",
    ];
    // In a process group of its own, which a terminal's Ctrl-C does not reach, and which can be ended as a whole.
    const child = spawn(executable, all, {
      detached: true,
      env: { ...env, TMPDIR: folder },
      stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
    });
    const chromium = new Chromium(child, folder, options);
    if (options.signal.aborted) await chromium.close();
    options.signal.throwIfAborted();
    return chromium;
  }

  /** Whether it is gone. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Sends a command, to a page's session or to the browser. Rejects when it is refused, or when the browser ends. */
  async send(method: string, params: Values = {}, sessionId?: string): Promise<Values> {
    if (this.#hasEnded) throw new Error("The browser has ended.");
    const id = ++this.#lastId;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#commands.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** Ends it. */
  async close(): Promise<void> {
    const isThere = this.#child.pid !== undefined && !this.#hasEnded;
    const ended = isThere ? new Promise((resolve) => this.#child.once("exit", resolve)) : undefined;
    this.#kill();
    await ended;
    this.#remove();
    this.#options.signal.removeEventListener("abort", this.#kill);
    process.off("exit", this.#remove);
  }

  #receive({ id, result = {}, error, method, params = {} }: Message): void {
    if (method !== undefined) return this.#options.onEvent({ method, params });
    const waiting = this.#waiting.get(id ?? 0);
    this.#waiting.delete(id ?? 0);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(result);
  }

  #end(reason: unknown): void {
    this.#hasEnded = true;
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  readonly #kill = (): void => {
    const { pid } = this.#child;
    if (pid === undefined || this.#hasEnded) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended, and nobody has said so yet.
    }
  };

  readonly #remove = (): void => {
    this.#kill();
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  };
}

function readMessages(stream: Readable, onMessage: (message: Message) => void): void {
  let pieces: Buffer[] = [];
  stream.on("error", () => undefined); // the end is told by the process
  stream.on("data", (data: Buffer) => {
    let start = 0;
    for (let end = data.indexOf(0); end !== -1; end = data.indexOf(0, start)) {
      const text = Buffer.concat([...pieces, data.subarray(start, end)]).toString();
      pieces = [];
      start = end + 1;
      onMessage(JSON.parse(text) as Message);
    }
    pieces.push(data.subarray(start));
  });
}
