"""Scores of generated videos on captions never used in training: attribute accuracy with 95 % intervals, Fréchet distance,
dynamic degree, autoencoder PSNR, edges of cubes; and sheets of sample frames. Rows are shared out over the processes."""
import argparse
import json
import math
import os
import random
import time

import torch

import captions
import edges
import render
import world
from autoencoder import decode_latents, encode_latents, load_ae
from common import barrier, broadcast, dist_init, log, rank, world as processes
from flow import FEWER, UNGUIDED, generate, load_models
from judge import HEADS, MAIN, Judge, labels, scenes, train_judge, verdicts
from storage import stored
from train_autoencoder import held_out

PROMPTS = ["a large shiny red ball bounces on a checkered floor at sunset, the camera orbits left", "a large matte blue cube spins on grass in daylight",
           "a big glossy purple ring rolls right on sand under an overcast sky, static camera", "a small shiny yellow pyramid rises on water at night",
           "a large matte green cylinder stands still on snow under a blue sky, the camera zooms in", "a huge polished white ball falls on water at sunset",
           "a large shiny orange cone and a small blue ball, on grass, under a starry sky, the camera pans right",
           "a small shiny pink cube bounces next to a large black cylinder standing still on a checkered floor in daylight",
           "a large shiny cyan ball circles around a small red cube on sand in daylight", "a small yellow ball rolls right behind a large purple pyramid on snow at dusk",
           "a large matte red cube pushes a small green ball to the right on grass under a blue sky", "a small shiny blue cone shrinks on a chessboard at night, the camera orbits right",
           "a large glossy orange torus approaches the camera on the sea on a cloudy day", "a tiny polished white pyramid spins while a big cyan cylinder rises in a meadow at sunset",
           "a big matte pink sphere grows in the desert under the stars, the camera zooms out", "a large shiny black cube rolls left on checkered tiles under grey clouds, static camera"]

EDGES = ["a large matte red cube rolls left on snow in daylight", "a large shiny blue cube spins on a checkered floor at sunset", "a small matte yellow cube bounces on grass under a blue sky",
         "a large glossy green cube stands still on sand, the camera orbits right", "a large shiny white pyramid stands still on grass in daylight", "a large matte orange cone shrinks on snow at night",
         "a large matte purple cube circles around a small white pyramid on sand", "a large shiny white ball bounces on water at sunset"]     # what showed its faults first


def frechet(a, b):
    """Fréchet distance of two feature sets [n, d]."""
    a, b = a.double(), b.double()
    ca, cb = torch.cov(a.T), torch.cov(b.T)
    root = torch.linalg.eigvals(ca @ cb).real.clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * root).item()


def interval(right):
    """Half width of the 95 % interval of a mean over videos."""
    return 1.96 * right.float().std().item() / math.sqrt(len(right))


def dynamic_degree(frames):
    """Mean absolute difference of consecutive frames, grey levels."""
    return sum((b[:, 1:].float() - b[:, :-1].float()).abs().mean().item() * len(b) for b in frames.split(32)) / len(frames)


def pulse(frames):
    """Mean change of a frame at the borders of latents (frames 4i to 4i+1) against inside them; 1 is even motion."""
    change = sum((b[:, 1:].float() - b[:, :-1].float()).abs().mean((0, 2, 3, 4)) * len(b) for b in frames.split(32))
    border = torch.arange(len(change), device=change.device) % 4 == 0
    return (change[border].mean() / change[~border].mean()).item()


def int8_stored(module, group=64):
    """The module with its matrices rounded to 8 bits per weight, one scale a group of 64 inputs."""
    for p in module.parameters():
        if p.ndim == 2 and p.shape[1] % group == 0:
            w = p.data.float().unflatten(1, (-1, group))
            s = w.abs().amax(-1, keepdim=True).clamp(min=1e-8) / 127
            p.data = ((w / s).round() * s).flatten(1).to(p.dtype)
    return module


def sheet(frames, path, picks=(0, 8, 16, 24, 32)):
    """One row of frames a video, in two columns of videos."""
    from PIL import Image
    x = frames[:, list(picks)]
    n, k, _, h, w = x.shape
    x = x.permute(0, 3, 1, 4, 2).reshape(n * h, k * w, 3).cpu()
    m = n // 2 * h
    Image.fromarray(torch.cat([x[:m], x[m:2 * m]], 1).numpy() if n > 1 else x.numpy()).save(path, quality=93)


class Evaluation:
    """The captions, their renders and the judge; `score` adds a row."""

    def __init__(self, work, dev, n, judge_seconds):
        self.dev, self.n, self.rows, path = dev, n, {}, f"{work}/judge.pt"
        if os.path.exists(path):
            self.judge = Judge()
            self.judge.load_state_dict(torch.load(path, map_location="cpu"))
            self.judge.to(dev).eval().requires_grad_(False)
        else:
            self.judge = train_judge(judge_seconds, dev)
            for t in self.judge.state_dict().values(): broadcast(t)          # the same judge for all rows
            if rank() == 0: torch.save(self.judge.state_dict(), path)
        gen = torch.Generator().manual_seed(31337)
        self.reference = torch.cat([verdicts(self.judge, render.render_frames(world.pack(scenes(max(16, min(256, 4 * n)), gen, dev))))[1] for _ in range(8 if n > 64 else 1)])
        self.scenes = scenes(n, gen, dev)
        self.labels, rng = labels(self.scenes), random.Random(9)
        self.texts = [captions.caption(captions.attributes(self.scenes, i), rng, full=True) for i in range(n)]
        self.renders = render.render_frames(world.pack(self.scenes))

    def score(self, name, frames):
        """Accuracy per head, the mean of the six main ones with its interval, Fréchet distance, dynamic degree, pulse."""
        t0 = time.time()
        said, feats = verdicts(self.judge, frames)
        right = {k: said[k] == self.labels[k][:len(frames)] for k in HEADS}
        mean = torch.stack([right[k].float() for k in MAIN]).mean(0)
        pair = self.scenes["two"][:len(frames)]
        row = {k: round(100 * right[k].float().mean().item(), 2) for k in MAIN}
        row |= {"partner": round(50 * (right["shape2"] & right["colour2"])[pair].float().mean().item() * 2, 2), "mean": round(100 * mean.mean().item(), 2),
                "mean_ci": round(100 * interval(mean), 2), "frechet": round(frechet(feats, self.reference), 2), "dynamic": round(dynamic_degree(frames), 3), "pulse": round(pulse(frames), 3)}
        row["ci"] = {k: round(100 * interval(right[k]), 2) for k in MAIN}
        self.rows[name] = row
        print(f"[{rank()}] {name}: " + " ".join(f"{k} {v}" for k, v in row.items() if k != "ci"), f"({time.time() - t0:.0f}s)", flush=True)


def score_cubes(ev, work, ae, cfg, steps, most=64):
    """Rows of edges.py: cubes as rendered, through the autoencoder, and as base and students draw them, with sheets."""
    dev, n = ev.dev, min(most, ev.n)
    s, texts = edges.captioned_cubes(n, dev)
    x = torch.cat([render.render_frames(world.pack({k: v[i:i + 16] for k, v in s.items()})) for i in range(0, n, 16)])
    z = encode_latents(ae, x)
    def row(name, frames):
        ev.rows[f"cubes: {name}"] = edges.summary(frames, s)
        print(f"[{rank()}] cubes: {name}: {ev.rows[f'cubes: {name}']}", flush=True)
        sheet(frames[:16], f"{work}/samples/cubes_{name.replace(' ', '_').replace(',', '')}.jpg")
    def drawn(name, codec=ae, **kw): return decode_latents(codec, generate(*load_models(f"{work}/{name}.pt", dev), texts, **kw))
    row("renders", x)
    row("renders through the autoencoder", decode_latents(ae, z))
    if os.path.exists(f"{work}/base.pt"):
        for name, until in (("", 0.), (f" above {UNGUIDED:g}", UNGUIDED)): row(f"base, {steps} steps, guidance {cfg:g}{name}", drawn("base", steps=steps, cfg=cfg, until=until))
    for m in ("student_ode", "student_dmd"):
        if os.path.exists(f"{work}/{m}.pt"):
            for k in (4, 2): row(f"{m}, {k} steps", drawn(m, sigmas=FEWER[k]))
            if os.path.exists(f"{work}/ae_before.pt"): row(f"{m}, 4 steps, decoder before", drawn(m, load_ae(f"{work}/ae_before.pt", dev), sigmas=FEWER[4]))


def plan(ev, work, ae, cfg, quick, steps=30):
    """[(name, function)] of everything to score or draw."""
    dev, out, few = ev.dev, f"{work}/samples", FEWER
    def frames(m, **kw): return decode_latents(ae, generate(*m, ev.texts, **kw))
    base = lambda: load_models(f"{work}/base.pt", dev)
    student = lambda name: load_models(f"{work}/{name}.pt", dev)
    def draw(m, name, size=(128, 128), L=9, picks=(0, 8, 16, 24, 32), texts=PROMPTS, **kw):
        sheet(decode_latents(ae, generate(*m, texts, size=size, L=L, seed=1, batch=16, **kw)), f"{out}/{name}.jpg", picks)
    def codec():
        psnr, mean, std, (x, y) = held_out(ae, dev, 64)
        wide = held_out(ae, dev, 16, size=(112, 192))[0]
        ev.rows["autoencoder"] = {"psnr": round(psnr.mean().item(), 2), "psnr_ci": round(interval(psnr), 2), "worst": round(psnr.min().item(), 2), "wide": round(wide.mean().item(), 2),
                                  "latent_mean": round(mean.abs().max().item(), 3), "latent_std": [round(std.min().item(), 3), round(std.max().item(), 3)]}
        print("autoencoder", ev.rows["autoencoder"], flush=True)
        sheet(torch.cat([x[:8], y[:8]]), f"{out}/autoencoder_renders_left_reconstructions_right.jpg")
    jobs = [("codec", codec), ("renders", lambda: ev.score("renders", ev.renders)),
            ("through", lambda: ev.score("renders through the autoencoder", decode_latents(ae, encode_latents(ae, ev.renders))))]
    names = [s for s in ("student_ode", "student_dmd") if os.path.exists(f"{work}/{s}.pt")]
    if os.path.exists(f"{work}/base.pt"): jobs.append(("base", lambda: (ev.score(f"base, {steps} steps, guidance {cfg:g}", frames(base(), steps=steps, cfg=cfg)), draw(base(), f"base_{steps}steps", steps=steps, cfg=cfg))))
    if os.path.exists(f"{work}/base.pt"): jobs.append(("base_until", lambda: ev.score(f"base, {steps} steps, guidance {cfg:g} above {UNGUIDED:g}", frames(base(), steps=steps, cfg=cfg, until=UNGUIDED))))
    jobs.append(("cubes", lambda: score_cubes(ev, work, ae, cfg, steps)))
    for s in names:
        jobs.append((s, lambda s=s: (ev.score(f"{s}, 4 steps", frames(student(s), sigmas=few[4])), draw(student(s), f"{s}_4steps", sigmas=few[4]))))
    if quick or not names: return jobs
    last = names[-1]
    for k in (2, 1): jobs.append((f"{k}", lambda k=k: (ev.score(f"{last}, {k} steps", frames(student(last), sigmas=few[k])), draw(student(last), f"{last}_{k}steps", sigmas=few[k]))))
    jobs.append(("int8", lambda: ev.score(f"{last}, 4 steps, int8", frames(tuple(map(int8_stored, student(last))), sigmas=few[4]))))
    def shipped(name, folder):
        m = load_models(f"{work}/{name}.pt", dev)
        return stored(m[0], folder), m[1]
    codec8 = lambda: stored(load_ae(f"{work}/ae.pt", dev), "vae")
    jobs.append(("shipped", lambda: ev.score(f"{last}, 4 steps, as shipped", decode_latents(codec8(), generate(*shipped(last, "transformer_fewstep"), ev.texts, sigmas=few[4])))))
    if os.path.exists(f"{work}/base.pt"): jobs.append(("base_shipped", lambda: ev.score(f"base, {steps} steps, guidance {cfg:g}, as shipped", decode_latents(codec8(), generate(*shipped("base", "transformer"), ev.texts, steps=steps, cfg=cfg)))))
    jobs.append(("edges", lambda: draw(student(last), f"{last}_edges", texts=EDGES, sigmas=few[4])))
    jobs.append(("wide", lambda: draw(student(last), f"{last}_wide", (112, 192), sigmas=few[4])))
    def long(L):
        m, t = student(last), 4 * L - 3
        f = decode_latents(ae, generate(*m, ev.texts[:64], L=L, batch=32, sigmas=few[4]), batch=8)
        ev.score(f"{last}, {t} frames, first 33 (64 videos)", f[:, :33])
        draw(m, f"{last}_{t}frames", L=L, picks=[round(i * (t - 1) / 8) for i in range(9)], texts=PROMPTS[:8], sigmas=few[4])
    for L in (13, 17, 33): jobs.append((f"long{L}", lambda L=L: long(L)))
    return jobs


def evaluate(work, dev, n=512, judge_seconds=60, cfg=2.5, quick=False, only=None, name="scores", steps=30):
    """Run the plan, or the jobs in `only`; rank 0 writes {name}.json."""
    os.makedirs(f"{work}/samples", exist_ok=True)
    ev, ae = Evaluation(work, dev, n, judge_seconds), load_ae(f"{work}/ae.pt", dev)
    jobs = [(label, job) for label, job in plan(ev, work, ae, cfg, quick, steps) if only is None or label in only]
    for i, (label, job) in enumerate(jobs):
        if i % processes() != rank(): continue
        try: job()
        except Exception as e: print(f"evaluation of {label} failed: {type(e).__name__}: {e}", flush=True)
        with open(f"{work}/{name}{rank()}.json", "w") as f: json.dump(ev.rows, f)
    barrier()
    if rank() == 0:
        rows = {}
        for r in range(processes()):
            with open(f"{work}/{name}{r}.json") as f: rows |= json.load(f)
        with open(f"{work}/{name}.json", "w") as f: json.dump(rows, f, indent=1)
    log("evaluation done")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", default="work")
    ap.add_argument("--captions", type=int, default=512)
    ap.add_argument("--judge-seconds", type=float, default=90)
    ap.add_argument("--cfg", type=float, default=2.5)
    ap.add_argument("--steps", type=int, default=30, help="of the base model")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--only", help="jobs of the plan, by comma: codec, renders, through, base, base_until, cubes, student_ode, student_dmd, 2, 1, int8, shipped, base_shipped, edges, wide, long13, long17, long33")
    ap.add_argument("--name", default="scores", help="of the JSON file")
    a = ap.parse_args()
    evaluate(a.work, dist_init(), a.captions, a.judge_seconds, a.cfg, a.quick, a.only and a.only.split(","), a.name, a.steps)
