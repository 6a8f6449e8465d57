"""The training set: rendered videos encoded to latents, with several captions each. Held in GPU memory."""
import concurrent.futures
import multiprocessing
import time

import torch
import torch.nn.functional as F

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


def objects(cover):
    """Coverage uint8 [n, 4L-3, H, W] -> uint8 [n, L, H/8, W/8]: 1 where a latent sees an object in any of its frames."""
    seen = F.max_pool2d((cover > 0).half(), 8)
    return torch.cat([seen[:, :1], seen[:, 1:].unflatten(1, (-1, 4)).amax(2)], 1).to(torch.uint8)


class DataSet:
    """Scenes of this process, sampled at once; `encode` renders them. `anew`: other ones, with more cubes and pyramids that turn."""

    def __init__(self, square, wide, variants=4, anew=False):
        r, seed, words = rank(), 1234 + 86420 * anew, 500009 * anew
        self.counts = {SQUARE: square, WIDE: wide}
        self.scenes = world.sample_scenes(square + wide, torch.Generator().manual_seed(seed + 7777 * r), **(world.HARDER if anew else world.PLAIN))
        self.captions = CaptionPool(self.scenes, variants, 1000003 * (r + 1) + words)

    def encode(self, ae, dev, seconds=None, fast=True):
        """{size: (latents fp16 [n, 16, 13, h, w], ids int16 [n, variants, 64], objects uint8 [n, 13, h, w])}. With `seconds`,
        stops when they are over."""
        t0, at, out = time.time(), 0, {}
        encode = torch.compile(ae.encode, dynamic=False) if fast else None
        total = sum(self.counts.values())
        for size, n in self.counts.items():
            zs, seen, done = [], [], 0
            stop = None if seconds is None else t0 + seconds * (at + n) / total
            while done < n and not (stop and time.time() > stop and done):
                k = min(64, n - done)
                s = {key: v[at + done:at + done + k].to(dev) for key, v in self.scenes.items()}
                x = render.render_frames(world.pack(s, FRAMES), size, mask=True)
                zs.append(encode_latents(ae, x[:, :, :3], encode=encode)); seen.append(objects(x[:, :, 3]))
                done += k
                if stop: sync()
            out[size] = torch.cat(zs), slice(at, at + done), torch.cat(seen)
            at += n
        ids = self.captions.ids().to(dev)              # worded meanwhile
        out = {size: (z, ids[which], seen) for size, (z, which, seen) in out.items()}
        sync()
        log("latents", {f"{k[1]}x{k[0]}": len(v[0]) for k, v in out.items()}, f"per GPU in {time.time() - t0:.1f}s, std {out[SQUARE][0][:500].float().std():.3f}")
        return out
