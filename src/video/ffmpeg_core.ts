// The inside of an ffmpeg worker: one request after another through @ffmpeg/core, on its in-memory files.
// Knows neither Node nor the browser; the two entries load the core and hand the messages over.
// The core is GPL-2.0-or-later and loaded as a file of its own, never bundled.

/** One run of ffmpeg: files in, command, files out. Nothing stays in the worker afterwards. */
export interface CoreRequest {
  readonly id: number;
  readonly args: readonly string[];
  readonly inputs: readonly (readonly [path: string, bytes: Uint8Array])[];
  readonly outputs: readonly string[];
}

/** What an ffmpeg worker says. `log` may come any number of times between a request and its end. */
export type CoreMessage =
  | { readonly type: "ready" }
  | { readonly type: "log"; readonly stream: "stdout" | "stderr"; readonly line: string }
  | { readonly type: "done"; readonly id: number; readonly exitCode: number; readonly outputs: Uint8Array[] }
  | { readonly type: "failed"; readonly id: number | null; readonly message: string };

/** The part of @ffmpeg/core 0.12.10's module that is used here. `asm` holds the raw exports, names minified. */
export interface FfmpegCore {
  readonly FS: {
    writeFile(path: string, bytes: Uint8Array, options: { canOwn: boolean }): void;
    readFile(path: string): Uint8Array;
    unlink(path: string): void;
    analyzePath(path: string): { exists: boolean };
  };
  readonly asm: Readonly<Record<string, ((value?: number) => number) | undefined>>;
  _malloc(bytes: number): number;
  exec(...args: string[]): number;
  reset(): void;
  setLogger(log: (entry: { type: string; message: string }) => void): void;
}

/** Makes a core from @ffmpeg/core's default export. */
export type CreateFfmpegCore = (options: {
  wasmBinary?: Uint8Array;
  mainScriptUrlOrBlob?: string;
}) => Promise<FfmpegCore>;

/** Answers requests with `core`; returns the function to call for each. Messages go to `post`. */
export function serveFfmpeg(
  core: FfmpegCore,
  post: (message: CoreMessage, transfer: ArrayBuffer[]) => void,
): (request: CoreRequest) => void {
  const resetStack = enlargeStack(core);
  core.setLogger(({ type, message }) => {
    post({ type: "log", stream: type === "stdout" ? "stdout" : "stderr", line: message }, []);
  });
  return (request) => {
    try {
      resetStack();
      const { exitCode, outputs } = runRequest(core, request);
      const transfer = outputs.map((bytes) => bytes.buffer).filter((buffer) => buffer instanceof ArrayBuffer);
      post({ type: "done", id: request.id, exitCode, outputs }, transfer);
    } catch (error) {
      post({ type: "failed", id: request.id, message: messageOf(error) }, []);
    }
  };
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function runRequest(core: FfmpegCore, request: CoreRequest): { exitCode: number; outputs: Uint8Array[] } {
  for (const [path, bytes] of request.inputs) core.FS.writeFile(path, bytes, { canOwn: true });
  try {
    core.reset();
    const exitCode = core.exec(...request.args);
    const outputs = exitCode === 0 ? request.outputs.map((path) => core.FS.readFile(path)) : [];
    return { exitCode, outputs };
  } finally {
    for (const path of [...request.inputs.map(([input]) => input), ...request.outputs]) {
      if (core.FS.analyzePath(path).exists) core.FS.unlink(path);
    }
  }
}

/** 16 MiB, from the heap. */
const STACK_BYTES = 16 * 2 ** 20;

/**
 * Moves the stack of the core into a block of its own and returns the function that rewinds it.
 * The release has Emscripten's default of 64 KiB, which libvpx-vp9 overruns at its second frame ("memory access
 * out of bounds", ffmpegwasm/ffmpeg.wasm issues 679 and 823; their fix, pull request 824, is not released), and
 * ffmpeg leaves by an exception, so that each run loses some stack (issue 563). `Da` and `Ea` are stackSave and
 * stackRestore under the minified names of exactly 0.12.10.
 */
function enlargeStack(core: FfmpegCore): () => void {
  const { Da: stackSave, Ea: stackRestore } = core.asm;
  const block = core._malloc(STACK_BYTES);
  const top = (block + STACK_BYTES) & ~63; // the stack grows downwards
  stackRestore?.(top);
  if (!block || stackSave?.() !== top) {
    throw new Error("This @ffmpeg/core is not version 0.12.10, the only one known: run npm ci again.");
  }
  return () => stackRestore?.(top);
}
