// Running ffmpeg commands in a worker, the same in Node and in the browser: one at a time, stopped by an
// AbortSignal at once (the worker is ended, the next run starts a fresh one), errors as one sentence.
import type { CoreMessage, CoreRequest } from "./ffmpeg_core.ts";

/** Files and listeners of one ffmpeg command. */
interface RunOptions {
  /** Files the command reads, by the path it knows them under. */
  readonly inputs?: Readonly<Record<string, Uint8Array>>;
  /** Paths of the files it writes, in the order they are wanted. */
  readonly outputs?: readonly string[];
  /** Buffers of `inputs` to move into the worker instead of copying them; unusable here afterwards. */
  readonly transfer?: readonly ArrayBuffer[];
  /** Called with every line that ffmpeg prints. */
  readonly onLog?: (line: string, stream: "stdout" | "stderr") => void;
  readonly signal?: AbortSignal | undefined;
}

/** An ffmpeg to run commands with. */
export interface FfmpegRuntime {
  /** Starts ffmpeg ahead of the first `run` (0.2 s in Node; in the browser 32 MB have to arrive). */
  load(signal?: AbortSignal): Promise<void>;
  /**
   * Runs `ffmpeg ...args` and returns its output files. Calls made meanwhile wait their turn.
   * Throws an Error with ffmpeg's own last words when it fails, AbortError when the signal stops it.
   */
  run(args: readonly string[], options?: RunOptions): Promise<Uint8Array[]>;
  /** Ends the worker. The runtime can be used again; it then starts a fresh one. */
  dispose(): void;
}

/** A started worker of either kind. `keepAlive(false)` lets a Node process end while the worker is idle. */
interface FfmpegWorker {
  post(request: CoreRequest, transfer: readonly ArrayBuffer[]): void;
  terminate(): void;
  keepAlive(busy: boolean): void;
}

/** Starts a worker; `onMessage` hears it, `onCrash` is called when it dies or cannot start. */
export type StartFfmpegWorker = (
  onMessage: (message: CoreMessage) => void,
  onCrash: (reason: string) => void,
) => FfmpegWorker;

/** Makes a runtime over workers that `start` gives. */
export function createFfmpegRuntime(start: StartFfmpegWorker): FfmpegRuntime {
  let session: Session | null = null;
  let last: Promise<unknown> = Promise.resolve();
  let nextId = 1;

  const end = (reason: unknown): void => {
    const ended = session;
    session = null;
    ended?.end(reason);
  };
  const begin = (): Session =>
    new Session(start, (reason) => end(new Error(`The ffmpeg worker stopped: ${reason}`)));

  /** Waits for its turn, then works on the session; failure or abort costs the session its life. */
  const inTurn = <T>(work: (session: Session) => Promise<T>, signal?: AbortSignal): Promise<T> => {
    const turn = last.then(async () => {
      signal?.throwIfAborted();
      session ??= begin();
      const stop = (): void => end(signal?.reason);
      signal?.addEventListener("abort", stop);
      try {
        return await work(session);
      } catch (error) {
        end(error);
        throw error;
      } finally {
        signal?.removeEventListener("abort", stop);
      }
    });
    last = turn.catch(() => undefined);
    return turn;
  };

  return {
    load: (signal) => inTurn((current) => current.ready, signal),
    run: (args, options = {}) => {
      const request = {
        id: nextId++,
        args,
        inputs: Object.entries(options.inputs ?? {}),
        outputs: options.outputs ?? [],
      };
      return inTurn((current) => current.run(request, options), options.signal);
    },
    dispose: () => end(new DOMException("The ffmpeg runtime was disposed of.", "AbortError")),
  };
}

/** The life of one worker. */
class Session {
  readonly #worker: FfmpegWorker;
  readonly #started = deferred<void>();
  #running: { onLine: RunOptions["onLog"]; result: Deferred<Uint8Array[]> } | null = null;
  #lastWords = "";

  constructor(start: StartFfmpegWorker, onCrash: (reason: string) => void) {
    this.#worker = start((message) => this.#hear(message), onCrash);
  }

  get ready(): Promise<void> {
    return this.#started.promise;
  }

  async run(request: CoreRequest, options: RunOptions): Promise<Uint8Array[]> {
    await this.ready;
    const result = deferred<Uint8Array[]>();
    this.#running = { onLine: options.onLog, result };
    this.#lastWords = "";
    this.#worker.keepAlive(true);
    this.#worker.post(request, options.transfer ?? []);
    return await result.promise;
  }

  /** Ends the worker; whoever waits for it gets `reason`. */
  end(reason: unknown): void {
    this.#worker.terminate();
    this.#started.reject(reason);
    this.#running?.result.reject(reason);
    this.#running = null;
  }

  #hear(message: CoreMessage): void {
    switch (message.type) {
      case "ready":
        this.#worker.keepAlive(false);
        return this.#started.resolve();
      case "log":
        if (message.stream === "stderr" && isUseful(message.line)) this.#lastWords = message.line;
        return this.#running?.onLine?.(message.line, message.stream);
      case "done":
      case "failed":
        return this.#finish(message);
    }
  }

  #finish(message: Extract<CoreMessage, { type: "done" | "failed" }>): void {
    const running = this.#running;
    this.#running = null;
    this.#worker.keepAlive(false);
    if (message.type === "done" && message.exitCode === 0) return running?.result.resolve(message.outputs);
    const how = message.type === "done" ? `exit code ${message.exitCode}` : message.message;
    const error = new Error(`ffmpeg failed (${how}): ${this.#lastWords || "it said nothing"}`);
    if (running) running.result.reject(error);
    else this.#started.reject(error);
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

/** Promise.withResolvers, which Node 20 has not. A rejection that nobody awaits is no crash. */
function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}

/** Lines that tell why: not the epitaphs that follow every failure, not statistics. */
function isUseful(line: string): boolean {
  return (
    line.trim() !== "" &&
    !/^(Aborted|Conversion failed|Error initializing output stream|frame=|Exiting)/.test(line.trim())
  );
}
