"""The last layer of a finished decoder, solved anew by least squares: a cheap repair of colours, on a CPU in a minute.

    python refit_decoder.py work/ae.pt out/ae.pt [--clips 24]
Worth it only for a decoder that was not trained to its end; more training (train.py --stages decoder) does far better.
"""
import argparse

import torch

import render
import world
from autoencoder import load_ae, run

PAD = 1


def clips(seed, n, frames=17):
    """float [n, frames, 3, 128, 128] in 0..1: fresh renders."""
    scenes = world.sample_scenes(n, torch.Generator().manual_seed(seed), "cpu")
    return render.render_frames(world.pack(scenes, frames), (128, 128)).float() / 255


def features(ae, x):
    """What the last layer reads, [n, frames, c, 128, 128]."""
    z = ae.encode(x)
    return run(ae.decoder[:-1], z.flatten(0, 1), len(z)).unflatten(0, (len(z), -1))[:, 3:]


def psnr(layer, x, h):
    y = layer(h.flatten(0, 1)).clamp(0, 1).unflatten(0, h.shape[:2])
    return -10 * (y - x).square().mean((1, 2, 3, 4)).log10()


def normal_equations(ae, seeds):
    """Gram matrix of the layer's inputs (a row of ones last) and their products with the wanted colours."""
    gram = products = 0
    for seed in seeds:
        x = clips(seed, 2)
        for h, y in zip(features(ae, x).flatten(0, 1), x.flatten(0, 1)):
            u = torch.nn.functional.unfold(h[None], 3, padding=PAD)[0]
            u = torch.cat([u, torch.ones(1, u.shape[1])])
            gram, products = gram + (u @ u.T).double(), products + (u @ y.flatten(1).T).double()
    return gram, products


@torch.no_grad()
def refit(ae, seeds, ridge=1e-4):
    """Solve, drawn towards the present weights by `ridge` times the mean input power."""
    layer = ae.decoder[-1]
    gram, products = normal_equations(ae, seeds)
    pull = ridge * gram.diagonal().mean()
    old = torch.cat([layer.weight.flatten(1).T, layer.bias[None]]).double()
    new = torch.linalg.solve(gram + pull * torch.eye(len(gram)), products + pull * old).float()
    layer.weight.copy_(new[:-1].T.reshape(layer.weight.shape))
    layer.bias.copy_(new[-1])


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("source")
    ap.add_argument("out")
    ap.add_argument("--clips", type=int, default=24, help="17-frame renders to fit")
    a = ap.parse_args()
    ae = load_ae(a.source, "cpu")
    x = clips(99, 6)                                       # never among the fitted ones
    h = features(ae, x)
    before = psnr(ae.decoder[-1], x, h)
    refit(ae, range(1000, 1000 + a.clips // 2))
    after = psnr(ae.decoder[-1], x, h)
    print(f"held-out psnr {before.mean():.2f} -> {after.mean():.2f}, worst {before.min():.2f} -> {after.min():.2f}")
    torch.save({k: v.half() for k, v in ae.state_dict().items()}, a.out)


if __name__ == "__main__": main()
