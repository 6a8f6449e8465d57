// Builds the command line before the tests that run it as users do; once for all of them.
import { build } from "vite";

export default async function setup(): Promise<void> {
  await build({ mode: "cli", logLevel: "error" });
}
