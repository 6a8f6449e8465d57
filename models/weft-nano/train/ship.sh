#!/bin/bash
# From what `run.sh collect` brought back to the shipped folder and the tests' fixtures, on a CPU, in about ten minutes.
#   bash ship.sh COLLECTED [MODEL] [FIXTURES]      default: models/weft-nano and tests/fixtures/weft_nano of this checkout
# COLLECTED holds base.pt, student_ode.pt, ae.pt and scores.json, or the archives core.*, students.*, all.*, scores.* that do.
# PYTHON=python3; STUDENT=student_ode; ANYWAY=1 ships although a criterion is not met. The judge, and so scorer.onnx, stays;
# a new judge needs scorer.py afterwards, and latent_rgb.mjs once more for the manifest.
set -euo pipefail
train=$(cd "$(dirname "$0")" && pwd) repo=$(cd "$(dirname "$0")/../../.." && pwd)
collected=$(cd "$1" && pwd) model=$(realpath "${2:-$repo/models/weft-nano}") fixtures=$(realpath "${3:-$repo/tests/fixtures/weft_nano}")
python=${PYTHON:-python3} student=${STUDENT:-student_ode} build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
say() { echo "== $*"; }

say "checkpoints"
mkdir "$build/work"
for set in all core students scores; do ! ls "$collected/$set".[a-z] >/dev/null 2>&1 || cat "$collected/$set".[a-z] | tar xz -C "$build/work"; done
for f in base.pt "$student.pt" ae.pt scores.json; do [ ! -f "$collected/$f" ] || cp -L "$collected/$f" "$build/work/"; done
for f in base.pt "$student.pt" ae.pt scores.json; do [ -f "$build/work/$f" ] || { echo "ship.sh: $f is missing in $1; collect it first (run.sh collect)." >&2; exit 1; }; done

say "criteria"
"$python" "$train/criteria.py" "$build/work/scores.json" "$student" || [ -n "${ANYWAY:-}" ] || { echo "ship.sh: not every criterion is met; ANYWAY=1 ships all the same." >&2; exit 1; }

say "f16 folder and reference tensors"
"$python" "$train/export.py" --work "$build/work" --out "$build/f16" --student "$student"
for f in scorer.onnx scorer.json; do cp "$model/$f" "$build/f16/"; done

say "quantized"
node "$repo/models/export/quantize.mjs" "$build/f16" "$build/small" "$repo/models/export/weft_nano_rules.json" | tail -n 1
rm "$build/small/weights.json"
cp -r "$build/small/." "$model"
node "$repo/models/export/latent_rgb.mjs" "$build"/f16/reference/*.safetensors --write "$model"

say "fixtures"
"$python" "$train/fixtures.py" "$build/f16" "$fixtures"

bytes=$(find "$model" -name '*.safetensors' -o -name '*.onnx' | xargs cat | wc -c)
say "weights: $bytes bytes"
[ "$bytes" -lt 30000000 ] || { echo "ship.sh: the weights must stay below 30 MB in all." >&2; exit 1; }
cat <<'NEXT'
== left to do by hand
  npx vitest run --project node --project gpu weft_nano       parity with the new fixtures (tolerances are in the tests)
  weft search-masks, search-heads                             attention/searched.json and heads/sharp.json were found on other weights
  EVALUATION.md, README.md, RECIPE.md, docs/examples.md       the tables above; sheets from samples/, looked at
NEXT
