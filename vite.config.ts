// One config for every product: the page (default), the command line (`--mode cli`), the same tests and
// benches as one module for a bare GPU machine (`--mode device`), and vitest.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { fileURLToPath } from "node:url";
import { build, type Connect, defineConfig, type Plugin, type UserConfig } from "vite";
import type { ViteUserConfig } from "vitest/config";

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

/**
 * `/models/` in dev and preview, as `weft serve` has it: byte ranges, and 404 rather than the page for what is not there.
 * Nothing is copied into the build.
 */
const models: Plugin = {
  name: "weft:models",
  configureServer: ({ middlewares }) => void middlewares.use("/models", serveModelFile),
  configurePreviewServer: ({ middlewares }) => void middlewares.use("/models", serveModelFile),
};

function serveModelFile(
  request: Connect.IncomingMessage,
  response: ServerResponse<IncomingMessage>,
  next: Connect.NextFunction,
): void {
  const folder = new URL("models/", import.meta.url);
  const file = new URL(`.${new URL(request.url ?? "/", "http://localhost").pathname}`, folder);
  if (!file.href.startsWith(folder.href)) return next();
  stat(file).then(
    ({ size }) => {
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
      const start = Number(from ?? 0);
      const end = Math.min(to ? Number(to) : size - 1, size - 1);
      const headers: Record<string, string | number> = {
        ...ISOLATION_HEADERS,
        "Content-Type": file.pathname.endsWith(".json") ? "application/json" : "application/octet-stream",
        "Content-Length": end - start + 1,
        "Cache-Control": "no-cache",
      };
      if (from !== undefined) headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
      response.writeHead(from === undefined ? 200 : 206, headers);
      if (request.method === "HEAD") response.end();
      else createReadStream(file, { start, end }).pipe(response);
    },
    () => response.writeHead(404).end(),
  );
}

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

const test: ViteUserConfig["test"] = {
  projects: [
    { extends: true, test: { name: "node", include: ["tests/node/**/*.test.ts"] } },
    {
      extends: true,
      test: {
        name: "gpu",
        include: ["tests/gpu/**/*.test.ts"],
        globalSetup: ["tests/gpu/global_setup.ts"],
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
  ({ mode }) => ({ ...(mode === "cli" ? cli : page), plugins: [nodeWorker, models], test }) as UserConfig,
);
