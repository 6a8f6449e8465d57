"""Shared by the training scripts: data-parallel glue, wall-clock budgets, CUDA graphs and the flat optimiser.

Parameters live in one flat fp32 buffer with a bf16 working copy and a bf16 gradient buffer of the same layout, so an
all-reduce, a cast, an average of weights or an Adam step is a handful of kernels however many tensors there are.
"""
import gc
import math
import os
import time

import torch
import torch.distributed as dist


def rank(): return int(os.environ.get("RANK", "0"))
def world(): return int(os.environ.get("WORLD_SIZE", "1"))


_T0 = time.time()


def log(*a):
    """Print on rank 0, stamped with the seconds since the start."""
    if rank() == 0: print(f"[{time.time() - _T0:5.0f}]", *a, flush=True)


def dist_init():
    """Join the process group when started by torchrun; one GPU per process. Returns the device."""
    if world() > 1:           # each process sees its own GPU as number 0, so compiled code can be cached for all alike
        seen = os.environ.get("CUDA_VISIBLE_DEVICES")
        ids = seen.split(",") if seen else [str(i) for i in range(world())]
        os.environ["CUDA_VISIBLE_DEVICES"] = ids[int(os.environ.get("LOCAL_RANK", "0"))]
    if not torch.cuda.is_available():
        if world() > 1 and not dist.is_initialized(): dist.init_process_group("gloo")
        return torch.device("cpu")
    dev = torch.device("cuda", 0)
    torch.cuda.set_device(dev)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    if world() > 1 and not dist.is_initialized(): dist.init_process_group("nccl", device_id=dev)
    return dev


def elapsed():
    """Seconds since the start, rank 0's clock."""
    return share(time.time() - _T0)


def sync(): return torch.cuda.synchronize() if torch.cuda.is_available() else None
def barrier(): return dist.barrier() if world() > 1 else None


def broadcast(t):
    """Rank 0's tensor on every rank, in place."""
    if world() > 1: dist.broadcast(t, 0)


def mean_over_ranks(*tensors):
    """Average tensors over the processes, in place."""
    for t in tensors if world() > 1 else (): dist.all_reduce(t); t /= world()


def share(x):
    """Rank 0's number on every rank."""
    if world() == 1: return x
    t = torch.tensor([float(x)], dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    dist.broadcast(t, 0)
    return t.item()


class Budget:
    """Turns wall-clock seconds into progress 0..1 agreed on by all ranks; the clock is read every `every` steps.

    Progress begins with the first step: what setting up and compiling took shortens the training, not its schedule."""

    def __init__(self, seconds, every=10, alone=False):
        self.end, self.least, self.every, self.step, self.p, self.rate = time.time() + seconds, .2 * seconds, every, 0, 0., 0.
        self.share = (lambda x: x) if alone else share

    def advance(self):
        """Progress for the next step; 1 or more means stop."""
        ahead = self.step % self.every
        if ahead == 0:
            sync()
            if self.step == 0:
                self.start = time.time()
                self.end = max(self.end, self.start + self.least)
            now = self.share((time.time() - self.start) / (self.end - self.start))
            self.rate = (now - self.p) / self.every if self.step else 0.
            self.p = now
        self.step += 1
        return self.p + self.rate * ahead


def trapezoid(p, warm=.02, hold=.4):
    """Learning-rate factor: short warm-up, constant, then linear to zero."""
    return max(0., min(1., (p + .001) / warm, (1 - p) / (1 - hold)))


class Graphed:
    """A function without arguments or data-dependent control flow, captured as a CUDA graph (plain calls on the CPU).

    What it returns must be persistent tensors; capture needs a few warm-up calls, which count as real calls."""

    _pool = None

    @staticmethod
    def new_pool():
        """Graphs share one memory pool; a stage starts a new one. The last stage's graphs go now, not in the middle of a capture."""
        gc.collect()
        Graphed._pool = None

    def __init__(self, fn, warmup=3):
        self.fn, self.graph = fn, None
        if not torch.cuda.is_available(): return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(warmup): fn()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, pool=Graphed._pool, capture_error_mode="thread_local"): fn()
        Graphed._pool = Graphed._pool or self.graph.pool()

    def __call__(self): return self.fn() if self.graph is None else self.graph.replay()


def _orthogonal(m):
    """Newton-Schulz iteration towards the nearest orthogonal matrices (Muon), batched."""
    x, tall = m.bfloat16(), m.shape[-2] > m.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).float()


class Flat:
    """All parameters of some modules in flat buffers: fp32 `master` and `ema`, bf16 `work` (what the modules compute
    with) and bf16 `grad`. `is_matrix(name, p)` chooses what Muon updates; Adam takes the rest."""

    def __init__(self, modules, is_matrix, work_dtype=torch.bfloat16):
        named = [(f"{i}.{n}", p) for i, m in enumerate(modules) for n, p in m.named_parameters()]
        self.dev = named[0][1].device
        groups = {}
        for n, p in named: groups.setdefault(tuple(p.shape) if is_matrix(n, p) else None, []).append((n, p))
        self.spans, at, layout = [], 0, []
        for shape, items in sorted(groups.items(), key=lambda g: g[0] is None):
            begin = at
            for n, p in items:
                layout.append((n, p, at))
                at += p.numel() if shape else -(-p.numel() // 64) * 64
            if shape: self.spans.append((begin, at, (len(items), shape[0], items[0][1].numel() // shape[0])))
            else: self.adam = (begin, at)
            at = -(-at // 64) * 64
        if None not in groups: self.adam = (at, at)
        self.size = at
        self.master = torch.zeros(at, device=self.dev)
        self.names, self.params, self.offsets = [n for n, _, _ in layout], [p for _, p, _ in layout], [o for _, _, o in layout]
        self.shapes = [tuple(p.shape) for p in self.params]
        for p, o in zip(self.params, self.offsets): self._view(self.master, p.shape, o).copy_(p.data)
        self.work, self.grad = self.master.to(work_dtype), torch.zeros(at, device=self.dev, dtype=work_dtype)
        self.ema, self.m, self.v = self.master.clone(), torch.zeros_like(self.master), torch.zeros_like(self.master)
        for p, o in zip(self.params, self.offsets): p.data = self._view(self.work, p.shape, o)
        self.grad_views = [self._view(self.grad, s, o) for s, o in zip(self.shapes, self.offsets)]
        self.lr, self.decay, self.count = (torch.zeros((), device=self.dev) for _ in range(3))

    @staticmethod
    def _view(flat, shape, at):
        """A parameter's window; convolution kernels are stored channels-last."""
        n = 1
        for s in shape: n *= s
        w = flat[at:at + n]
        if len(shape) == 4: return w.view(shape[0], shape[2], shape[3], shape[1]).permute(0, 3, 1, 2)
        return w.view(shape)

    def backward(self, loss, retain=False):
        """Gradient of `loss` into the flat gradient buffer (capturable)."""
        grads = torch.autograd.grad(loss, self.params, allow_unused=True, retain_graph=retain)
        with torch.no_grad():
            for view, g in zip(self.grad_views, grads):
                if g is None: view.zero_()
            some = [(v, g) for v, g in zip(self.grad_views, grads) if g is not None]
            torch._foreach_copy_([v for v, _ in some], [g for _, g in some])

    def set(self, lr, decay):
        """Learning-rate factor and averaging decay of the next update."""
        self.lr.fill_(lr); self.decay.fill_(decay)

    @torch.no_grad()
    def update(self, muon_lr, adam_lr, weight_decay=.02, beta=.95, betas=(.9, .95), clip=1.0):
        """One Muon + Adam step from `grad`, scaled by `self.lr` (capturable)."""
        g, (a, b) = self.grad.float(), self.adam
        self.count += 1
        for i, j, shape in self.spans:
            m, gi = self.m[i:j], g[i:j]
            m.lerp_(gi, 1 - beta)
            u = _orthogonal(gi.lerp(m, beta).view(shape)).view(-1)
            w = self.master[i:j]
            w.mul_(1 - self.lr * (muon_lr * weight_decay))
            w.sub_(u * (self.lr * (muon_lr * .2 * max(shape[1:]) ** .5)))
        if b > a:
            ga = g[a:b]
            ga = ga * (clip / (ga.norm() + 1e-6)).clamp(max=1)
            m, v = self.m[a:b], self.v[a:b]
            m.lerp_(ga, 1 - betas[0]); v.lerp_(ga * ga, 1 - betas[1])
            mh, vh = m / (1 - betas[0] ** self.count), v / (1 - betas[1] ** self.count)
            self.master[a:b].sub_(mh / (vh.sqrt() + 1e-8) * (self.lr * adam_lr))
        self.work.copy_(self.master)
        self.ema.lerp_(self.master, 1 - self.decay)

    @torch.no_grad()
    def load(self, flat):
        """Set master, working copy and average from a flat fp32 tensor."""
        self.master.copy_(flat); self.work.copy_(flat); self.ema.copy_(flat)

    def state(self, prefix="0.", flat=None):
        """{name: fp32 tensor} of one module from the averaged weights (or another flat tensor)."""
        flat = self.ema if flat is None else flat
        return {n[len(prefix):]: self._view(flat, s, o).detach().contiguous().clone()
                for n, s, o in zip(self.names, self.shapes, self.offsets) if n.startswith(prefix)}

    def tensors(self):
        """What a snapshot must hold."""
        return [self.master, self.ema, self.m, self.v, self.count]

    def all_reduce(self):
        """Average gradients over the processes."""
        if world() > 1: dist.all_reduce(self.grad); self.grad /= world()

    def broadcast(self):
        """Rank 0's weights on every rank."""
        if world() > 1: dist.broadcast(self.master, 0); self.load(self.master)


class Guard:
    """Takes a run that diverges back to its last good state and halves its learning rate: `factor` multiplies the rate.

    A check's loss must be finite and less than `slack` times the best so far (`start` is an untrained model's), and after
    `checks` of them less than half of `start`. After five falls the run ends: better no result than one that took all the time."""

    def __init__(self, flats, start, extra=(), slack=2., checks=6):
        self.flats, self.kept, self.slack = flats, [*(t for f in flats for t in f.tensors()), *extra], slack
        self.good, self.start, self.best, self.factor, self.falls, self.left = [t.clone() for t in self.kept], start, start, 1., 0, checks

    def check(self, loss):
        """Mean loss since the last check, the same on all ranks. Returns whether all is well."""
        self.left -= 1
        if self.left == 0 and not self.best < self.start / 2: raise RuntimeError(f"the run learns nothing: loss {loss}, best {self.best}, untrained {self.start}")
        if math.isfinite(loss) and loss < self.slack * self.best:
            self.best = min(self.best, loss)
            for g, t in zip(self.good, self.kept): g.copy_(t)
            return True
        self.factor, self.falls = self.factor / 2, self.falls + 1
        if self.falls > 5: raise RuntimeError(f"the run diverges (loss {loss}, best {self.best}) even at {self.factor} times the learning rate")
        for g, t in zip(self.good, self.kept): t.copy_(g)
        for f in self.flats: f.work.copy_(f.master)
        log(f"diverged: loss {loss:.4g}, best {self.best:.4g}; going back, learning rate x {self.factor}")
        return False
