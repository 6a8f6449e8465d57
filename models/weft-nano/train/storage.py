"""Models as the shipped folder stores them: matrices in groups of 64 along a row, q * scale + bias with few bits.

The same arithmetic as src/weights/affine.ts (scales and biases in f16, here rounded to the nearest), by the same rules.
"""
import json
import os
import re

import torch
import torch.nn.functional as F

GROUP = 64
BITS = {"int8": 8, "int7": 7, "int6": 6, "int5": 5, "int4": 4}
NAME = "weft_nano_rules.json"                    # in models/export; run.sh puts a copy beside the code


def shipped_rules():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(next(p for p in (f"{here}/{NAME}", f"{here}/../../export/{NAME}") if os.path.exists(p))) as f: return json.load(f)


def affine(w, bits, group=GROUP):
    """A weight [rows, ...] after storage; a row's last group may be short."""
    flat = w.float().flatten(1)
    x = F.pad(flat[None], (0, -flat.shape[1] % group), mode="replicate")[0].unflatten(1, (-1, group))
    low = x.amin(-1, keepdim=True).half().float()
    scale = ((x.amax(-1, keepdim=True) - low) / (2 ** bits - 1)).clamp(min=1e-7).half().float().clamp(min=6e-8)
    q = ((x - low) / scale).round().clamp(0, 2 ** bits - 1)
    return (q * scale + low).flatten(1)[:, :flat.shape[1]].view(w.shape).to(w.dtype)


def form(name, w, rules):
    """What the first rule that fits says of the tensor `name` ("transformer/blocks.0..."), where it can be applied."""
    wanted = next((to for pattern, to in rules if re.search(pattern, name)), "keep")
    if wanted not in BITS or w.ndim < 2 or (w.ndim > 2 and wanted != "int8") or (w.ndim == 2 and w.shape[1] % GROUP): return None
    return wanted


@torch.no_grad()
def stored(module, folder, rules=None):
    """The module with its weights as the files of `folder` (transformer, transformer_fewstep, vae) hold them."""
    rules = rules or shipped_rules()
    for n, p in module.named_parameters():
        if to := form(f"{folder}/{n}", p, rules): p.data = affine(p.data, BITS[to])
    return module
