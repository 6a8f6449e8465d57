"""Timings of the parts that decide how much fits a budget: rendering, encoding, one training step of each model."""
import sys
import time

import torch
import torch.nn.functional as F

import render
import train_autoencoder as ta
import train_transformer as tt
import world
from autoencoder import VideoAE, encode_latents
from common import Graphed, dist_init, log


def timed(fn, n=5):
    """Milliseconds a call."""
    fn(); torch.cuda.synchronize()
    t = time.time()
    for _ in range(n): fn()
    torch.cuda.synchronize()
    return 1000 * (time.time() - t) / n


def profile(name, fn, rows=14):
    """The kernels that take longest in one call."""
    from torch.profiler import ProfilerActivity, profile as record
    with record(activities=[ProfilerActivity.CUDA]) as p:
        fn(); torch.cuda.synchronize()
    events = sorted((e for e in p.key_averages() if e.self_device_time_total > 0), key=lambda e: -e.self_device_time_total)
    log(f"-- {name}: {sum(e.self_device_time_total for e in events) / 1000:.1f} ms in {sum(e.count for e in events)} kernels")
    for e in events[:rows]: print(f"   {e.self_device_time_total / 1000:8.2f} ms {e.count:5d} x {e.key[:110]}", flush=True)


def main():
    dev, parts = dist_init(), sys.argv[1:] or ["render", "sdpa", "dit", "ae"]
    gen = torch.Generator().manual_seed(0)
    P = world.pack(world.sample_scenes(64, gen, dev), 49)
    if "render" in parts:
        for ss in (2, 1): log(f"render 64 x 49 frames ss {ss}: {timed(lambda: render.render_frames(P, ss=ss), 2):.1f} ms")
        log(f"render 64 x 49 frames wide: {timed(lambda: render.render_frames(P, (112, 192)), 2):.1f} ms")
        s = world.sample_scenes(128, gen, dev)
        log(f"pack 128: {timed(lambda: world.pack(s, 49), 3):.1f} ms")
        ae, x = VideoAE().to(dev, memory_format=torch.channels_last).half().requires_grad_(False), render.render_frames(P)
        log(f"encode 64 x 49 frames: {timed(lambda: encode_latents(ae, x), 3):.1f} ms")
    if "sdpa" in parts:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        q, k, v = (torch.randn(128, 576, 4, 64, device=dev, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(3))
        for b in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            with sdpa_kernel(b): log(f"attention {b}: {timed(lambda: torch.autograd.grad(F.scaled_dot_product_attention(q, k, v).sum(), (q, k, v))):.2f} ms")
    if "dit" in parts:
        data = {size: (torch.randn(256, 16, 13, size[0] // 8, size[1] // 8, device=dev).half(), torch.ones(256, 2, 64, device=dev, dtype=torch.int16), torch.zeros(256, 13, size[0] // 8, size[1] // 8, device=dev, dtype=torch.uint8)) for size in (tt.SQUARE, tt.WIDE)}
        for compile in (True,):
            tr = tt.Trainer(dev, data, compile=compile)
            t = time.time()
            for s in (0, 3):
                g = Graphed(lambda: tr.step(s))
                log(f"transformer compile {compile} shape {tt.SHAPES[s]}: {timed(g):.1f} ms a step (ready after {time.time() - t:.0f} s)")
            u = Graphed(tr.update)
            log(f"transformer update {timed(u):.2f} ms")
            profile("transformer step", lambda: tr.step(0), 24)
            del tr
    if "ae" in parts:
        _, vids = ta.render_pool(256, gen, dev)
        for compile in (True,):
            tr, t = ta.Trainer(dev, vids, 16, compile), time.time()
            g, u = Graphed(lambda: tr.step(True)), Graphed(tr.update)
            log(f"autoencoder compile {compile}: step {timed(g):.1f} ms, update {timed(u):.2f} ms (ready after {time.time() - t:.0f} s)")
            profile("autoencoder step", lambda: tr.step(True), 24)


if __name__ == "__main__": main()
