"""Checkpoints small enough to travel: matrices as int8 with one scale a group of 64 inputs, which is how they are shipped.

    python carry.py student_ode.pt small/student_ode.pt        # flow.load_models reads both
"""
import sys

import torch


def pack(w, group=64):
    """A matrix as (int8 [rows, groups, group], fp16 scales); anything else stays."""
    if w.ndim != 2 or w.shape[1] % group: return w
    x = w.float().unflatten(1, (-1, group))
    s = (x.abs().amax(-1, keepdim=True).clamp(min=1e-6) / 127).half()
    return (x / s.float()).round().clamp(-127, 127).to(torch.int8), s


def unpack(w): return (w[0].float() * w[1].float()).flatten(1).half() if isinstance(w, tuple) else w


if __name__ == "__main__":
    torch.save({k: {n: pack(t) for n, t in part.items()} for k, part in torch.load(sys.argv[1], map_location="cpu").items()}, sys.argv[2])
