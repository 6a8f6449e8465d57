// Where the installed package keeps its parts, and its version. Works from the sources and from dist/cli alike.

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../../package.json";

/** Version of Weft. */
export const VERSION: string = version;

/** A path inside the package, for instance `packagePath("models", "weft-nano")`. */
export function packagePath(...parts: string[]): string {
  return join(packageRoot(), ...parts);
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error("Weft's own package.json is gone; install the package again.");
    folder = parent;
  }
  return folder;
}
