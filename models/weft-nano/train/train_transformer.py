"""Flow-matching training of the transformer and its text encoder, over several lengths and two aspect ratios.

A finished model can be trained on (`start`) where it is weakest: objects at low noise. Outlines are decided there, where
only 3 % of the first training's noise levels lie (below .2), and its error on objects is ten times that of the rest.
"""
import torch
import torch.nn.functional as F

from common import Budget, Flat, Graphed, Guard, barrier, log, mean_over_ranks, rank, trapezoid
from data import SQUARE, WIDE
from flow import build, load_into, over, sample_sigma, save_weights, velocity
from text_encoder import empty_ids, encode_text
from transformer import compile_blocks

TOKENS = 73728                                  # tokens a step and GPU
SHAPES = [(SQUARE, 9), (SQUARE, 5), (SQUARE, 13), (WIDE, 9), (WIDE, 13)]
CYCLE = [0, 2, 0, 1, 3, 0, 2, 0, 4, 1]          # indices into SHAPES, one a step
LOW, OBJECTS = .3, 3.                           # training on: share of noise levels below .5 more, and how much more objects weigh
RESUMED = .5                                    # and of the learning rates


def batch_of(size, L, tokens=TOKENS): return max(4, tokens // (L * size[0] * size[1] // 256) // 8 * 8)


def matrix(n, p): return ".blocks." in n and n.startswith("0.") and p.ndim == 2


class Trainer:
    """Models, flat optimiser state and one loss function per shape."""

    def __init__(self, dev, data, tokens=TOKENS, compile=True, start=None):
        torch.manual_seed(7)
        self.dit, self.te = build(dev)
        self.low, self.objects = (LOW, OBJECTS) if start else (0., 0.)
        if start: load_into(self.dit, self.te, start, dev)
        self.flat = Flat([self.dit, self.te], matrix)
        self.dev, self.data, self.tokens = dev, data, tokens
        self.stat, self.null = torch.zeros(len(SHAPES), 2, device=dev), empty_ids(1, dev)
        if compile: compile_blocks(self.dit)
        self.best, self.kept = float("inf"), None
        torch.manual_seed(7 + rank())

    def apart(self, size):
        """Videos of a size, the last ones, that a model which is trained on never trains on."""
        return min(batch_of(*SHAPES[0], self.tokens), len(self.data[size][0]) // 2) if self.low and size == SQUARE else 0

    def step(self, shape):
        """Loss and gradients of one random batch of a shape."""
        size, L = SHAPES[shape]
        Z, IDS, seen = self.data[size]
        B = batch_of(size, L, self.tokens)
        i = torch.randint(len(Z) - self.apart(size), (B,), device=self.dev)
        z = Z[:, :, :L][i].float()
        ids = IDS[i, torch.randint(IDS.shape[1], (B,), device=self.dev)].long()
        ids = torch.where(torch.rand(B, 1, device=self.dev) < .1, self.null, ids)
        sig, noise = sample_sigma(B, self.dev, low=self.low), torch.randn_like(z)
        v = velocity(self.dit, (1 - over(sig)) * z + over(sig) * noise, sig, encode_text(self.te, ids))
        e = (v - (noise - z)).square()
        if self.objects:                        # where the noise still hides an object, weighing it more would draw it everywhere
            e = e * (1 + self.objects * over(((.7 - sig) / .3).clamp(0, 1)) * seen[i, None, :L].float())
        loss = e.mean()
        self.flat.backward(loss)
        self.stat[shape] += torch.stack([loss.detach(), torch.ones_like(loss)])

    def consider(self):
        """Judge the averaged weights on the videos apart and keep the best so far. Returns (mean squared error of the
        velocity over all noise levels, in its lowest third, there on objects), over all processes."""
        size, L = SHAPES[0]
        Z, IDS, seen = (t[-self.apart(size):] for t in self.data[size])
        z, sig = Z[:, :, :L].float(), torch.linspace(.03, .97, len(Z), device=self.dev)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(5)).to(self.dev)
        work = self.flat.work.clone()
        self.flat.work.copy_(self.flat.ema)
        v = velocity(self.dit, (1 - over(sig)) * z + over(sig) * noise, sig, encode_text(self.te, IDS[:, 0].long()))
        self.flat.work.copy_(work)
        e, low, on = (v.detach() - (noise - z)).square().mean(1), len(z) // 3, seen[:, :L].float()
        s = torch.stack([e.mean(), e[:low].mean(), (e * on)[:low].sum() / on[:low].sum().clamp(min=1)])
        mean_over_ranks(s)
        if s[0].item() < self.best: self.best, self.kept = s[0].item(), self.flat.ema.clone()
        return s.tolist()

    def mean_loss(self):
        """Mean over the steps since `stat` was emptied, the same on all ranks."""
        mean_over_ranks(self.stat)
        return (self.stat[:, 0].sum() / self.stat[:, 1].sum()).item()

    def losses(self):
        return " ".join(f"{size[1]}x{4 * L - 3}: {a / max(1, n):.4f}" for (size, L), (a, n) in zip(SHAPES, self.stat.tolist()))

    def save(self, out):
        if rank() == 0: save_weights(out, dit=self.flat.state("0."), te=self.flat.state("1."))

    def update(self): self.flat.update(2e-3, 1e-3, weight_decay=.05, betas=(.9, .98))


def train_transformer(data, seconds, out, dev, tokens=TOKENS, compile=True, every=100, start=None):
    """Train within `seconds` and save the averaged weights; on the way, every 2000 steps, to `out` with `.part` appended.

    With `start`, that checkpoint is trained on, and the average that is best on videos apart is saved: itself at worst."""
    Graphed.new_pool()
    budget, rate = Budget(seconds), RESUMED if start else 1.
    tr = Trainer(dev, data, tokens, compile, start)
    steps = [Graphed(lambda s=s: tr.step(s)) for s in range(len(SHAPES))]
    update, step = Graphed(tr.update), 0
    log("transformer captured")
    guard = guard_from(tr, steps) if start else Guard([tr.flat], 2., slack=1.5)
    tr.stat.zero_()
    while (p := budget.advance()) < 1:
        tr.flat.set(rate * guard.factor * trapezoid(p, warm=.04), min(.999, 1 - 1 / (step / 4 + 2)))
        steps[CYCLE[step % len(CYCLE)]]()
        tr.flat.all_reduce()
        update()
        step += 1
        if step % every == 0:
            ok = guard.check(tr.mean_loss())
            if ok and (step % (5 * every) == 0 or step == every): log(f"transformer step {step} p {p:.2f} loss", tr.losses())
            tr.stat.zero_()
            if start and step % (5 * every) == 0: log("apart", tr.consider())
            if step % (20 * every) == 0: tr.save(out + ".part")
    if start:
        log("apart", tr.consider(), "kept", tr.best)
        tr.flat.ema.copy_(tr.kept)
    tr.save(out)
    barrier()
    log(f"transformer done, {step} steps")


def guard_from(tr, steps):
    """A guard for a run that begins with a trained model: its loss is what every shape shows before the first update."""
    tr.stat.zero_()
    for s in steps: s()
    log("apart, before", tr.consider(), "loss", loss := tr.mean_loss())
    return Guard([tr.flat], 2 * loss, slack=1.5, checks=0)
