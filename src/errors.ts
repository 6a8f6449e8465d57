// The errors a caller may want to catch by class. Everything else is a plain Error with a full sentence.
// Abort is the standard DOMException "AbortError". Messages say what is wrong, what was expected, how to fix it.

/** The user gave something that cannot work (an option, a size, a file); the message is the whole explanation. */
export class InputError extends Error {
  override name = "InputError";
}

/** There is no WebGPU here, or no adapter answers. */
export class WebGPUUnavailableError extends Error {
  override name = "WebGPUUnavailableError";
}

/** The GPU device went away (driver reset, sleep, another process) while work was pending. */
export class DeviceLostError extends Error {
  override name = "DeviceLostError";
}

/** The job needs more GPU memory than the adapter has or than the pool's cap allows. */
export class GpuOutOfMemoryError extends Error {
  override name = "GpuOutOfMemoryError";
}

/** A kernel did not compile; carries the expanded WGSL so that line numbers mean something. */
export class ShaderCompileError extends Error {
  override name = "ShaderCompileError";
  readonly source: string;

  constructor(message: string, source: string) {
    super(message);
    this.source = source;
  }
}

/** A weights file is missing, truncated, mis-shaped, not finite, or not the file its manifest describes. */
export class WeightsError extends Error {
  override name = "WeightsError";
}
