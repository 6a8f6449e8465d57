"""WanTransformer3DModel in plain PyTorch, with diffusers' parameter names (tested against its outputs in check.py).

Residual stream in the dtype of the weights; norms, modulation and rotary arithmetic in fp32.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {"_class_name": "WanTransformer3DModel", "_diffusers_version": "0.40.0.dev0", "added_kv_proj_dim": None,
          "attention_head_dim": 64, "cross_attn_norm": True, "eps": 1e-06, "ffn_dim": 1024, "freq_dim": 256, "image_dim": None,
          "in_channels": 16, "num_attention_heads": 4, "num_layers": 12, "out_channels": 16, "patch_size": [1, 2, 2],
          "pos_embed_seq_len": None, "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 1024, "text_dim": 128}


class RMS(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))


def rms(x, w, eps=1e-6):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * w.float()


def layer_norm(x, eps=1e-6): return F.layer_norm(x.float(), x.shape[-1:], None, None, eps)


def rotate(x, cos, sin):
    """Rotary embedding of [B, N, H, d] on adjacent pairs; `sin` carries the alternating sign."""
    return x * cos + x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) * sin


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(d, d) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(d, d)])
        self.norm_q, self.norm_k = RMS(d), RMS(d)

    def forward(self, x, ctx=None, cos=None, sin=None):
        B, N, D = x.shape
        if ctx is None:
            w = torch.cat([self.to_q.weight, self.to_k.weight, self.to_v.weight])
            q, k, v = F.linear(x, w, torch.cat([self.to_q.bias, self.to_k.bias, self.to_v.bias])).chunk(3, -1)
        else:
            q = self.to_q(x)
            k, v = F.linear(ctx, torch.cat([self.to_k.weight, self.to_v.weight]), torch.cat([self.to_k.bias, self.to_v.bias])).chunk(2, -1)
        q, k = (rms(t, n.weight).unflatten(-1, (self.heads, -1)) for t, n in ((q, self.norm_q), (k, self.norm_k)))
        if cos is not None: q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        q, k, v = (t.to(x.dtype).transpose(1, 2) for t in (q, k, v.unflatten(-1, (self.heads, -1))))
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Proj(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.proj = nn.Linear(i, o)

    def forward(self, x): return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.net = nn.ModuleList([_Proj(d, hidden), nn.Identity(), nn.Linear(hidden, d)])

    def forward(self, x): return self.net[2](self.net[0](x))


class Block(nn.Module):
    def __init__(self, d, heads, hidden):
        super().__init__()
        self.attn1, self.attn2, self.ffn = Attention(d, heads), Attention(d, heads), FeedForward(d, hidden)
        self.norm2 = nn.LayerNorm(d, eps=1e-6)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, d) / d ** .5)

    def forward(self, x, ctx, e, cos, sin):
        """x [B, N, D], ctx [B, T, D], e [B, 6, D]."""
        s1, c1, g1, s2, c2, g2 = (self.scale_shift_table.float() + e.float()).unsqueeze(2).unbind(1)
        h = (layer_norm(x) * (1 + c1) + s1).to(x.dtype)
        x = (x.float() + g1 * self.attn1(h, None, cos, sin).float()).to(x.dtype)
        h = (layer_norm(x) * self.norm2.weight.float() + self.norm2.bias.float()).to(x.dtype)
        x = x + self.attn2(h, ctx)
        h = (layer_norm(x) * (1 + c2) + s2).to(x.dtype)
        return (x.float() + g2 * self.ffn(h).float()).to(x.dtype)


class _Pair(nn.Module):
    def __init__(self, i, d):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(i, d), nn.Linear(d, d)


class Conditions(nn.Module):
    def __init__(self, d, text_dim, freq_dim):
        super().__init__()
        self.freq_dim = freq_dim
        self.time_embedder, self.text_embedder = _Pair(freq_dim, d), _Pair(text_dim, d)
        self.time_proj = nn.Linear(d, 6 * d)

    def forward(self, t, text):
        half = self.freq_dim // 2
        arg = t.float()[:, None] * torch.exp(-math.log(10000.) * torch.arange(half, device=t.device).float() / half)
        dtype = self.time_proj.weight.dtype
        te, tx = self.time_embedder, self.text_embedder
        temb = te.linear_2(F.silu(te.linear_1(torch.cat([arg.cos(), arg.sin()], -1).to(dtype))))
        ctx = tx.linear_2(F.gelu(tx.linear_1(text.to(dtype)), approximate="tanh"))
        return temb, self.time_proj(F.silu(temb)).unflatten(-1, (6, -1)), ctx


class WanTransformer3DModel(nn.Module):
    def __init__(self, cfg=CONFIG):
        super().__init__()
        heads, hd = cfg["num_attention_heads"], cfg["attention_head_dim"]
        d = heads * hd
        self.hd, self.patch, self.out = hd, tuple(cfg["patch_size"]), cfg["out_channels"]
        self.patch_embedding = nn.Conv3d(cfg["in_channels"], d, self.patch, self.patch)
        self.condition_embedder = Conditions(d, cfg["text_dim"], cfg["freq_dim"])
        self.blocks = nn.ModuleList([Block(d, heads, cfg["ffn_dim"]) for _ in range(cfg["num_layers"])])
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, d) / d ** .5)
        self.proj_out = nn.Linear(d, cfg["out_channels"] * math.prod(self.patch))
        self.rope = {}

    def _rope(self, grid, device):
        """cos and signed sin [N, 1, head_dim] of a token grid (frames, rows, columns)."""
        key = (*grid, str(device))
        if key not in self.rope:
            side = 2 * (self.hd // 6)
            angles = []
            for axis, n, dim in zip(range(3), grid, (self.hd - 2 * side, side, side)):
                f = 10000. ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
                a = torch.arange(n, dtype=torch.float64)[:, None] * f
                shape = [1, 1, 1, dim // 2]
                shape[axis] = n
                angles.append(a.view(shape).expand(*grid, dim // 2))
            a = torch.cat(angles, -1).reshape(-1, 1, self.hd // 2).repeat_interleave(2, -1)
            sign = torch.tensor([-1., 1.], dtype=torch.float64).repeat(self.hd // 2)
            self.rope[key] = a.cos().float().to(device), (a.sin() * sign).float().to(device)
        return self.rope[key]

    def forward(self, x, t, text):
        """Latents [B, C, T, H, W], timesteps [B] in 0..1000, text [B, 64, text_dim] -> velocity, fp32."""
        B, C, T, H, W = x.shape
        _, ph, pw = self.patch
        h, w = H // ph, W // pw
        dtype = self.proj_out.weight.dtype
        cos, sin = self._rope((T, h, w), x.device)
        tokens = x.to(dtype).view(B, C, T, h, ph, w, pw).permute(0, 2, 3, 5, 1, 4, 6).reshape(B, T * h * w, -1)
        y = F.linear(tokens, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        temb, e, ctx = self.condition_embedder(t, text)
        for b in self.blocks: y = b(y, ctx, e, cos, sin)
        shift, scale = (self.scale_shift_table.float() + temb.float().unsqueeze(1)).chunk(2, 1)
        y = self.proj_out((layer_norm(y) * (1 + scale) + shift).to(dtype))
        return y.float().view(B, T, h, w, ph, pw, self.out).permute(0, 6, 1, 2, 4, 3, 5).reshape(B, self.out, T, H, W)


@torch.no_grad()
def initialise(dit):
    """Output and cross-attention start at zero, gates half open."""
    nn.init.zeros_(dit.proj_out.weight); nn.init.zeros_(dit.proj_out.bias)
    nn.init.normal_(dit.condition_embedder.time_proj.weight, std=.01); nn.init.zeros_(dit.condition_embedder.time_proj.bias)
    for b in dit.blocks:
        nn.init.zeros_(b.attn2.to_out[0].weight); nn.init.zeros_(b.attn2.to_out[0].bias)
        b.scale_shift_table[:, 2] += .5; b.scale_shift_table[:, 5] += .5


def compile_blocks(dit):
    """Compile the transformer blocks (one compilation per shape serves all of them)."""
    import torch._dynamo.config as dc
    dc.recompile_limit = 256
    dc.accumulated_recompile_limit = 4096
    for b in dit.blocks: b.compile(dynamic=False)
