// A worker that computes for a render, with its lifetime: it has a Web Lock, which ends with it, so that whoever it
// computes for knows at once.
import * as Comlink from "comlink";
import type { HelperApi, HelperCall, HelperEvent } from "../parallel/helper_service.ts";
import { takeLock } from "../parallel/web_lock.ts";

/** A helper's worker. */
export class HelperThread {
  /** Held for as long as it lives. */
  readonly lock: string;
  readonly #release: () => void;
  readonly #worker: Worker;
  readonly #api: Comlink.Remote<HelperApi>;

  private constructor(lock: string, release: () => void, engine: string) {
    this.lock = lock;
    this.#release = release;
    this.#worker = new Worker(new URL("./helper_worker.ts", import.meta.url), {
      type: "module",
      name: `weft-helper ${engine}`,
    });
    this.#api = Comlink.wrap<HelperApi>(this.#worker);
    this.#worker.addEventListener("error", () => this.end());
  }

  /** @param engine as for `RenderHost` */
  static async start(engine = "auto"): Promise<HelperThread> {
    const lock = `weft-helper:${crypto.randomUUID()}`;
    const release = (await takeLock(lock)) ?? (() => undefined);
    return new HelperThread(lock, release, engine);
  }

  /** What it computes on. */
  async describe(): Promise<string> {
    return await this.#api.describe();
  }

  /** Works until the job is over or its tab gone. */
  async help(call: HelperCall, onEvent: (event: HelperEvent) => void = () => undefined): Promise<void> {
    const moved = Comlink.transfer(call, [call.clips, call.segments]);
    await this.#api.help(moved, Comlink.proxy(onEvent));
  }

  /** Leaves the job. */
  async stop(): Promise<void> {
    await this.#api.stop();
  }

  /** Ends the worker, whatever it does. */
  end(): void {
    this.#worker.terminate();
    this.#release();
  }
}
