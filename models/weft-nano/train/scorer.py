"""The judge and a reader of captions in one ONNX file: frames and token ids in, one score an attribute and their mean out.

    python scorer.py --judge work/judge.pt --out weft-nano      # trains the reader on the CPU; writes scorer.onnx, scorer.json
Matrices are stored as int8 with one scale an output channel. src/onnx/scorer_config.ts says how the file is used.
"""
import argparse
import json
import os
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

import captions
import world
from judge import HEADS, STRIDE, Judge

WORDS = 44                      # positions that are read; no caption of the grammar is longer
ACTS = (world.CIRCLE, world.LEFT, world.RIGHT, world.PUSH_LEFT, world.PUSH_RIGHT)


class Reader(nn.Module):
    """Token ids [n, 64] -> logits per head with one more class for "not said"."""

    def __init__(self, d=48):
        super().__init__()
        self.embed = nn.Embedding(len(captions.vocabulary()), d)
        self.position = nn.Parameter(torch.randn(WORDS, d) * .02)
        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(d, 4, 96, 0., batch_first=True, norm_first=True) for _ in range(2)])
        self.queries = nn.Parameter(torch.randn(len(HEADS), d) * d ** -.5)          # every head looks where it likes
        self.heads = nn.ModuleDict({k: nn.Linear(d, n + 1) for k, n in HEADS.items()})

    def forward(self, ids):
        ids = ids[:, :WORDS]
        x = self.embed(ids) + self.position
        for layer in self.layers: x = layer(x)
        look = F.linear(x, self.queries).masked_fill((ids == 0).unsqueeze(-1), -1e4).softmax(1)         # [n, words, heads]
        x = look.transpose(1, 2) @ x
        return {k: h(x[:, i]) for i, (k, h) in enumerate(self.heads.items())}


def said(a, text):
    """{head: class} of what a caption says of a scene, the class after the last where it says nothing.

    The judge calls the left one of two resting objects the first; "to the right of" names the right one first."""
    def phrase(options): return any(p in text for p in options)
    pair, y = a["two"], {}
    first = 1 if pair and a["flip"] and a["motion"][0] not in ACTS else 0
    y["shape"], y["colour"] = a["shape"][first], a["colour"][first]
    still = a["motion"][first] == world.REST_STILL and not phrase(v for pair_ in captions.W_MOTION[world.REST_STILL] for v in pair_)
    y["motion"] = HEADS["motion"] if still else a["motion"][first]
    for k, words in (("ground", captions.W_GROUND), ("sky", captions.W_SKY), ("camera", captions.W_CAM)):
        y[k] = a[k] if phrase(words[a[k]]) else HEADS[k]
    for k in ("shape", "colour"): y[k + "2"] = a[k][1 - first] if pair else HEADS[k + "2"]
    return y


def batch(n, rng, gen):
    """Fresh captions: ids [n, 64] and {head: class [n]}."""
    s = world.sample_scenes(n, gen)
    scenes = [captions.attributes(s, i) for i in range(n)]
    texts = [captions.caption(a, rng) for a in scenes]
    ys = [said(a, t) for a, t in zip(scenes, texts)]
    return captions.encode_captions(texts), {k: torch.tensor([y[k] for y in ys]) for k in HEADS}


def train_reader(steps, n=192):
    """A reader trained on fresh captions, a few with a stray <unk>; logs its accuracy on new ones."""
    torch.manual_seed(3)
    m, rng, gen = Reader(), random.Random(3), torch.Generator().manual_seed(3)
    opt = torch.optim.AdamW(m.parameters(), lr=3e-3)
    for i in range(steps):
        for g in opt.param_groups: g["lr"] = 3e-3 * min(1, (i + 1) / 30) * min(1, 2 * (1 - i / steps))
        ids, y = batch(n, rng, gen)
        o = m(torch.where((torch.rand(ids.shape) < .01) & (ids > 2), 2, ids))
        loss = sum(F.cross_entropy(o[k], y[k]) for k in HEADS)
        opt.zero_grad(); loss.backward(); opt.step()
        if (i + 1) % 100 == 0: print(f"reader step {i + 1} loss {loss.item():.3f}", flush=True)
    m.eval().requires_grad_(False)
    ids, y = batch(2048, random.Random(4), torch.Generator().manual_seed(4))
    o = m(ids)
    print("reader", {k: round(100 * (o[k].argmax(1) == y[k]).float().mean().item(), 2) for k in HEADS}, flush=True)
    return m


class Scorer(nn.Module):
    """frames [1, 9, 3, 128, 128] in -1..1, ids [1, 64] -> (scores [1, 8], below 0 where nothing is said; total [1])."""

    def __init__(self, judge, reader):
        super().__init__()
        self.judge, self.reader = judge, reader

    def forward(self, frames, input_ids):
        seen, told = self.judge(frames), self.reader(input_ids)
        scores = []
        for k in HEADS:
            c = told[k].argmax(1, keepdim=True)
            p = F.pad(seen[k].softmax(1), (0, max(0, told[k].shape[1] - seen[k].shape[1])), value=-1.)
            scores.append(torch.gather(p, 1, c))
        s = torch.cat(scores, 1)
        known = (s >= 0).float()
        return s, (s * known).sum(1) / known.sum(1).clamp(min=1)


def shrink(path, least=1024):
    """Rewrites a model's larger matrices as int8 with a DequantizeLinear node each."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper
    model = onnx.load(path)
    g, nodes, kept = model.graph, [], []
    for t in g.initializer:
        w = numpy_helper.to_array(t)
        if w.dtype != np.float32 or w.ndim < 2 or w.size < least: kept.append(t); continue
        s = np.maximum(np.abs(w).reshape(len(w), -1).max(1), 1e-8) / 127
        q = np.round(w / s.reshape(-1, *[1] * (w.ndim - 1))).astype(np.int8)
        kept += [numpy_helper.from_array(q, t.name + ".q"), numpy_helper.from_array(s.astype(np.float32), t.name + ".s")]
        nodes.append(helper.make_node("DequantizeLinear", [t.name + ".q", t.name + ".s"], [t.name], axis=0))
    body = list(g.node)
    del g.initializer[:], g.node[:]
    g.initializer.extend(kept); g.node.extend(nodes + body)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def export(m, out):
    """Writes both files and prints how far the file is from the module on random input."""
    import onnxruntime
    torch.backends.mha.set_fastpath_enabled(False)
    path, x = f"{out}/scorer.onnx", (torch.rand(1, 9, 3, 128, 128) * 2 - 1, captions.encode_captions(["a red ball bounces on grass at night"]))
    torch.onnx.export(m, x, path, input_names=["frames", "input_ids"], output_names=["scores", "total"], opset_version=17, dynamo=False)
    shrink(path)
    with open(f"{out}/scorer.json", "w") as f:
        json.dump({"format": "weft-scorer", "version": 1, "frames": {"count": 9, "stride": STRIDE, "height": 128, "width": 128, "range": [-1, 1]},
                   "max_sequence_length": captions.MAX_LEN, "attributes": list(HEADS)}, f, indent=2)
    scores, total = onnxruntime.InferenceSession(path).run(None, {"frames": x[0].numpy(), "input_ids": x[1].numpy()})
    want = m(*x)
    print(f"{os.path.getsize(path)} bytes; scores {scores.round(3).tolist()} total {total.tolist()}, off by {abs(scores - want[0].numpy()).max():.2e}", flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--judge", default="work/judge.pt")
    ap.add_argument("--reader", help="kept here between runs")
    ap.add_argument("--out", default="work/weft-nano")
    ap.add_argument("--steps", type=int, default=800)
    a = ap.parse_args()
    judge = Judge()
    judge.load_state_dict(torch.load(a.judge, map_location="cpu"))
    if a.reader and os.path.exists(a.reader):
        reader = Reader()
        reader.load_state_dict(torch.load(a.reader))
        reader.eval().requires_grad_(False)
    else:
        reader = train_reader(a.steps)
        if a.reader: torch.save(reader.state_dict(), a.reader)
    os.makedirs(a.out, exist_ok=True)
    export(Scorer(judge.eval().requires_grad_(False), reader).eval(), a.out)


if __name__ == "__main__": main()
