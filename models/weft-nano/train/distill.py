"""Four-step, guidance-free student.

1. Regression of the guided teacher's ODE: for stored noise -> video trajectories the student learns, at each of its four
   noise levels, the straight velocity to the next one (so that plain Euler sampling is exact). In its last step the
   teacher is not guided: what is in the picture is settled by then, and guidance would draw the corners of cubes out.
2. Distribution matching (DMD): a copy of the teacher follows the student's videos; the difference between its score and
   the guided teacher's sharpens the student's last step on its own trajectories, with the regression of all four steps
   kept as an anchor. (Earlier steps end at noisy states, which are no samples to be matched.)

    python distill.py --work work --seconds 60          # stage 2 alone: base.pt and student_ode.pt to student_dmd.pt
"""
import argparse
import time

import torch
import torch.nn.functional as F

import captions
import world
from carry import unpack
from common import Budget, Flat, Graphed, barrier, dist_init, log, rank, sync, trapezoid
from data import SQUARE, WIDE
from flow import FEWSTEP, UNGUIDED, build, guided, load_models, over, save_weights, shift_sigma, velocity
from text_encoder import empty_ids, encode_text
from train_transformer import TOKENS, batch_of, matrix
from transformer import compile_blocks

SHAPES = [(SQUARE, 9), (SQUARE, 5), (SQUARE, 13), (WIDE, 9)]
CYCLE = [0, 2, 0, 3, 0, 1]


def pick(ids, n):
    """Random captions [n, 64]."""
    return ids[torch.randint(len(ids), (n,), device=ids.device), torch.randint(ids.shape[1], (n,), device=ids.device)].long()


class Trajectories:
    """Teacher ODE (second-order Adams-Bashforth, `sub` steps a segment), guided down to the noise level `until`, kept at the
    student's noise levels."""

    def __init__(self, teacher, te, ids, cfg, tokens, sub=5, until=UNGUIDED):
        self.teacher, self.te, self.ids, self.cfg, self.sub, self.until = teacher, te, ids, cfg, sub, until
        self.sig = shift_sigma(torch.linspace(1, 0, 4 * sub + 1)).tolist()
        dev = ids.device
        self.null = encode_text(te, empty_ids(1, dev)).float()
        self.runs = []
        for size, L in SHAPES:
            b = batch_of(size, L, tokens) // 2
            shape = (b, 16, L, size[0] // 8, size[1] // 8)
            self.runs.append(dict(noise=torch.randn(shape, device=dev), ctx=torch.zeros(b, 64, 128, device=dev), keep=[], text=[],
                                  out=torch.zeros(b, 5, *shape[1:], dtype=torch.float16, device=dev)))
        self.graphs = [Graphed(lambda r=r: self.solve(r), warmup=1) for r in self.runs]

    @torch.no_grad()
    def solve(self, r):
        x, last, h_last = r["noise"], None, 1.
        r["out"][:, 0] = x.half()
        null = self.null.expand_as(r["ctx"])
        for k in range(4 * self.sub):
            t = torch.full((len(x),), self.sig[k], device=x.device)
            cfg = self.cfg if self.sig[k] > self.until + 1e-6 else 1.                             # 1 changes nothing, nor the batch
            v, h = guided(self.teacher, x, t, r["ctx"], null, cfg), self.sig[k + 1] - self.sig[k]
            if abs(self.sig[k] - self.until) < 1e-6: last = None                                  # another field begins
            x = x + h * (v if last is None else v + (h / (2 * h_last)) * (v - last))
            last, h_last = v, h
            if (k + 1) % self.sub == 0: r["out"][:, (k + 1) // self.sub] = x.half()

    @torch.no_grad()
    def collect(self, seconds):
        """[(states [n, 5, ...] fp16, text [n, 64, 128] fp16)] per shape."""
        t0, i = time.time(), 0
        while time.time() - t0 < seconds or i < len(CYCLE):
            k = CYCLE[i % len(CYCLE)]
            r = self.runs[k]
            r["noise"].normal_()
            r["ctx"].copy_(encode_text(self.te, pick(self.ids, len(r["ctx"]))).float())
            self.graphs[k]()
            r["keep"].append(r["out"].clone()); r["text"].append(r["ctx"].half())
            i += 1
            sync()
        out = [(torch.cat(r["keep"]), torch.cat(r["text"])) for r in self.runs]
        log(f"trajectories {[len(x) for x, _ in out]} per GPU in {time.time() - t0:.0f}s")
        return out


class Student:
    """The student's flat state, its regression steps and, for DMD, the score model that follows it."""

    def __init__(self, dev, start, te, trajectories, tokens, compile):
        self.dev, self.te, self.T, self.tokens = dev, te, trajectories, tokens
        self.g, _ = build(dev)
        w = torch.load(start, map_location=dev)["dit"]
        self.g.load_state_dict({k: unpack(v).float() for k, v in w.items()})
        self.flat = Flat([self.g], matrix)
        self.S = torch.tensor(FEWSTEP, device=dev)
        self.stat = torch.zeros(4, 2, device=dev)
        if compile: compile_blocks(self.g)
        torch.manual_seed(31 + rank())

    def regression(self, shape, B):
        X, E = self.T[shape]
        i, k = torch.randint(len(X), (B,), device=self.dev), torch.randint(4, (B,), device=self.dev)
        x0, x1 = X[i, k].float(), X[i, k + 1].float()
        d = velocity(self.g, x0, self.S[k], E[i].float()) - (x1 - x0) / over(self.S[k + 1] - self.S[k])
        with torch.no_grad():
            e = d.square().mean((1, 2, 3, 4))
            self.stat[:, 0].index_add_(0, k, e); self.stat[:, 1].index_add_(0, k, torch.ones_like(e))
        return d.square().mean()

    def step(self, shape): self.flat.backward(self.regression(shape, batch_of(*SHAPES[shape], self.tokens)))

    def errors(self):
        """Mean squared regression error at each noise level since the last call."""
        e = (self.stat[:, 0] / self.stat[:, 1].clamp(min=1)).tolist()
        self.stat.zero_()
        return [round(x, 4) for x in e]

    def save(self, path):
        if rank() == 0: save_weights(path, dit=self.flat.state(), te=self.te.state_dict())
        barrier()


def regress(st, seconds, out):
    """Stage 1 within `seconds`."""
    Graphed.new_pool()                                      # the trajectories' graphs, and with them their pool, are gone
    budget, step = Budget(seconds), 0
    steps, update = [Graphed(lambda s=s: st.step(s)) for s in range(len(SHAPES))], Graphed(lambda: st.flat.update(1e-3, 5e-4, weight_decay=.02, betas=(.9, .98)))
    st.errors()
    while (p := budget.advance()) < 1:
        st.flat.set(trapezoid(p, warm=.03, hold=.3), min(.99, 1 - 1 / (step / 4 + 2)))
        steps[CYCLE[step % len(CYCLE)]]()
        st.flat.all_reduce()
        update()
        step += 1
        if step % 250 == 0:
            log(f"regression step {step} p {p:.2f} error {st.errors()}")
    st.save(out)
    log(f"regression done, {step} steps")


class Matching:
    """One DMD step: gradients for the student (`generator`) or for the score model that follows it (`follow`)."""

    def __init__(self, st, teacher, te, ids, cfg, start, batch, compile):
        self.st, self.teacher, self.te, self.ids, self.cfg, self.batch, self.dev = st, teacher, te, ids, cfg, batch, st.dev
        self.fake, _ = build(st.dev)
        self.fake.load_state_dict({k: unpack(v).float() for k, v in torch.load(start, map_location=st.dev)["dit"].items()})
        self.flat = Flat([self.fake], lambda n, p: False)
        if compile: compile_blocks(self.fake)
        self.null = encode_text(te, empty_ids(1, st.dev)).float()
        self.stat = torch.zeros(3, device=st.dev)

    def rollout(self, learn):
        """The student's videos, their text, and noise levels, noise and noised videos for both scores."""
        b, g, last = self.batch, self.st.g, FEWSTEP[-2]
        def level(s): return torch.full((b,), s, device=self.dev)
        with torch.no_grad():
            ctx = encode_text(self.te, pick(self.ids, b)).float()
            x = torch.randn(b, 16, 9, 16, 16, device=self.dev)
            for s0, s1 in zip(FEWSTEP[:-2], FEWSTEP[1:-1]): x = x + (s1 - s0) * velocity(g, x, level(s0), ctx)
        with torch.set_grad_enabled(learn): x0 = x - last * velocity(g, x, level(last), ctx)
        t = shift_sigma(torch.rand(b, device=self.dev), 2.5).clamp(.02, .98)
        n = torch.randn_like(x)
        return x0, ctx, t, n, (1 - over(t)) * x0.detach() + over(t) * n

    def follow(self):
        x0, ctx, t, n, xt = self.rollout(False)
        loss = F.mse_loss(velocity(self.fake, xt, t, ctx), n - x0)
        self.flat.backward(loss)
        self.stat[2] += loss.detach()

    def generator(self):
        x0, ctx, t, n, xt = self.rollout(True)
        with torch.no_grad():
            y = x0.detach()
            fake = xt - over(t) * velocity(self.fake, xt, t, ctx)
            real = xt - over(t) * guided(self.teacher, xt, t, ctx, self.null.expand_as(ctx), self.cfg)
            grad = (fake - real) / (y - real).abs().mean((1, 2, 3, 4), keepdim=True).clamp(min=1e-3)
        anchor = self.st.regression(0, self.batch)
        self.st.flat.backward(.5 * F.mse_loss(x0, y - grad) + .5 * anchor)
        self.stat[0] += grad.abs().mean(); self.stat[1] += anchor.detach()


def match(st, teacher, te, ids, cfg, start, seconds, out, batch=64, follows=2, lr=2e-5, compile=True):
    """Stage 2 within `seconds`."""
    Graphed.new_pool()
    st.flat.load(st.flat.ema.clone()); st.flat.m.zero_(); st.flat.v.zero_(); st.flat.count.zero_()
    budget = Budget(seconds)
    mt = Matching(st, teacher, te, ids, cfg, start, batch, compile)
    st.flat.set(0, 1); mt.flat.set(0, 1)
    gen, fol = Graphed(mt.generator), Graphed(mt.follow)
    adam = Graphed(lambda: st.flat.update(lr * 10, lr, weight_decay=0., betas=(.5, .95)))
    adam_fake = Graphed(lambda: mt.flat.update(0, 2e-4, betas=(.5, .95)))
    mt.stat.zero_(); st.errors()
    log("distribution matching captured")
    i = 0
    while (p := budget.advance()) < 1:
        mt.flat.set(1, 0)
        for _ in range(follows):
            fol(); mt.flat.all_reduce(); adam_fake()
        if i >= 20:
            st.flat.set(trapezoid(p, warm=.05, hold=.5), .97)
            gen(); st.flat.all_reduce(); adam()
        i += 1
        if i % 50 == 0:
            s = mt.stat.tolist()
            log(f"matching step {i} p {p:.2f} gradient {s[0] / 50:.4f} anchor {s[1] / 50:.4f} follower {s[2] / 50 / follows:.4f}")
            mt.stat.zero_()
    st.save(out)
    log(f"matching done, {i} steps")


def distill(ids, base, out, dev, traj_seconds, ode_seconds, dmd_seconds, cfg=2.5, tokens=TOKENS, compile=True):
    """All stages; writes {out}_ode.pt and, when dmd_seconds > 0, {out}_dmd.pt."""
    st, teacher, te = prepare(ids, base, base, dev, traj_seconds, cfg, tokens, compile)
    regress(st, ode_seconds, f"{out}_ode.pt")
    if dmd_seconds > 0: match(st, teacher, te, ids, cfg, base, dmd_seconds, f"{out}_dmd.pt", batch=dmd_batch(tokens), compile=compile)


def dmd_batch(tokens): return max(4, batch_of(SQUARE, 9, tokens) // 2)


def prepare(ids, base, start, dev, traj_seconds, cfg, tokens, compile):
    """The student that begins as `start`, its teacher and text encoder, with fresh trajectories."""
    Graphed.new_pool()
    torch.manual_seed(21 + rank())
    teacher, te = load_models(base, dev)
    if compile: compile_blocks(teacher)
    T = Trajectories(teacher, te, ids, cfg, tokens).collect(traj_seconds)
    return Student(dev, start, te, T, tokens, compile), teacher, te


def main():
    """Distribution matching alone, from finished checkpoints."""
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", default="work")
    ap.add_argument("--seconds", type=float, default=60)
    ap.add_argument("--traj-seconds", type=float, default=10)
    ap.add_argument("--cfg", type=float, default=2.5)
    ap.add_argument("--tokens", type=int, default=TOKENS)
    ap.add_argument("--no-compile", action="store_true")
    a = ap.parse_args()
    dev, base = dist_init(), f"{a.work}/base.pt"
    scenes = world.sample_scenes(8192, torch.Generator().manual_seed(4321 + rank()), **world.PLAIN)
    ids = captions.caption_ids(scenes, 2, 17 + rank()).to(dev)
    st, teacher, te = prepare(ids, base, f"{a.work}/student_ode.pt", dev, a.traj_seconds, a.cfg, a.tokens, not a.no_compile)
    match(st, teacher, te, ids, a.cfg, base, a.seconds, f"{a.work}/student_dmd.pt", batch=dmd_batch(a.tokens), compile=not a.no_compile)


if __name__ == "__main__": main()
