// The worker that renders, with its lifetime: started when needed, ended and started again when it does not answer a
// cancel in time. Everything else is parallel/render_endpoint.ts.
import { connectRenderService, type RenderCall, type RenderClient } from "../parallel/render_endpoint.ts";
import type { ModelRequest, ModelSummary, RenderResult, ServiceEvent } from "../parallel/render_protocol.ts";

/** A cancelled job that still runs after this is ended with its worker: a long step on a slow adapter cannot hear. */
const CANCEL_GRACE_MS = 1500;

interface Started {
  readonly worker: Worker;
  readonly client: RenderClient;
  readonly fail: (reason: unknown) => void;
  hasModel: boolean;
}

/** A `RenderClient` that survives its worker. */
export class RenderHost implements RenderClient {
  readonly #engine: string;
  #started: Started | undefined;
  #model: ModelRequest | undefined;

  /** @param engine "webgpu" or "onnx"; anything else means the faster one */
  constructor(engine = "auto") {
    this.#engine = engine;
  }

  describe: RenderClient["describe"] = () => this.#client().describe();
  cachedBytes: RenderClient["cachedBytes"] = () => this.#client().cachedBytes();
  purgeCache: RenderClient["purgeCache"] = () => this.#client().purgeCache();
  unfinished: RenderClient["unfinished"] = (onEvent) => this.#client().unfinished(onEvent);
  addWorker: RenderClient["addWorker"] = (worker) => this.#client().addWorker(worker);
  deviceUse: RenderClient["deviceUse"] = () => this.#client().deviceUse();
  forget: RenderClient["forget"] = (jobId) => this.#client().forget(jobId);

  async load(model: ModelRequest, onEvent?: (event: ServiceEvent) => void): Promise<ModelSummary> {
    this.#started ??= this.#start();
    const started = this.#started;
    const summary = await started.client.load(model, onEvent);
    started.hasModel = true;
    this.#model = model;
    return summary;
  }

  render: RenderClient["render"] = (request, options = {}) => {
    const { jobId = crypto.randomUUID() } = options;
    return this.#attend({ jobId, isKept: request.keep === true }, options, (client) =>
      client.render(request, { ...options, jobId }),
    );
  };

  resume: RenderClient["resume"] = (jobId, options = {}) =>
    this.#attend({ jobId, isKept: true }, options, (client) => client.resume(jobId, options));

  /** Runs a job; a cancel that the worker does not hear ends the worker, and what was kept of the job. */
  async #attend(
    { jobId, isKept }: { readonly jobId: string; readonly isKept: boolean },
    { signal, onEvent }: RenderCall,
    call: (client: RenderClient) => Promise<RenderResult>,
  ): Promise<RenderResult> {
    const client = this.#client();
    if (this.#started?.hasModel === false && this.#model !== undefined) {
      await this.load(this.#model, onEvent);
    }
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isStopped = false;
    const startTimer = (): void => {
      timer = setTimeout(() => {
        isStopped = true;
        this.#stop(new DOMException("The render was cancelled.", "AbortError"));
      }, CANCEL_GRACE_MS);
    };
    signal?.addEventListener("abort", startTimer, { once: true });
    try {
      return await call(client);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", startTimer);
      if (isStopped && isKept) await this.forget(jobId);
    }
  }

  #client(): RenderClient {
    this.#started ??= this.#start();
    return this.#started.client;
  }

  #start(): Started {
    const worker = new Worker(new URL("./render_worker.ts", import.meta.url), {
      type: "module",
      name: `weft-render ${this.#engine}`,
    });
    let fail: (reason: unknown) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    worker.addEventListener("error", (event) => {
      this.#stop(new Error(`the render worker stopped: ${event.message || "its script did not load"}`));
    });
    return { worker, client: connectRenderService(worker, failed), fail, hasModel: false };
  }

  /** Ends the worker; whoever waits for it gets `reason`. The next call starts a fresh one. */
  #stop(reason: unknown): void {
    this.#started?.worker.terminate();
    this.#started?.fail(reason);
    this.#started = undefined;
  }
}
