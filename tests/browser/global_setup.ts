// Builds the page before the tests that open it; once for all of them.
import { build } from "vite";

export default async function setup(): Promise<void> {
  await build({ logLevel: "error" });
}
