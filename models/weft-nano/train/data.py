"""The training set: rendered videos encoded to latents, with several captions each. Held in GPU memory."""
import concurrent.futures
import multiprocessing
import time

import torch

import captions
import render
import world
from autoencoder import encode_latents
from common import log, rank, sync

FRAMES = 49                                   # latents of 17 or 33 frames are the first 5 or 9 of these 13
SQUARE, WIDE = (128, 128), (112, 192)


class CaptionPool:
    """Processes that word scenes while the GPU is busy; `ids()` waits for them."""

    def __init__(self, scenes, variants, seed, workers=6, chunk=2048):
        self.jobs, n = [], len(scenes["two"])
        self.pool = concurrent.futures.ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        for i in range(0, n, chunk):
            part = {k: v[i:i + chunk].clone() for k, v in scenes.items()}
            self.jobs.append(self.pool.submit(captions.caption_ids, part, variants, seed + i))

    def ids(self):
        out = torch.cat([j.result() for j in self.jobs])
        self.pool.shutdown()
        return out


class DataSet:
    """Scenes of this process, sampled at once; `encode` renders them."""

    def __init__(self, square, wide, variants=4):
        gen, r = torch.Generator().manual_seed(1234 + 7777 * rank()), rank()
        self.counts = {SQUARE: square, WIDE: wide}
        self.scenes = world.sample_scenes(square + wide, gen, hard=world.HARD_SHARE)
        self.captions = CaptionPool(self.scenes, variants, 1000003 * (r + 1))

    def encode(self, ae, dev, seconds=None, fast=True):
        """{size: (latents fp16 [n, 16, 13, h, w], ids int16 [n, variants, 64])}. With `seconds`, stops when they are over."""
        t0, at, out = time.time(), 0, {}
        encode = torch.compile(ae.encode, dynamic=False) if fast else None
        total = sum(self.counts.values())
        for size, n in self.counts.items():
            zs, done = [], 0
            stop = None if seconds is None else t0 + seconds * (at + n) / total
            while done < n and not (stop and time.time() > stop and done):
                k = min(64, n - done)
                s = {key: v[at + done:at + done + k].to(dev) for key, v in self.scenes.items()}
                zs.append(encode_latents(ae, render.render_frames(world.pack(s, FRAMES), size), encode=encode))
                done += k
                if stop: sync()
            out[size] = torch.cat(zs), slice(at, at + done)
            at += n
        ids = self.captions.ids().to(dev)              # worded meanwhile
        out = {size: (z, ids[which]) for size, (z, which) in out.items()}
        sync()
        log("latents", {f"{k[1]}x{k[0]}": len(v[0]) for k, v in out.items()}, f"per GPU in {time.time() - t0:.1f}s, std {out[SQUARE][0][:500].float().std():.3f}")
        return out
