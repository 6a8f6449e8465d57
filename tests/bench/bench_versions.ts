// What a figure was made with. Read when the module is built: a bare machine has neither git nor our packages' files.
import { dependencies } from "../../package.json";

const NAMES = ["webgpu", "onnxruntime-web"] as const;

/** Versions of the packages that compute. They are pinned, so package.json says which. */
export function packageVersions(): Record<string, string> {
  return Object.fromEntries(NAMES.map((name) => [name, dependencies[name]]));
}

/** The commit that was built, with "-dirty" behind it when files had changed since. */
export function weftCommit(): string {
  return import.meta.env["WEFT_COMMIT"] ?? "unknown";
}
