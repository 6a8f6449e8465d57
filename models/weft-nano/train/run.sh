#!/bin/bash
# One run of train.py that keeps what it made: budgets are arguments of train.py, results go to $OUT in parts of 16 MB,
# packed anew whenever a stage has written its checkpoint, so that an interrupted run loses only the stage it was in.
#   OUT=... bash run.sh LIMIT_SECONDS [train.py arguments];   cat $OUT/w.* | tar xz
# $KEPT (.cache/weft-train) in the repository's root may hold a compile cache (ic.txz), judge.pt and checkpoints to go on from.
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/weft-compiled}
cd "$(dirname "$0")" || exit 1
work=${WORK:-/tmp/weft-work} kept=../../../${KEPT:-.cache/weft-train}
mkdir -p "$work" "$TORCHINDUCTOR_CACHE_DIR"
[ -f $kept/ic.txz ] && tar xJf $kept/ic.txz -C "$TORCHINDUCTOR_CACHE_DIR" --strip-components=1
cp -n $kept/*.pt "$work/" 2>/dev/null

pack() (
  cd "$work" && rm -rf pack && mkdir pack || exit
  tar cf - $(ls -d ./*.json samples ae.pt judge.pt $(ls student_dmd.pt student_ode.pt 2>/dev/null | head -n 1) base.pt 2>/dev/null) |
    gzip -1 | split -b 15900000 -a 1 - pack/w.
  rm -f "$OUT"/w.* && mv pack/w.* "$OUT/"
)
watch() {
  touch -d @0 "$work/packed"
  while sleep 5; do
    [ -n "$(find "$work" -maxdepth 1 -name '*.pt' -newer "$work/packed")" ] && touch "$work/packed" && sleep 3 && pack
  done
}
watch & watcher=$!

limit=$1; shift; : > "$OUT/train.log"
timeout -k 10 "$limit" torchrun --nproc_per_node="${GPUS:-$(nvidia-smi -L | wc -l)}" train.py --work "$work" "$@" > "$OUT/train.log" 2>&1 &
training=$!
tail -n +1 -f --pid=$training "$OUT/train.log" | cut -c1-400
wait $training; echo "train.py ended with $?"
kill $watcher 2>/dev/null; wait $watcher 2>/dev/null
pack
ls -la "$OUT"
