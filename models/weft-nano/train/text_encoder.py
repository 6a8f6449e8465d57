"""UMT5 encoder in plain PyTorch with the names of transformers' UMT5EncoderModel (compared with it in check.py)."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

TEXT_LEN, USED = 64, 40          # padded length; no caption of the grammar is longer than 40 tokens
CONFIG = {"architectures": ["UMT5EncoderModel"], "classifier_dropout": 0.0, "d_ff": 256, "d_kv": 32, "d_model": 128,
          "decoder_start_token_id": 0, "dense_act_fn": "gelu_new", "dropout_rate": 0.0, "eos_token_id": 1,
          "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_decoder": False, "is_encoder_decoder": True,
          "is_gated_act": True, "layer_norm_epsilon": 1e-06, "model_type": "umt5", "num_decoder_layers": 4, "num_heads": 4,
          "num_layers": 4, "pad_token_id": 0, "relative_attention_max_distance": 128, "relative_attention_num_buckets": 32,
          "tie_word_embeddings": True, "transformers_version": "5.17.0", "use_cache": True}


class T5Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        h = x.float()
        return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6) * self.weight.float()).to(x.dtype)


def buckets(n, device):
    """Relative-position bucket of (query, key): 32 buckets, bidirectional, maximum distance 128."""
    rel = torch.arange(n, device=device)[None] - torch.arange(n, device=device)[:, None]
    far = 8 + (torch.log(rel.abs().clamp(min=1).float() / 8) / math.log(128 / 8) * 8).long()
    return (rel > 0).long() * 16 + torch.where(rel.abs() < 8, rel.abs(), far.clamp(max=15))


class SelfAttention(nn.Module):
    def __init__(self, d, heads, dk):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(d, heads * dk, bias=False) for _ in range(3))
        self.o = nn.Linear(heads * dk, d, bias=False)
        self.relative_attention_bias = nn.Embedding(32, heads)

    def forward(self, x, mask):
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
        bias = self.relative_attention_bias(buckets(x.shape[1], x.device)).permute(2, 0, 1).float()
        a = (q.float() @ k.float().mT + bias + mask).softmax(-1).to(x.dtype)
        return self.o((a @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.wi_0, self.wi_1, self.wo = nn.Linear(d, hidden, bias=False), nn.Linear(d, hidden, bias=False), nn.Linear(hidden, d, bias=False)

    def forward(self, x): return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class _Attend(nn.Module):
    def __init__(self, d, heads, dk):
        super().__init__()
        self.SelfAttention, self.layer_norm = SelfAttention(d, heads, dk), T5Norm(d)

    def forward(self, x, mask): return x + self.SelfAttention(self.layer_norm(x), mask)


class _Feed(nn.Module):
    def __init__(self, d, hidden):
        super().__init__()
        self.DenseReluDense, self.layer_norm = Gated(d, hidden), T5Norm(d)

    def forward(self, x, mask): return x + self.DenseReluDense(self.layer_norm(x))


class _Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.layer = nn.ModuleList([_Attend(c["d_model"], c["num_heads"], c["d_kv"]), _Feed(c["d_model"], c["d_ff"])])


class _Stack(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block = nn.ModuleList([_Layer(c) for _ in range(c["num_layers"])])
        self.final_layer_norm = T5Norm(c["d_model"])


class UMT5Encoder(nn.Module):
    def __init__(self, vocab, c=CONFIG):
        super().__init__()
        self.shared = nn.Embedding(vocab, c["d_model"])
        self.encoder = _Stack(c)

    def forward(self, ids, mask):
        """ids [B, n], mask [B, n] bool -> [B, n, d]."""
        x, m = self.shared(ids), torch.where(mask, 0., -1e9)[:, None, None, :]
        for b in self.encoder.block:
            for part in b.layer: x = part(x, m)
        return self.encoder.final_layer_norm(x)


@torch.no_grad()
def initialise(te):
    """The initial scales of T5."""
    nn.init.normal_(te.shared.weight, std=1.)
    for n, p in te.named_parameters():
        if p.ndim == 2 and "shared" not in n:
            d = p.shape[1]
            nn.init.normal_(p, std=(d * 32) ** -.5 if n.endswith(".q.weight") else 128 ** -.5 if "bias" in n else d ** -.5)


def encode_text(te, ids):
    """[B, 64] ids -> [B, 64, 128], zeros after </s>; only the first 40 positions are computed."""
    ids = ids[:, :USED].long()
    mask = ids != 0
    return F.pad(te(ids, mask) * mask[..., None], (0, 0, 0, TEXT_LEN - USED))


def empty_ids(n, device):
    """The empty prompt: just </s>."""
    e = torch.zeros(n, TEXT_LEN, dtype=torch.long, device=device)
    e[:, 0] = 1
    return e
