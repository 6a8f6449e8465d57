// One config for every product: the page (default), the command line (`--mode cli`), the same tests and
// benches as one module for a bare GPU machine (`--mode device`), and vitest.
import { fileURLToPath } from "node:url";
import { defineConfig, type UserConfig } from "vite";
import type { ViteUserConfig } from "vitest/config";

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Headers that make a page cross-origin isolated, so that onnxruntime's threads get shared memory. */
const ISOLATION_HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
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
      test: { name: "browser", include: ["tests/browser/**/*.test.ts"], testTimeout: 300_000, hookTimeout: 300_000, fileParallelism: false },
    },
  ],
};

export default defineConfig(({ mode }) => ({ ...(mode === "cli" ? cli : page), test }) as UserConfig);
