// What a command's end looks like to the shell: an exit code, and for failures one sentence without a stack.

import { CommanderError } from "commander";
import { InputError } from "../errors.ts";

/** Exit codes of `weft`. */
export const EXIT = { ok: 0, failure: 1, usage: 2, interrupted: 130 } as const;

/** What is said after Ctrl-C. */
export const INTERRUPTED = "Interrupted; no unfinished file was left.";

/** Set it to see where an error comes from. */
const DEBUG_VARIABLE = "WEFT_DEBUG";

/** Errors made to be read by users: their message is the whole explanation. */
const EXPECTED = new Set([
  "InputError",
  "WebGPUUnavailableError",
  "DeviceLostError",
  "GpuOutOfMemoryError",
  "WeightsError",
]);

/** What to print on stderr (undefined: nothing) and the exit code for whatever a command threw. */
export function explainError(
  error: unknown,
  env: Readonly<Record<string, string | undefined>> = process.env,
): { readonly text: string | undefined; readonly code: number } {
  // Commander has printed its sentence already; help and --version also end in one of these.
  if (error instanceof CommanderError)
    return { text: undefined, code: error.exitCode === 0 ? 0 : EXIT.usage };
  if (isAbort(error)) return { text: INTERRUPTED, code: EXIT.interrupted };
  const code = error instanceof InputError ? EXIT.usage : EXIT.failure;
  if (!(error instanceof Error)) return { text: `error: ${String(error)}`, code };
  if (env[DEBUG_VARIABLE]) return { text: `error: ${error.stack ?? error.message}`, code };
  if (EXPECTED.has(error.name)) return { text: `error: ${error.message}`, code };
  return { text: `error: ${error.message}\n(set ${DEBUG_VARIABLE}=1 for the stack)`, code };
}

/** A DOMException, or one of Node's own. */
function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}
