#!/bin/bash
# One run of train.py that keeps what it made: budgets are arguments of train.py, results go to $OUT in parts of 16 MB.
#   OUT=... bash run.sh LIMIT_SECONDS [train.py arguments]
# .cache/weft-train/ in the repository's root may hold a compile cache (ic.txz), judge.pt and checkpoints to go on from.
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/weft-compiled}
cd "$(dirname "$0")" || exit 1
work=${WORK:-/tmp/weft-work} kept=../../../.cache/weft-train
mkdir -p "$work" "$TORCHINDUCTOR_CACHE_DIR"
[ -f $kept/ic.txz ] && tar xJf $kept/ic.txz -C "$TORCHINDUCTOR_CACHE_DIR" --strip-components=1
cp -n $kept/*.pt "$work/" 2>/dev/null
limit=$1; shift
timeout "$limit" torchrun --nproc_per_node="$(nvidia-smi -L | wc -l)" train.py --work "$work" "$@" 2>&1 | grep -v OMP_NUM | tee "$OUT/train.log" | cut -c1-400
cd "$work" || exit 1
[ -f student_dmd.pt ] && skip=--exclude=./student_ode.pt               # both do not fit
tar cf - $skip ./*.pt ./*.json samples 2>/dev/null | gzip -1 | split -b 15900000 -a 1 - "$OUT/w."
ls -la "$OUT"
