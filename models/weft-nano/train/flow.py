"""Flow matching: noise levels, velocity, the Euler sampler, and building or loading base models and students."""
import torch

import captions
from carry import unpack
from text_encoder import UMT5Encoder, empty_ids, encode_text
from text_encoder import initialise as initialise_text
from transformer import WanTransformer3DModel, initialise

SHIFT = 3.0
FEWSTEP = [1.0, .9, .75, .5, 0.0]                       # u = 1, .75, .5, .25 shifted by 3
UNGUIDED = .5                                           # noise level from which on guidance would only draw corners out
FEWER = {4: FEWSTEP, 2: [1.0, .75, 0.0], 1: [1.0, 0.0]}   # the student at fewer steps than it was trained for


def build(device="cuda"):
    """A fresh transformer and text encoder."""
    dit, te = WanTransformer3DModel(), UMT5Encoder(len(captions.vocabulary()))
    initialise(dit); initialise_text(te)
    return dit.to(device), te.to(device)


def shift_sigma(u, s=SHIFT): return s * u / (1 + (s - 1) * u)


def sample_sigma(n, device, s=2.0, low=0.):
    """Training noise levels: logit-normal, a tenth uniform, shifted; a share `low` of them drawn anew, evenly from 0 to .5."""
    u = torch.sigmoid(torch.randn(n, device=device))
    u = torch.where(torch.rand(n, device=device) < .1, torch.rand(n, device=device), u)
    sigma = shift_sigma(u, s)
    if low: sigma = torch.where(torch.rand(n, device=device) < low, .5 * torch.rand(n, device=device), sigma)
    return sigma.clamp(1e-3, 1)


def over(t): return t[:, None, None, None, None]


def velocity(dit, x, sigma, ctx): return dit(x, sigma * 1000., ctx)


def guided(dit, x, sigma, ctx, null, cfg):
    """Velocity under classifier-free guidance, both branches in one batch."""
    c, u = velocity(dit, torch.cat([x, x]), torch.cat([sigma, sigma]), torch.cat([ctx, null])).chunk(2)
    return u + cfg * (c - u)


def schedule(steps, shift=SHIFT):
    """Flow-match Euler sigmas: linspace(1, 1/N, N) shifted, then 0."""
    return torch.cat([shift_sigma(torch.linspace(1, 1 / steps, steps), shift), torch.zeros(1)]).tolist()


@torch.no_grad()
def sample(dit, noise, ctx, null=None, steps=None, sigmas=None, cfg=1., until=0., trace=None):
    """Euler sampler, optionally guided while the noise is above `until`; `trace` collects the state after each step."""
    sig, x = sigmas or schedule(steps), noise
    for a, b in zip(sig[:-1], sig[1:]):
        t = torch.full((len(x),), a, device=x.device)
        v = guided(dit, x, t, ctx, null, cfg) if cfg != 1 and a > until else velocity(dit, x, t, ctx)
        x = x + (b - a) * v
        if trace is not None: trace.append(x.clone())
    return x


@torch.no_grad()
def generate(dit, te, texts, size=(128, 128), L=9, seed=0, batch=64, **kw):
    """Latents [n, 16, L, H/8, W/8] for captions; keyword arguments go to sample()."""
    dev = next(dit.parameters()).device
    g, ids, out = torch.Generator().manual_seed(seed), captions.encode_captions(texts).to(dev), []
    null = encode_text(te, empty_ids(1, dev)).float()
    noise = torch.randn(len(ids), 16, L, size[0] // 8, size[1] // 8, generator=g)
    for b, n in zip(ids.split(batch), noise.split(batch)):
        ctx = encode_text(te, b).float()
        out.append(sample(dit, n.to(dev), ctx, null.expand_as(ctx), **kw))
    return torch.cat(out)


def save_weights(path, **states):
    """Checkpoint of fp16 state dicts."""
    torch.save({k: {n: t.half().cpu().contiguous() for n, t in s.items()} for k, s in states.items()}, path)


def load_into(dit, te, path, device):
    """A checkpoint's weights, in fp32, into a transformer and its text encoder."""
    w = torch.load(path, map_location=device)
    dit.load_state_dict({k: unpack(v).float() for k, v in w["dit"].items()})
    if "te" in w: te.load_state_dict({k: unpack(v).float() for k, v in w["te"].items()})


def load_models(path, device="cuda", dtype=None):
    """Frozen (transformer, text encoder) of a checkpoint; the transformer is rounded to `dtype` (bf16 on a GPU)."""
    dit, te = build(device)
    load_into(dit, te, path, device)
    dtype = dtype or (torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32)
    return dit.eval().requires_grad_(False).to(dtype), te.eval().requires_grad_(False)
