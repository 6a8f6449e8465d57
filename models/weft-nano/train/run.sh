#!/bin/bash
# The whole recipe in the background of a machine with two GPUs that is worked on in short calls and keeps nothing.
#   bash run.sh start          copies the code to $WORK and begins: GPU 1 trains the autoencoder, GPU 0 stays free for others
#   bash run.sh start refine DIR   instead trains the model in DIR (base.pt, ae.pt, judge.pt; carry.py makes base.pt small) on:
#                              autoencoder, base, student and the decoder for it, on both GPUs; then evaluates
#   bash run.sh start finish DIR   only the end of that, for the model in DIR (student_ode.pt and base.pt too)
#   bash run.sh free           GPU 0 may be used from now on (else it is taken a minute after the autoencoder is done)
#   bash run.sh wait SECONDS STAGE   follows the logs until STAGE is done or has failed: rehearsal ae judge train decoder evaluate dmd all
#   OUT=... bash run.sh collect core|students|all|scores    what exists now, ae.pt first: at most 8 files below 16 MB
# Budgets in seconds: AE_SECONDS, JUDGE_SECONDS, TRAIN_SECONDS (encoding to student; of refine, the autoencoder's CODEC_SECONDS
# too), DMD_SECONDS and DECODER_SECONDS (refine, finish); 0: none of the last two. $WORK is /tmp/weft-work; EXTRA are more
# arguments for train.py; unpack with `cat core.* | tar xz`.
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-/tmp/weft-compiled}
export WORK=${WORK:-/tmp/weft-work} EXTRA EVALUATE
work=$WORK GPUS=${GPUS:-0,1} LAUNCH=${LAUNCH:-torchrun --nproc_per_node=2}

say() { echo "$(date +%T) $*" >> "$work/logs/run.log"; }

# stage NAME GPUS COMMAND...: runs it with a log and leaves done.NAME or failed.NAME
stage() {
  local name=$1 gpus=$2 begun=$SECONDS; shift 2
  say "$name begins"
  if CUDA_VISIBLE_DEVICES=$gpus "$@" > "$work/logs/$name.log" 2>&1; then touch "$work/done.$name"; else touch "$work/failed.$name"; fi
  say "$name $(cd "$work" && ls done.$name failed.$name 2>/dev/null) after $((SECONDS - begun)) s"
  [ -f "$work/done.$name" ]
}

# Everything once in miniature beside the autoencoder: fills the compile cache and shows mistakes while there is time.
rehearse() (
  small=$work/rehearsal; mkdir -p "$small"
  python3 train.py --work "$small" --square 128 --wide 128 --pool 64 --ae-seconds 2 --latents-seconds 4 --base-seconds 2 --traj-seconds 1 --ode-seconds 2 --dmd-seconds 0 --stages ae,base,student &&
  python3 distill.py --work "$small" --seconds 2 --traj-seconds 1 &&
  python3 evaluate.py --work "$small" --captions 8 --judge-seconds 3
)

# Trains on: $work has base.pt as start.pt, ae.pt and judge.pt. The miniature fills the compile cache for base and student once the
# autoencoder's own compiling, which would share the CPUs with it, is over. Without an autoencoder base and student get the old one.
refine() {
  cd "$work/code" || exit 1
  stage rehearsal 0 timeout 330 nice -n 5 bash "$work/code/run.sh" rehearse_refine & rehearsal=$!
  refined codec,base,student "${TRAIN_SECONDS:-600}" || [ -f "$work/base.pt" ] || { rm "$work/failed.train"; mv "$work/logs/train.log" "$work/logs/train_first.log"; refined base,student 330; }
  finish
  wait $rehearsal
}

# refined STAGES SECONDS
refined() {
  stage train $GPUS $LAUNCH train.py --work "$work" --base-from "$work/start.pt" --stages "$1" --total-seconds "$2" --codec-seconds "${CODEC_SECONDS:-240}" \
    --square 20480 --wide 5120 --latents-seconds 40 --traj-seconds 20 --ode-seconds 70 --dmd-seconds 0 --cfg 2 $EXTRA
}

finish() {
  cd "$work/code" || exit 1
  [ -f "$work/student_ode.pt" ] && [ "${DECODER_SECONDS:-60}" != 0 ] && stage decoder $GPUS $LAUNCH train.py --work "$work" --stages decoder --decoder-seconds "${DECODER_SECONDS:-60}" $EXTRA
  stage evaluate $GPUS $LAUNCH evaluate.py --work "$work" $EVALUATE
  touch "$work/done.all"; say "all done"
}

rehearse_refine() (
  small=$work/rehearsal; mkdir -p "$small"; ln -sf "$work/judge.pt" "$small/judge.pt"
  until grep -qs "autoencoder captured" "$work/logs/train.log" || [ -f "$work/failed.train" ]; do sleep 1; done
  cp "$work/ae_after.pt" "$small/ae.pt" || cp "$work/ae.pt" "$small/ae.pt"           # as wide as it will be
  python3 train.py --work "$small" --base-from "$work/start.pt" --stages base,student --square 256 --wide 256 --latents-seconds 40 --base-seconds 2 --traj-seconds 1 --ode-seconds 2 --dmd-seconds 0 $EXTRA &&
  { [ "${DECODER_SECONDS:-60}" = 0 ] || python3 train.py --work "$small" --stages decoder --decoder-seconds 2 --pool 64 $EXTRA; } &&
  python3 evaluate.py --work "$small" --captions 8 $EVALUATE
)

good_decoder() { python3 -c "import json,sys; a=json.load(open('$work/ae.json')); sys.exit(a['psnr'] < 35.3 or a['worst'] < 29.3)"; }

pipeline() {
  cd "$work/code" || exit 1
  stage ae 1 python3 train.py --work "$work" --stages ae --ae-seconds "${AE_SECONDS:-345}" --pool 8192 & ae=$!
  stage rehearsal 1 timeout 330 nice -n 5 bash "$work/code/run.sh" rehearse & rehearsal=$!
  until [ -f "$work/free" ]; do
    sleep 1
    [ ! -f "$work/done.ae" ] && [ ! -f "$work/failed.ae" ] || { waited=$((${waited:-0} + 1)); [ $waited -lt 60 ] || break; }
  done
  stage judge 0 python3 judge.py --seconds "${JUDGE_SECONDS:-75}" --out "$work/judge.pt" & judge=$!
  wait $ae
  [ -f "$work/ae.pt" ] || { say "no autoencoder, nothing to go on with"; touch "$work/failed.all"; exit 1; }
  kill -0 $rehearsal 2>/dev/null && say "the rehearsal is still running"
  stage train 0,1 torchrun --nproc_per_node=2 train.py --work "$work" --stages base,student --total-seconds "${TRAIN_SECONDS:-480}" \
    --latents-seconds 120 --traj-seconds 20 --ode-seconds 55 --dmd-seconds 0
  wait $judge
  [ -f "$work/student_ode.pt" ] || say "no student: what exists is evaluated"
  if good_decoder; then sharpen & else stage decoder 1 python3 train.py --work "$work" --stages decoder --decoder-seconds 100 --pool 8192; fi
  stage evaluate 0 python3 evaluate.py --work "$work"
  wait
  touch "$work/done.all"; say "all done"
}

# Distribution matching on GPU 1, judged into its own file, while GPU 0 evaluates the rest.
sharpen() {
  [ "${DMD_SECONDS:-60}" != 0 ] && [ -f "$work/student_ode.pt" ] || return
  stage dmd 1 timeout 240 python3 distill.py --work "$work/sharpened" --seconds "${DMD_SECONDS:-60}" || return
  stage evaluate_dmd 1 python3 evaluate.py --work "$work/sharpened" --only student_dmd,2,1,int8,edges --name scores_dmd
  cp "$work"/sharpened/student_dmd.pt "$work"/sharpened/scores_dmd.json "$work/"; cp "$work"/sharpened/samples/student_dmd* "$work/samples/"
}

follow() {
  for ((i = 1; i <= $1; i++)); do
    [ -f "$work/done.$2" ] || [ -f "$work/failed.$2" ] || [ -f "$work/failed.all" ] && break
    [ $((i % 20)) = 0 ] && find "$work/logs" -name '*.log' -newermt '20 seconds ago' -exec tail -q -n 1 {} + | cut -c1-300
    sleep 1
  done
  grep -hE "begins|after|held-out|ceiling|done|latents|trajectories|apart|cubes|kept|replaced|mean [0-9]|psnr|diverg|Error|fail" "$work"/logs/*.log | grep -v "autoencoder step" | cut -c1-330 | tail -n 70
}

collect() {
  local files
  cd "$work" || exit 1
  cp ae.pt $([ -f start.pt ] || echo judge.pt) "$OUT/" 2>/dev/null
  case $1 in
    core) files=$(ls base.pt base.pt.part 2>/dev/null | head -n 1) ;;
    students) files="student_ode.pt student_dmd.pt" ;;
    all) files="base.pt student_ode.pt" ;;
    scores) files="" ;;
  esac
  tar czf - --ignore-failed-read $(ls -d $files ./*.json samples logs 2>/dev/null) | split -b 15900000 -a 1 - "$OUT/$1."
  ls -la "$OUT"
}

mkdir -p "$work/logs"
case $1 in
  start)
    rm -f "$work"/done.* "$work"/failed.* "$work/free"
    mkdir -p "$work/code" "$TORCHINDUCTOR_CACHE_DIR" "$work/sharpened"
    cp "$(dirname "$0")"/* "$work/code/"
    cp "$(dirname "$0")"/../../export/weft_nano_rules.json "$work/code/"
    for f in ae judge base student_ode; do ln -sf "$work/$f.pt" "$work/sharpened/$f.pt"; done
    if [ "$2" = finish ]; then cp "$3"/*.pt "$work/" || exit 1; fi
    if [ "$2" = refine ]; then cp "$3/base.pt" "$work/start.pt" && cp "$3/ae.pt" "$3/judge.pt" "$work/" || exit 1; fi
    setsid nohup bash "$work/code/run.sh" "${2:-pipeline}" > "$work/logs/pipeline.log" 2>&1 < /dev/null &
    ;;
  pipeline) pipeline ;;
  refine | finish) "$1" ;;
  rehearse | rehearse_refine) cd "$work/code" && "$1" ;;
  free) touch "$work/free" ;;
  wait) follow "$2" "$3" ;;
  collect) collect "$2" ;;
  *) sed -n 2,14p "$0" ;;
esac
