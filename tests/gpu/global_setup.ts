// Runs before the GPU tests' processes start: they find WebGPU through the environment they are started with.
// A machine with a hardware adapter tests on it; every other on SwiftShader.
import { swiftshaderEnvironment } from "../../src/cli/swiftshader_node.ts";

export default async function setup(): Promise<void> {
  if (process.env["WEFT_TEST_ADAPTER"] === "hardware") return;
  Object.assign(process.env, await swiftshaderEnvironment());
}
