// One config for every product: the page (default), the command line (`--mode cli`), both it (`--mode portable`) and the
// tests and benches (`--mode device`, `--mode bench`) as one module each for bare GPU machines, and vitest.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build, type Connect, defineConfig, type Plugin, type UserConfig } from "vite";
import type { ViteUserConfig } from "vitest/config";
import { createStaticServer } from "./src/cli/static_server.ts";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Headers that make a page cross-origin isolated, so that onnxruntime's threads get shared memory. */
const ISOLATION_HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/**
 * `import source from "./entry_node.ts?node_worker"`: the entry and all it imports as the text of one ES module.
 * worker_threads cannot load TypeScript, and this way a worker needs no file beside the bundle, in tests neither.
 */
const nodeWorker: Plugin = {
  name: "weft:node-worker",
  enforce: "pre",
  async load(id) {
    const [file, query] = id.split("?");
    if (query !== "node_worker" || !file) return null;
    this.addWatchFile(file);
    const result = await build({
      configFile: false,
      logLevel: "error",
      ssr: { noExternal: true },
      build: { ssr: file, write: false, target: "node20", minify: true },
    });
    const bundle = Array.isArray(result) ? result[0] : result;
    if (!bundle || !("output" in bundle)) throw new Error(`Cannot bundle ${file} for a worker.`);
    return `export default ${JSON.stringify(bundle.output[0].code)};`;
  },
};

/** `/models/` in dev and preview, by the server that `weft serve` uses; nothing is copied into the build. */
const models: Plugin = {
  name: "weft:models",
  configureServer: ({ middlewares }) => void middlewares.use(serveModels),
  configurePreviewServer: ({ middlewares }) => void middlewares.use(serveModels),
};

const modelServer = createStaticServer({ "/models/": at("models") });

const serveModels: Connect.NextHandleFunction = (request, response, next) => {
  if (request.url?.startsWith("/models/")) modelServer.emit("request", request, response);
  else next();
};

/** On a slow machine these would be the first that a newcomer reads. */
const NO_TIMINGS = { checks: { bundlerTimings: false } };

const page: UserConfig = {
  build: { outDir: "dist/page", target: "es2022", rolldownOptions: NO_TIMINGS },
  worker: { format: "es", rolldownOptions: NO_TIMINGS },
  server: { headers: ISOLATION_HEADERS },
  preview: { headers: ISOLATION_HEADERS },
  optimizeDeps: { exclude: ["onnxruntime-web"] },
};

const cli: UserConfig = {
  build: {
    ssr: true,
    outDir: "dist/cli",
    target: "node20",
    rolldownOptions: {
      ...NO_TIMINGS,
      input: { main: at("src/cli/main.ts") },
      output: { entryFileNames: "[name].js" },
    },
  },
};

/** Packages that the modules below leave to the machine they run on; of those only `webgpu` is always needed. */
const NOT_BUNDLED = ["webgpu", "onnxruntime-web", "@ffmpeg/core", "@sparticuz/chromium"];

/** `entry` as the one module `dist/FOLDER/NAME.mjs`, for machines where nothing is installed (tests/device). */
function alone(folder: string, name: string, entry: string): UserConfig {
  return {
    ssr: { noExternal: true, external: NOT_BUNDLED },
    build: {
      ssr: true,
      outDir: `dist/${folder}`,
      target: "node20",
      rolldownOptions: {
        ...NO_TIMINGS,
        input: { [name]: at(entry) },
        output: { entryFileNames: "[name].mjs", codeSplitting: false },
      },
    },
  };
}

/** The commit in this folder, for figures to name. */
function commit(): string {
  try {
    const args = ["describe", "--always", "--dirty", "--exclude", "*"];
    return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown"; // no git checkout
  }
}

const MODES: Readonly<Record<string, UserConfig>> = {
  cli,
  portable: alone("portable", "weft", "src/cli/main.ts"),
  bench: {
    ...alone("bench", "bench", "tests/bench/main.ts"),
    define: { "import.meta.env.WEFT_COMMIT": JSON.stringify(commit()) },
  },
  device: {
    ...alone("device", "checks", "tests/device/checks.ts"),
    resolve: { alias: [{ find: /^vitest$/, replacement: at("tests/device/vitest_shim.ts") }] },
  },
};

const test: ViteUserConfig["test"] = {
  projects: [
    {
      extends: true,
      // Some run whole models on the CPU, several files at a time.
      test: { name: "node", include: ["tests/node/**/*.test.ts"], testTimeout: 60_000, hookTimeout: 60_000 },
    },
    {
      extends: true,
      test: {
        name: "gpu",
        include: ["tests/gpu/**/*.test.ts"],
        globalSetup: ["tests/gpu/global_setup.ts", "tests/gpu/cli/build_cli.ts"],
        testTimeout: 120_000,
        hookTimeout: 120_000,
      },
    },
    {
      extends: true,
      test: {
        name: "browser",
        include: ["tests/browser/**/*.test.ts"],
        globalSetup: ["tests/browser/global_setup.ts"],
        testTimeout: 300_000,
        hookTimeout: 300_000,
        fileParallelism: false,
      },
    },
  ],
};

export default defineConfig(
  ({ mode }) => ({ ...(MODES[mode] ?? page), plugins: [nodeWorker, models], test }) as UserConfig,
);
