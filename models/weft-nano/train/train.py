"""The whole recipe with wall-clock budgets: autoencoder, data set, base model, few-step student, evaluation.

    torchrun --nproc_per_node=2 train.py --work work            # or: python train.py
    ... train.py --work new --base-from work/base.pt                # trains a base model on, and a student anew
Stages whose result already lies in --work are skipped (delete the file to run them again), so a run can be resumed.
"""
import argparse
import os

import torch
import torch._dynamo

import edges
import render
import world
from autoencoder import decode_latents, encode_latents, load_ae
from common import barrier, dist_init, elapsed, log, rank, share
from common import world as processes
from data import DataSet
from distill import distill
from evaluate import evaluate
from flow import FEWSTEP, generate, load_models
from train_autoencoder import report, train_autoencoder
from train_transformer import TOKENS, train_transformer


OVERHEAD = 25, 40                      # seconds: capturing the graphs of teacher and student; the evaluation itself


def choose_autoencoder(path, student, dev, n, loss=.5, enough=35.5):
    """ae_after.pt takes the place of ae.pt, which becomes ae_before.pt (ae_old.pt where its latents are others), if it is good `enough` on renders (dB) or costs less
    than `loss`, and cubes are straighter through it: those that the student draws or, where there is none, rendered ones."""
    before, after = (report(path(name), dev, n)[1] for name in ("ae", "ae_after"))
    cubes, texts = edges.captioned_cubes(n, dev)
    drawn = generate(*load_models(student, dev), texts, sigmas=FEWSTEP) if student else render.render_frames(world.pack(cubes))
    def judged(name):
        ae = load_ae(path(name), dev)
        return edges.summary(decode_latents(ae, drawn if student else encode_latents(ae, drawn)), cubes)
    old, new = judged("ae"), judged("ae_after")
    log("cubes before", old, "after", new)
    better = after > min(before - loss, enough) and new["bent"] < old["bent"]
    better = share(float(better)) > 0
    if rank() == 0 and better:
        os.replace(path("ae"), path("ae_before" if student else "ae_old"))
        os.replace(path("ae_after"), path("ae"))
    log("the autoencoder is", "replaced" if better else "kept")
    barrier()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", default="work")
    ap.add_argument("--stages", default="ae,base,student,evaluate", help="also: codec and decoder, which train an autoencoder on, the whole or for the student's latents if there is one")
    ap.add_argument("--base-from", help="base model to train on, with more cubes and pyramids, low noise and weight on objects")
    for name, seconds in (("ae", 200), ("codec", 140), ("decoder", 120), ("latents", 60), ("base", 320), ("traj", 25), ("ode", 60), ("dmd", 60), ("judge", 60)):
        ap.add_argument(f"--{name}-seconds", type=float, default=seconds)
    ap.add_argument("--total-seconds", type=float, help="for everything: the base model gets what the other stages leave")
    ap.add_argument("--square", type=int, default=40960, help="128x128 videos per GPU")
    ap.add_argument("--wide", type=int, default=10240, help="192x112 videos per GPU")
    ap.add_argument("--pool", type=int, default=4096, help="videos per GPU for the autoencoder")
    ap.add_argument("--ae-batch", type=int, default=16)
    ap.add_argument("--tokens", type=int, default=TOKENS, help="transformer tokens a step and GPU")
    ap.add_argument("--cfg", type=float, default=2.5, help="guidance of the base model and of the student's teacher")
    ap.add_argument("--captions", type=int, default=512, help="captions for the evaluation")
    ap.add_argument("--no-compile", action="store_true")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    torch._dynamo.config.suppress_errors = True            # a region that cannot be compiled runs as it is
    torch._dynamo.config.cache_size_limit = 32             # one process compiles the same code for several stages
    dev, todo, fast = dist_init(), a.stages.split(","), not a.no_compile
    path = lambda name: f"{a.work}/{name}.pt"
    missing = lambda stage, name: stage in todo and not os.path.exists(path(name))
    log(f"{processes()} processes on {dev}")
    data = DataSet(a.square, a.wide, anew=bool(a.base_from)) if missing("base", "base") or missing("student", "student_ode") else None
    if missing("ae", "ae"):
        train_autoencoder(a.ae_seconds, path("ae"), dev, a.ae_batch, a.pool, fast)
        torch.cuda.empty_cache()
        report(path("ae"), dev)
    if "codec" in todo:                         # more training for a finished autoencoder: base models have to be trained on as well
        train_autoencoder(a.codec_seconds, path("ae_after"), dev, a.ae_batch, a.pool, fast, start=path("ae"), whole=True)
        torch.cuda.empty_cache()
        choose_autoencoder(path, None, dev, min(64, a.captions))
    ids = None
    if missing("base", "base"):
        latents = data.encode(load_ae(path("ae"), dev), dev, a.latents_seconds, fast)
        if a.total_seconds:
            rest = a.traj_seconds + a.ode_seconds + a.dmd_seconds + OVERHEAD[0] + (a.judge_seconds + OVERHEAD[1] if "evaluate" in todo else 0)
            a.base_seconds = max(30., a.total_seconds - elapsed() - rest)
            log(f"{a.base_seconds:.0f} s for the base model")
        train_transformer(latents, a.base_seconds, path("base"), dev, a.tokens, fast, start=a.base_from)
        ids = torch.cat([i for _, i, _ in latents.values()])
        del latents
        torch.cuda.empty_cache()
    if missing("student", "student_ode"):
        ids = data.captions.ids().to(dev) if ids is None else ids
        distill(ids, path("base"), f"{a.work}/student", dev, a.traj_seconds, a.ode_seconds, a.dmd_seconds, a.cfg, a.tokens, fast)
        torch.cuda.empty_cache()
    if "decoder" in todo:                       # more training for the decoder of a finished autoencoder
        student = path("student_ode") if os.path.exists(path("student_ode")) else None
        train_autoencoder(a.decoder_seconds, path("ae_after"), dev, a.ae_batch, a.pool, fast, start=path("ae"), student=student)
        torch.cuda.empty_cache()
        choose_autoencoder(path, student, dev, min(64, a.captions))
    if "evaluate" in todo: evaluate(a.work, dev, a.captions, a.judge_seconds, a.cfg)
    barrier()
    if processes() > 1: torch.distributed.destroy_process_group()


if __name__ == "__main__": main()
