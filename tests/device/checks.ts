// The GPU tests as one program, for a machine that has a GPU driver, Node and npm `webgpu`, but no vitest:
//   vite build --mode device && node dist/device/checks.mjs [parts of tests' names]
// Run it in the repository's root (fixtures are read from there). Exits with 1 when a test fails. What decodes needs
// onnxruntime-web too, and WEFT_MAIN names the command line to test; pack.sh packs both.
// Not here: tests of the command line that need ffmpeg, a full disk or SwiftShader.
import { ADAPTER } from "../gpu/device.ts";
import { collect, runSuite, type Suite, type TestResult } from "./vitest_shim.ts";

const FILES = import.meta.glob(["../gpu/**/*.test.ts", "!../gpu/cli/{damaged,failures,render}.test.ts"]);

async function main(filters: readonly string[]): Promise<number> {
  console.log(JSON.stringify(ADAPTER));
  const suites: Suite[] = [];
  for (const [path, load] of Object.entries(FILES))
    suites.push(await collect(path.replace("../", "tests/"), load));
  const isWanted = (name: string): boolean =>
    filters.length === 0 || filters.some((part) => name.includes(part));
  const results: TestResult[] = [];
  for (const suite of suites) {
    const start = performance.now();
    const ofFile = await runSuite(suite, { isWanted });
    if (ofFile.length > 0) report(suite.name, ofFile, performance.now() - start);
    results.push(...ofFile);
  }
  const failed = results.filter(({ error }) => error !== undefined).length;
  console.log(`${results.length - failed} passed, ${failed} failed, in ${suites.length} files`);
  if (results.length === 0) console.log(`No test's name holds any of: ${filters.join(", ")}.`);
  return failed > 0 || results.length === 0 ? 1 : 0;
}

function report(name: string, results: readonly TestResult[], milliseconds: number): void {
  const failed = results.filter(({ error }) => error !== undefined);
  console.log(
    `${failed.length > 0 ? "FAIL" : "ok  "} ${name}: ${results.length} in ${milliseconds.toFixed(0)} ms`,
  );
  for (const { name: testName, error } of failed) {
    console.log(
      `  ${testName}\n    ${String(error instanceof Error ? error.stack : error).replaceAll("\n", "\n    ")}`,
    );
  }
}

// Dawn keeps the process alive, so it ends by saying so.
process.exit(await main(process.argv.slice(2)));
