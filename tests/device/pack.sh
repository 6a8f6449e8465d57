#!/usr/bin/env bash
# Packs the GPU tests, the benches and the command line for a machine that has a GPU driver, Node and npm `webgpu`, but
# no npm:
#   bash tests/device/pack.sh              # here, after npm ci; writes dist/device/pack.tar.xz (4 MB)
# There, in a copy of the repository:
#   mkdir -p dist/portable && tar xJf dist/device/pack.tar.xz -C dist/portable
#   ln -s SOMEWHERE/node_modules/webgpu dist/portable/node_modules/webgpu
#   WEFT_MAIN=dist/portable/weft.mjs node dist/portable/checks.mjs [parts of tests' names]
#   node dist/portable/bench.mjs --help
#   node dist/portable/weft.mjs render "a red ball bounces on grass" --out sheet.png
# onnxruntime-web comes as the one bundle that has both the webgpu and the wasm provider (one thread); ffmpeg (7 MB) stays
# out, so a video cannot be encoded there, but contact sheets and dumps can.
set -euo pipefail
cd "$(dirname "$0")/../.."
npx vite build --logLevel warn --mode device
npx vite build --logLevel warn --mode bench
npx vite build --logLevel warn --mode portable
pack=$(mktemp -d)
trap 'rm -r "$pack"' EXIT
onnx=node_modules/onnxruntime-web
mkdir -p "$pack/$onnx/dist"
cp dist/device/checks.mjs dist/bench/bench.mjs dist/portable/weft.mjs "$pack"
cp $onnx/dist/ort.webgpu.min.mjs $onnx/dist/ort-wasm-simd-threaded.asyncify.{mjs,wasm} "$pack/$onnx/dist"
cat > "$pack/$onnx/package.json" <<'JSON'
{ "name": "onnxruntime-web", "type": "module", "exports": { ".": "./one_thread.mjs", "./webgpu": "./one_thread.mjs" } }
JSON
cat > "$pack/$onnx/one_thread.mjs" <<'JS'
import { env } from "./dist/ort.webgpu.min.mjs";
Object.defineProperty(env.wasm, "numThreads", { get: () => 1, set: () => {} }); // this bundle has no threads in Node
export * from "./dist/ort.webgpu.min.mjs";
JS
tar c -C "$pack" . | xz -9e > dist/device/pack.tar.xz
ls -l dist/device/pack.tar.xz
