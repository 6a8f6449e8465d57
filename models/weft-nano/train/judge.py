"""A judge of attributes: a small network that looks at nine frames and names what it sees.

It is trained on fresh renders only, never on generated videos. Its 64 features also serve the Fréchet distance.
scorer.py puts a reader of captions beside it.
"""
import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

import render
import world
from common import Budget, Graphed, dist_init, log, mean_over_ranks, rank, sync, trapezoid

HEADS = {"shape": 6, "colour": 10, "motion": 13, "ground": 5, "sky": 4, "camera": 7, "shape2": 7, "colour2": 11}
MAIN = ["shape", "colour", "motion", "ground", "sky", "camera"]      # the pilot's six; shape2 and colour2 are the partner (last class: none)
STRIDE = 4


def labels(s):
    """{head: class [n]}; the first column of per-object attributes is the first-named object."""
    y = {k: (s[k][:, 0] if s[k].ndim == 2 else s[k]) for k in MAIN}
    for k, none in (("shape", 6), ("colour", 10)): y[k + "2"] = torch.where(s["two"], s[k][:, 1], torch.full_like(s[k][:, 1], none))
    return y


def scenes(n, gen, dev):
    """Scenes whose first-named object can be told by looking: it stands left, or it is the one that acts."""
    s = world.sample_scenes(n, gen, dev)
    s["flip"][:] = False
    return s


def _block(i, o, s):
    return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())


class Judge(nn.Module):
    """Frames apart, then together: [n, 9, 3, 128, 128] in -1..1 -> logits per head."""

    def __init__(self):
        super().__init__()
        stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.frame = nn.Sequential(stem, _block(32, 64, 2), _block(64, 96, 2), nn.Conv2d(96, 24, 1))
        self.clip = nn.Sequential(_block(216, 96, 1), _block(96, 96, 2), _block(96, 96, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.out = nn.Sequential(nn.Linear(384, 64), nn.ReLU())
        self.heads = nn.ModuleDict({k: nn.Linear(64, n) for k, n in HEADS.items()})

    def features(self, x):
        f = self.frame(x.flatten(0, 1)).unflatten(0, (-1, 9)).flatten(1, 2)
        return self.out(self.clip(f))

    def forward(self, x):
        f = self.features(x)
        return {k: h(f) for k, h in self.heads.items()}


def look(frames_u8): return frames_u8[:, ::STRIDE].float() / 127.5 - 1


def _roughen(x):
    """Noise, blur and brightness, so that the judge does not lean on pixel detail."""
    n, dev, x = len(x), x.device, x.float() / 127.5 - 1
    def u(): return torch.rand(n, 1, 1, 1, 1, device=dev)
    x = x + torch.randn_like(x) * .04 * u()
    soft = F.avg_pool2d(x.flatten(0, 1), 3, 1, 1).view_as(x)
    x = x + (soft - x) * u() * (u() < .6)
    return x * (.94 + .12 * u()) + .06 * (u() - .5)


def train_judge(seconds, dev, pool=24576, batch=256):
    """Render a pool for a third of the budget at most, then train on it; every process has a pool of its own."""
    Graphed.new_pool()
    torch.manual_seed(5)
    gen, t0, xs, ys = torch.Generator().manual_seed(555 + rank()), time.time(), [], []
    while sum(map(len, xs)) < pool and (not xs or time.time() - t0 < .35 * seconds):
        s = scenes(min(512, pool), gen, dev)
        xs.append(render.render_frames(world.pack(s, stride=STRIDE))); ys.append(labels(s))
        sync()
    X, Y = torch.cat(xs), {k: torch.cat([y[k] for y in ys]) for k in HEADS}
    log("judge pool", tuple(X.shape))
    m = Judge().to(dev)
    if dev.type == "cuda": m = m.to(memory_format=torch.channels_last)
    params = list(m.parameters())
    lr, loss_sum = torch.zeros((), device=dev), torch.zeros((), device=dev)
    opt = torch.optim.AdamW(params, lr=lr if dev.type == "cuda" else 1e-3, weight_decay=.05, capturable=dev.type == "cuda")
    flat, at = torch.zeros(sum(p.numel() for p in params), device=dev), 0
    for p in params:
        p.grad, at = flat[at:at + p.numel()].view(p.shape), at + p.numel()
    torch.manual_seed(5 + rank())
    see = torch.compile(m, dynamic=False) if dev.type == "cuda" else m
    rough = torch.compile(_roughen, dynamic=False) if dev.type == "cuda" else _roughen
    def step():
        i = torch.randint(len(X), (batch,), device=dev)
        x = rough(X[i])
        with torch.autocast(dev.type, torch.bfloat16, cache_enabled=False): o = see(x)
        loss = sum(F.cross_entropy(o[k].float(), Y[k][i]) for k in HEADS)
        grads = torch.autograd.grad(loss, params)
        torch._foreach_copy_([p.grad for p in params], grads)
        loss_sum.add_(loss.detach())
    run, update, n = Graphed(step), Graphed(opt.step), 0
    loss_sum.zero_()
    budget = Budget(max(.3 * seconds, seconds - (time.time() - t0)))
    while (p := budget.advance()) < 1:
        lr.fill_(2e-3 * trapezoid(p, warm=.05, hold=.5))
        run()
        mean_over_ranks(flat)
        update()
        n += 1
        if n % 400 == 0: log(f"judge step {n} loss {loss_sum.item() / 400:.3f}"); loss_sum.zero_()
    mean_over_ranks(*[b for b in m.buffers() if b.is_floating_point()])
    log(f"judge done, {n} steps")
    return m.eval().requires_grad_(False)


@torch.no_grad()
def verdicts(m, frames_u8, batch=128):
    """(classes {head: [n]}, features [n, 64]) of 33-frame videos."""
    outs, feats = [], []
    for b in frames_u8.split(batch):
        f = m.features(look(b))
        feats.append(f)
        outs.append({k: h(f).argmax(1) for k, h in m.heads.items()})
    return {k: torch.cat([o[k] for o in outs]) for k in HEADS}, torch.cat(feats)


def main():
    """Train a judge, save it and print its accuracy on fresh renders (the ceiling of every evaluation)."""
    ap = argparse.ArgumentParser()
    ap.add_argument("--seconds", type=float, default=60)
    ap.add_argument("--out", default="work/judge.pt")
    ap.add_argument("--pool", type=int, default=24576)
    a = ap.parse_args()
    dev = dist_init()
    m = train_judge(a.seconds, dev, a.pool)
    torch.save(m.state_dict(), a.out)
    s = scenes(2048, torch.Generator().manual_seed(777), dev)
    said = [verdicts(m, render.render_frames(world.pack({k: v[i:i + 256] for k, v in s.items()})))[0] for i in range(0, 2048, 256)]
    y = labels(s)
    log("ceiling", {k: round(100 * (torch.cat([o[k] for o in said]) == y[k]).float().mean().item(), 2) for k in HEADS})


if __name__ == "__main__": main()
