// Any failure as one sentence that says what to do. Pure.

/** Errors whose message already is the whole explanation. */
const EXPLAINED = new Set(["InputError", "WebGPUUnavailableError", "GpuOutOfMemoryError", "WeightsError"]);

/** The sentence for a failure; undefined for a cancelled job, which needs none. */
export function explainError(error: unknown): string | undefined {
  const { name, message } = error instanceof Error ? error : { name: "Error", message: String(error) };
  if (name === "AbortError") return undefined;
  if (EXPLAINED.has(name)) return message;
  if (name === "DeviceLostError") {
    return "The graphics device went away twice during this render: close other heavy tabs or choose a smaller size, then generate again.";
  }
  const problem = message.trim().replace(/[.\s]+$/, "");
  return `Something went wrong (${problem === "" ? name : problem}): generate again, and reload the page if it stays.`;
}
