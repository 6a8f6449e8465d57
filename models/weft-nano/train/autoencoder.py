"""Small causal video autoencoder with the TAEHV layer layout and state-dict names.

8x8 spatial and 4x temporal compression, 16 latent channels. Encoding prepends three copies of the first frame, so
4L-3 frames <-> L latents: latent 0 holds frame 0, latent i holds frames 4i-3..4i. Decoding yields 4L frames, the first
three are dropped. Latents are normalised by the encoder's last convolution, hence latents_mean 0 and latents_std 1.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

# Channels at full, half, quarter and eighth size. Channels at small sizes cost next to nothing, and only the decoder is shipped.
ENC_WIDTHS, DEC_WIDTHS, LATENT = (40, 40, 96, 128), (96, 96, 32, 24), 16


def c3(i, o, **k): return nn.Conv2d(i, o, 3, padding=1, **k)


class Clamp(nn.Module):
    def forward(self, x): return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """Residual block that also sees its own input at the previous time step."""

    def __init__(self, c):
        super().__init__()
        self.conv = nn.Sequential(c3(2 * c, c), nn.ReLU(), c3(c, c), nn.ReLU(), c3(c, c))

    def forward(self, x, n: int):
        """[n*t, c, h, w], frames of a clip next to each other."""
        y = x.unflatten(0, (n, -1))
        past = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1).flatten(0, 1)
        return F.relu(self.conv(torch.cat([x, past], 1)) + x)


class TPool(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.stride, self.conv = stride, nn.Conv2d(c * stride, c, 1, bias=False)

    def forward(self, x): return self.conv(x.reshape(-1, self.stride * x.shape[1], *x.shape[2:]))


class TGrow(nn.Module):
    def __init__(self, c, stride):
        super().__init__()
        self.stride, self.conv = stride, nn.Conv2d(c, c * stride, 1, bias=False)

    def forward(self, x):
        """A 1x1 convolution commutes with the nearest upsampling in front of it, so run() applies it first."""
        return self.conv(x).reshape(-1, x.shape[1], *x.shape[2:])


def run(seq, x, n):
    """Apply a block sequence to [n*t, c, h, w]; TGrow trades places with the upsampling before it (same result)."""
    blocks = list(seq)
    for i in range(len(blocks) - 1):
        if isinstance(blocks[i], nn.Upsample) and isinstance(blocks[i + 1], TGrow): blocks[i], blocks[i + 1] = blocks[i + 1], blocks[i]
    for b in blocks:
        x = b(x, n) if isinstance(b, MemBlock) else b(x)
        if isinstance(b, (TPool, TGrow)): x = x.contiguous(memory_format=torch.channels_last)
    return x


class VideoAE(nn.Module):
    """Encoder and decoder; see config() for the layout."""

    def __init__(self, ew=ENC_WIDTHS, dw=DEC_WIDTHS, z=LATENT):
        super().__init__()
        self.encoder_widths, enc = tuple(ew), [c3(3, ew[0]), nn.ReLU()]
        for i, s in enumerate((2, 2, 1)): enc += [TPool(ew[i], s), c3(ew[i], ew[i + 1], stride=2, bias=False)] + [MemBlock(ew[i + 1]) for _ in range(3)]
        self.encoder = nn.Sequential(*enc, c3(ew[3], z))
        dec = [Clamp(), c3(z, dw[0]), nn.ReLU()]
        for i, s in enumerate((1, 2, 2)):
            dec += [MemBlock(dw[i]) for _ in range(3)] + [nn.Upsample(scale_factor=2), TGrow(dw[i], s), c3(dw[i], dw[i + 1], bias=False)]
        self.decoder = nn.Sequential(*dec, nn.ReLU(), c3(dw[3], 3))

    def encode(self, x):
        """[n, F, 3, H, W] in 0..1 -> [n, L, 16, H/8, W/8], F = 4L-3."""
        x, n = torch.cat([x[:, :1].expand(-1, 3, -1, -1, -1), x], 1), len(x)
        y = run(self.encoder, x.flatten(0, 1).contiguous(memory_format=torch.channels_last), n)
        return y.unflatten(0, (n, -1))

    def decode(self, z):
        """[n, L, 16, h, w] -> [n, 4L-3, 3, 8h, 8w] (unclamped)."""
        n = len(z)
        return run(self.decoder, z.flatten(0, 1).contiguous(memory_format=torch.channels_last), n).unflatten(0, (n, -1))[:, 3:]


def config(ae):
    """The keys of vae/config.json."""
    return {"_class_name": "AutoencoderTAEHV", "latent_channels": LATENT, "z_dim": LATENT, "encoder_widths": list(ae.encoder_widths),
            "decoder_widths": list(DEC_WIDTHS), "patch_size": 1, "encoder_time_downscale": [True, True, False],
            "decoder_time_upscale": [False, True, True], "decoder_space_upscale": [True, True, True], "scale_factor_spatial": 8,
            "scale_factor_temporal": 4, "frames_to_trim": 3, "encode_front_pad": 3, "latents_mean": [0.0] * LATENT, "latents_std": [1.0] * LATENT}


@torch.no_grad()
def initialise(ae):
    """He-scaled noise plus an averaging/identity path, so that colours flow through from the first step."""
    for n, m in ae.named_modules():
        if not isinstance(m, nn.Conv2d): continue
        w = m.weight
        o, i = w.shape[:2]
        relu = (".conv." in n and m.kernel_size == (3, 3)) or n in ("encoder.0", "decoder.1")
        nn.init.normal_(w, std=math.sqrt((2. if relu else 1.) / w[0].numel()) * (.05 if n.endswith("conv.4") else 1.))
        if m.bias is not None: nn.init.zeros_(m.bias)
        d = torch.arange(o)
        if n == "encoder.0":
            w.mul_(.5); w[:3] = 0; w[d[:3], d[:3], 1, 1] = 1.
        elif m.kernel_size == (1, 1) and i == 2 * o: w.mul_(.4); w[d, d, 0, 0] += .5; w[d, d + o, 0, 0] += .5      # TPool
        elif m.kernel_size == (1, 1): w.mul_(.3); w[d, d % i, 0, 0] += 1.                                          # TGrow
        elif m.stride == (2, 2): w.mul_(.4); w[d[:i], d[:i]] += 1 / 9
        elif n.startswith("decoder") and m.bias is None:
            q = torch.linalg.qr(torch.randn(max(i, o), min(i, o)))[0].to(w.device)
            w.mul_(.4); w[:, :, 1, 1] += .9 * (q.T if o < i else q)


def from_state(sd):
    """The autoencoder of a state dict, whose encoder may have any widths, in fp32."""
    ae = VideoAE([len(sd[f"encoder.{i}.weight"]) for i in (0, 3, 8, 13)])
    ae.load_state_dict({k: v.float() for k, v in sd.items()})
    return ae


@torch.no_grad()
def widen(old, widths=ENC_WIDTHS):
    """An autoencoder whose encoder has `widths` channels, none below the old ones, and gives the old one's latents: channels that
    were there see only each other, new ones see everything and are seen by nobody yet. The decoder stays."""
    ae = VideoAE(widths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)                     # the same in every process
        initialise(ae)
    ae.decoder.load_state_dict(old.decoder.state_dict())
    parts = {n + ".conv": m.stride for n, m in ae.encoder.named_modules() if isinstance(m, TPool)}
    parts |= {n + ".conv.0": 2 for n, m in ae.encoder.named_modules() if isinstance(m, MemBlock)}         # inputs of so many frames, one after the other
    kept = dict(old.encoder.named_modules())
    for n, m in ae.encoder.named_modules():
        if not isinstance(m, nn.Conv2d): continue
        w, o = (c.weight.unflatten(1, (parts.get(n, 1), -1)) for c in (m, kept[n]))
        w[:len(o)] = 0
        w[:len(o), :, :o.shape[2]] = o
        if m.bias is not None: m.bias[:len(o)] = kept[n].bias
    return ae


def load_ae(path, device="cuda"):
    """Frozen autoencoder from a checkpoint; bf16 on a GPU, fp32 elsewhere."""
    ae = from_state(torch.load(path, map_location="cpu"))
    ae = ae.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    return ae.half() if torch.device(device).type == "cuda" else ae


@torch.no_grad()
def encode_latents(ae, frames_u8, batch=64, encode=None):
    """uint8 [n, F, 3, H, W] -> fp16 [n, 16, L, h, w], the transformer's layout. `encode`: a compiled ae.encode."""
    dtype, encode = ae.encoder[0].weight.dtype, encode or ae.encode
    return torch.cat([encode(b.to(dtype) / 255).transpose(1, 2).half() for b in frames_u8.split(batch)]).contiguous()


@torch.no_grad()
def decode_latents(ae, z, batch=32):
    """[n, 16, L, h, w] -> uint8 [n, F, 3, H, W]."""
    dtype = ae.encoder[0].weight.dtype
    return torch.cat([(ae.decode(b.transpose(1, 2).to(dtype)).float().clamp(0, 1) * 255).round().byte() for b in z.split(batch)])
