"""Flow-matching training of the transformer and its text encoder, over several lengths and two aspect ratios."""
import torch
import torch.nn.functional as F

from common import Budget, Flat, Graphed, Guard, barrier, log, mean_over_ranks, rank, trapezoid
from data import SQUARE, WIDE
from flow import build, over, sample_sigma, save_weights, velocity
from text_encoder import empty_ids, encode_text
from transformer import compile_blocks

TOKENS = 73728                                  # tokens a step and GPU
SHAPES = [(SQUARE, 9), (SQUARE, 5), (SQUARE, 13), (WIDE, 9), (WIDE, 13)]
CYCLE = [0, 2, 0, 1, 3, 0, 2, 0, 4, 1]          # indices into SHAPES, one a step


def batch_of(size, L, tokens=TOKENS): return max(4, tokens // (L * size[0] * size[1] // 256) // 8 * 8)


def matrix(n, p): return ".blocks." in n and n.startswith("0.") and p.ndim == 2


class Trainer:
    """Models, flat optimiser state and one loss function per shape."""

    def __init__(self, dev, data, tokens=TOKENS, compile=True):
        torch.manual_seed(7)
        self.dit, self.te = build(dev)
        self.flat = Flat([self.dit, self.te], matrix)
        self.dev, self.data, self.tokens = dev, data, tokens
        self.stat, self.null = torch.zeros(len(SHAPES), 2, device=dev), empty_ids(1, dev)
        if compile: compile_blocks(self.dit)
        torch.manual_seed(7 + rank())

    def step(self, shape):
        """Loss and gradients of one random batch of a shape."""
        size, L = SHAPES[shape]
        Z, IDS = self.data[size]
        B = batch_of(size, L, self.tokens)
        i = torch.randint(len(Z), (B,), device=self.dev)
        z = Z[:, :, :L][i].float()
        ids = IDS[i, torch.randint(IDS.shape[1], (B,), device=self.dev)].long()
        ids = torch.where(torch.rand(B, 1, device=self.dev) < .1, self.null, ids)
        sig, noise = sample_sigma(B, self.dev), torch.randn_like(z)
        v = velocity(self.dit, (1 - over(sig)) * z + over(sig) * noise, sig, encode_text(self.te, ids))
        loss = F.mse_loss(v, noise - z)
        self.flat.backward(loss)
        self.stat[shape] += torch.stack([loss.detach(), torch.ones_like(loss)])

    def save(self, out):
        if rank() == 0: save_weights(out, dit=self.flat.state("0."), te=self.flat.state("1."))

    def update(self): self.flat.update(2e-3, 1e-3, weight_decay=.05, betas=(.9, .98))


def train_transformer(data, seconds, out, dev, tokens=TOKENS, compile=True, every=100):
    """Train within `seconds` and save the averaged weights; on the way, every 2000 steps, to `out` with `.part` appended."""
    Graphed.new_pool()
    budget = Budget(seconds)
    tr = Trainer(dev, data, tokens, compile)
    steps = [Graphed(lambda s=s: tr.step(s)) for s in range(len(SHAPES))]
    update, step = Graphed(tr.update), 0
    tr.stat.zero_()
    guard = Guard([tr.flat], 2., slack=1.5)
    log("transformer captured")
    while (p := budget.advance()) < 1:
        tr.flat.set(guard.factor * trapezoid(p, warm=.04), min(.999, 1 - 1 / (step / 4 + 2)))
        steps[CYCLE[step % len(CYCLE)]]()
        tr.flat.all_reduce()
        update()
        step += 1
        if step % every == 0:
            mean_over_ranks(tr.stat)
            s = tr.stat.tolist()
            ok = guard.check(sum(a for a, _ in s) / sum(n for _, n in s))
            if ok and (step % (5 * every) == 0 or step == every): log(f"transformer step {step} p {p:.2f} loss", " ".join(f"{size[1]}x{4 * L - 3}: {a / max(1, n):.4f}" for (size, L), (a, n) in zip(SHAPES, s)))
            tr.stat.zero_()
            if step % (20 * every) == 0: tr.save(out + ".part")
    tr.save(out)
    barrier()
    log(f"transformer done, {step} steps")
