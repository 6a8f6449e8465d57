// One config for every product: the page (default), the command line (`--mode cli`), the same tests and
// benches as one module for a bare GPU machine (`--mode device`), and vitest.
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

const page: UserConfig = {
  build: { outDir: "dist/page", target: "es2022" },
  worker: { format: "es" },
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
      input: { main: at("src/cli/main.ts") },
      output: { entryFileNames: "[name].js" },
    },
  },
};

/** The benches as one module that runs where nothing but Node and npm `webgpu` is (BENCHMARKS.md). */
const bench: UserConfig = {
  ssr: { noExternal: true, external: ["webgpu"] },
  build: {
    ssr: true,
    outDir: "dist/bench",
    target: "node20",
    rolldownOptions: {
      input: { bench: at("tests/bench/main.ts") },
      output: { entryFileNames: "[name].mjs" },
    },
  },
};

/** One module without imports but `webgpu`'s; onnxruntime, which some files name, is not called there. */
const device: UserConfig = {
  ssr: { noExternal: true, external: ["webgpu", "onnxruntime-web"] },
  resolve: { alias: [{ find: /^vitest$/, replacement: at("tests/device/vitest_shim.ts") }] },
  build: {
    ssr: true,
    outDir: "dist/device",
    target: "node20",
    rolldownOptions: {
      input: { checks: at("tests/device/checks.ts") },
      output: { entryFileNames: "[name].mjs", codeSplitting: false },
    },
  },
};

const MODES: Readonly<Record<string, UserConfig>> = { cli, bench, device };

const test: ViteUserConfig["test"] = {
  projects: [
    { extends: true, test: { name: "node", include: ["tests/node/**/*.test.ts"] } },
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
