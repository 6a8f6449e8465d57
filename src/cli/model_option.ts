// `--model`, which every command takes that looks at a model.
import { Option } from "commander";
import { packagePath } from "./package_files.ts";

/** `--model` as the command describes it; the embedded model by default. */
export function modelOption(description: string, defaultName = "weft-nano"): Option {
  return new Option("--model <dir|url>", description).default(
    packagePath("models", "weft-nano"),
    defaultName,
  );
}
