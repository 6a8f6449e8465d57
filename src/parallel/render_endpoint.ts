// The render service across a thread boundary, through Comlink: `exposeRenderService` in the worker,
// `connectRenderService` in the page. AbortSignals and error classes do not cross; both are rebuilt here.
import * as Comlink from "comlink";
import {
  DeviceLostError,
  GpuOutOfMemoryError,
  InputError,
  WebGPUUnavailableError,
  WeightsError,
} from "../errors.ts";
import type { DeviceUse } from "../pipelines/device_use.ts";
import type { DumpSink } from "../pipelines/dump.ts";
import type { CrewWish, CrewWorker } from "./render_crew.ts";
import type {
  ModelRequest,
  ModelSummary,
  RenderRequest,
  RenderResult,
  RenderServiceApi,
  ServiceDescription,
  ServiceEvent,
  UnfinishedJob,
} from "./render_protocol.ts";

/** A worker, a MessagePort, or anything with their methods. */
export type Endpoint = Comlink.Endpoint;

/** The service as the page sees it. Rejections have the classes of errors.ts; an abort is an AbortError. */
export interface RenderClient {
  describe(): Promise<ServiceDescription>;
  load(model: ModelRequest, onEvent?: (event: ServiceEvent) => void): Promise<ModelSummary>;
  render(request: Omit<RenderRequest, "jobId">, options?: RenderCall): Promise<RenderResult>;
  unfinished(onEvent?: (event: ServiceEvent) => void): Promise<UnfinishedJob[]>;
  resume(jobId: string, options?: Omit<RenderCall, "jobId">): Promise<RenderResult>;
  forget(jobId: string): Promise<void>;
  deviceUse(): Promise<DeviceUse | undefined>;
  /** Gives the job with the worker's token, which runs or is about to, a worker; its ports are moved. */
  addWorker(worker: CrewWorker): Promise<void>;
  cachedBytes(): Promise<number>;
  purgeCache(): Promise<void>;
}

/** How to watch and stop a render. */
export interface RenderCall {
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: ServiceEvent) => void) | undefined;
  /** Names the job. @default a new name */
  readonly jobId?: string | undefined;
  /** Whom to share it with. @default nobody */
  readonly crew?: CrewWish | undefined;
  /** Takes what the request dumps. */
  readonly sink?: DumpSink | undefined;
}

/** On the worker's side a call of a proxied callback answers with a promise. */
type Callback = ((event: ServiceEvent) => void | Promise<void>) & Partial<Comlink.ProxyMethods>;

/** Offers `service` to the other side of `endpoint`; in a worker by default to the page that started it. */
export function exposeRenderService(service: RenderServiceApi, endpoint?: Endpoint): void {
  const exposed: RenderServiceApi = {
    describe: () => service.describe(),
    load: (model, onEvent) => withCallback(onEvent, (listener) => service.load(model, listener)),
    render: (request, onEvent, crew, sink) =>
      withCallback(onEvent, async (listener) =>
        moved(await service.render(request, listener, crew, sink)),
      ).finally(() => release(sink)),
    resume: (jobId, onEvent, crew) =>
      withCallback(onEvent, async (listener) => moved(await service.resume(jobId, listener, crew))),
    addWorker: (worker) => service.addWorker(worker),
    unfinished: (onEvent) => withCallback(onEvent, (listener) => service.unfinished(listener)),
    deviceUse: () => service.deviceUse(),
    forget: (jobId) => service.forget(jobId),
    cancel: (jobId) => service.cancel(jobId),
    cachedBytes: () => service.cachedBytes(),
    purgeCache: () => service.purgeCache(),
  };
  Comlink.expose(exposed, endpoint);
}

/** Moves a result's files instead of copying them. */
function moved(result: RenderResult): RenderResult {
  const arrays = [result.file, result.contactSheet].filter((array) => array !== undefined);
  return Comlink.transfer(
    result,
    arrays.map(({ buffer }) => buffer as ArrayBuffer),
  );
}

/**
 * Wraps the service behind `endpoint`. `failed` rejects when the other side is gone (a worker that does not load or is
 * ended): calls that wait for it then reject with the same reason.
 */
export function connectRenderService(endpoint: Endpoint, failed: Promise<never>): RenderClient {
  const remote = Comlink.wrap<RenderServiceApi>(endpoint);
  failed.catch(() => undefined); // every call reports it
  const answer = async <T>(call: Promise<T>): Promise<T> => {
    try {
      return await Promise.race([call, failed]);
    } catch (error) {
      throw restoreError(error);
    }
  };
  const cancellable = async (
    jobId: string,
    signal: AbortSignal | undefined,
    call: () => Promise<RenderResult>,
  ): Promise<RenderResult> => {
    signal?.throwIfAborted();
    const cancel = (): void => void remote.cancel(jobId);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await answer(call());
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  };
  return {
    describe: () => answer(remote.describe()),
    load: (model, onEvent = ignore) => answer(remote.load(model, Comlink.proxy(onEvent))),
    render: (request, { signal, onEvent = ignore, jobId = crypto.randomUUID(), crew, sink } = {}) =>
      cancellable(jobId, signal, () =>
        remote.render({ ...request, jobId }, Comlink.proxy(onEvent), crew, sink && Comlink.proxy(sink)),
      ),
    resume: (jobId, { signal, onEvent = ignore, crew } = {}) =>
      cancellable(jobId, signal, () => remote.resume(jobId, Comlink.proxy(onEvent), crew)),
    addWorker: (worker) =>
      answer(remote.addWorker(Comlink.transfer(worker, [worker.clips, worker.segments]))),
    unfinished: (onEvent = ignore) => answer(remote.unfinished(Comlink.proxy(onEvent))),
    deviceUse: () => answer(remote.deviceUse()),
    forget: (jobId) => answer(remote.forget(jobId)),
    cachedBytes: () => answer(remote.cachedBytes()),
    purgeCache: () => answer(remote.purgeCache()),
  };
}

/** Runs `work` with the caller's callback and closes the message port behind it afterwards. */
async function withCallback<T>(
  callback: Callback,
  work: (listener: (event: ServiceEvent) => void) => Promise<T>,
): Promise<T> {
  try {
    // Nobody waits for the answer: events must not slow the work down.
    return await work((event) => void callback(event));
  } finally {
    release(callback);
  }
}

function release(callback: object | undefined): void {
  (callback as Partial<Comlink.ProxyMethods> | undefined)?.[Comlink.releaseProxy]?.();
}

const ERROR_CLASSES = {
  DeviceLostError,
  GpuOutOfMemoryError,
  InputError,
  WebGPUUnavailableError,
  WeightsError,
} as const;

/** Comlink keeps an error's name and message only. */
function restoreError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (error.name === "AbortError") return new DOMException(error.message, "AbortError");
  if (!Object.hasOwn(ERROR_CLASSES, error.name)) return error;
  return new ERROR_CLASSES[error.name as keyof typeof ERROR_CLASSES](error.message, { cause: error });
}

function ignore(): void {
  // Nobody listens.
}
