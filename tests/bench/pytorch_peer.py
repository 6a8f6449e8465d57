"""The same work in PyTorch on the same card, for the tables of `npm run bench -- --peer-json FILE`.

    python3 tests/bench/pytorch_peer.py [--out FILE] [--repetitions 5] [linear] [attention] [forward]

Prints JSON with the rows of tests/bench/bench_row.ts. Needs torch with CUDA and nothing else; about 60 s on an H200.
Kernels are timed by CUDA events around several launches, forward passes by the wall clock until the GPU is idle.
Errors are relative to float64 on sampled rows, as ours are. bf16 and f16 rows both have the type "f16".
"""

import argparse
import datetime
import json
import math
import platform
import statistics
import sys
import time

import torch
import torch.nn.functional as F

LARGE = [(m, n, k) for m in (14_040, 32_760) for n, k in ((1536, 1536), (4608, 1536), (8960, 1536), (1536, 8960))]
EMBEDDED = [(576, 256, 256), (576, 768, 256), (576, 1024, 256), (576, 256, 1024)]
ATTENTION = [(12, 128, 14_040), (12, 128, 32_760), (4, 64, 576)]
FRAMES = [33, 81]
PRECISION = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "f16"}
NAME = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}
BUSY_SECONDS = 0.2
"""How long the card works before it is timed, so that it leaves its idle clocks, and how long a timed loop is."""


def gpu_milliseconds(launch, repetitions: int) -> float:
    """Median time of a launch, from events around loops of launches."""
    start = time.perf_counter()
    launch()
    torch.cuda.synchronize()
    first = time.perf_counter() - start
    loops = 1
    start = time.perf_counter()
    while time.perf_counter() - start < BUSY_SECONDS:
        launch()
        torch.cuda.synchronize()
        loops += 1
    loops = max(1, min(loops, 100, round(BUSY_SECONDS / max(first, 1e-5))))
    times = []
    for _ in range(repetitions):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(loops):
            launch()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / loops)
    return statistics.median(times)


def row(work: str, variant: str, precision: str, milliseconds: float, **rest) -> dict:
    entry = {"work": work, "by": "pytorch", "variant": variant, "precision": precision, "clock": "gpu"}
    entry |= {"milliseconds": milliseconds, **rest}
    print(f"{work}  {variant}: {milliseconds:.4g} ms", file=sys.stderr, flush=True)
    return entry


def relative_error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


def linear_rows(repetitions: int) -> list[dict]:
    rows = []
    for m, n, k in LARGE + EMBEDDED:
        work = f"linear {m}x{n}x{k}"
        flops = 2 * m * n * k
        sample = torch.arange(8, device="cuda") * 7919 % m
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            x = torch.randn(m, k, device="cuda", dtype=dtype)
            w = torch.randn(n, k, device="cuda", dtype=dtype) / math.sqrt(k)
            b = torch.zeros(n, device="cuda", dtype=dtype)
            error = relative_error(F.linear(x, w, b)[sample], x[sample].double() @ w.double().T)
            ms = gpu_milliseconds(lambda: F.linear(x, w, b), repetitions)
            variant = f"{NAME[dtype]} F.linear"
            rest = {"teraflops": flops / ms / 1e9, "relativeError": error, "repetitions": repetitions}
            rows.append(row(work, variant, PRECISION[dtype], ms, **rest))
        x = torch.randint(-127, 128, (m, k), device="cuda", dtype=torch.int8)
        w = torch.randint(-127, 128, (n, k), device="cuda", dtype=torch.int8)
        ms = gpu_milliseconds(lambda: torch._int_mm(x, w.T), repetitions)
        error = relative_error(torch._int_mm(x, w.T)[sample], x[sample].double() @ w.double().T)
        rest = {"teraflops": flops / ms / 1e9, "relativeError": error, "repetitions": repetitions}
        rows.append(row(work, "int8 torch._int_mm, sums only", "int8", ms, **rest))
    return rows


def attention_rows(repetitions: int) -> list[dict]:
    rows = []
    for heads, head_dim, tokens in ATTENTION:
        work = f"attention {heads}x{head_dim}, {tokens} tokens"
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            q, k, v = (1.7 * (2 * torch.rand(1, heads, tokens, head_dim, device="cuda") - 1) for _ in range(3))
            q, k, v = (x.to(dtype) for x in (q, k, v))
            sample = torch.arange(6, device="cuda") * 7919 % tokens
            found = F.scaled_dot_product_attention(q, k, v)[:, :, sample]
            logits = q[:, :, sample].double() @ k.double().transpose(-1, -2) / math.sqrt(head_dim)
            error = relative_error(found, logits.softmax(-1) @ v.double())
            ms = gpu_milliseconds(lambda: F.scaled_dot_product_attention(q, k, v), repetitions)
            kernel = "memory-efficient" if dtype == torch.float32 else "flash"
            teraflops = 4 * heads * head_dim * tokens**2 / ms / 1e9
            rest = {"teraflops": teraflops, "relativeError": error, "repetitions": repetitions}
            rows.append(row(work, f"{NAME[dtype]} SDPA, {kernel}", PRECISION[dtype], ms, **rest))
    return rows


class Attention(torch.nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v, self.to_out = (torch.nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = torch.nn.RMSNorm(dim, eps=1e-6), torch.nn.RMSNorm(dim, eps=1e-6)

    def forward(self, x, context, rotary=None):
        q, k, v = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(context)), self.to_v(context)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in (q, k, v))
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.to_out(out.transpose(-3, -2).flatten(-2))


def rotate(x, cos, sin):
    """Elements 2j and 2j + 1 turn by the angle of pair j, as in diffusers' transformer_wan.py."""
    even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).type_as(x)


class Block(torch.nn.Module):
    """WanTransformerBlock (diffusers, transformer_wan.py)."""

    def __init__(self, dim: int, ffn_dim: int, heads: int):
        super().__init__()
        self.norm1, self.norm3 = (torch.nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False) for _ in range(2))
        self.norm2 = torch.nn.LayerNorm(dim, eps=1e-6)
        self.attn1, self.attn2 = Attention(dim, heads), Attention(dim, heads)
        gelu = torch.nn.GELU(approximate="tanh")
        self.ffn = torch.nn.Sequential(torch.nn.Linear(dim, ffn_dim), gelu, torch.nn.Linear(ffn_dim, dim))
        self.scale_shift_table = torch.nn.Parameter(torch.randn(1, 6, dim) / dim**0.5)

    def forward(self, x, text, timestep_proj, rotary):
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = (self.scale_shift_table + timestep_proj).chunk(6, 1)
        h = (self.norm1(x.float()) * (1 + scale) + shift).type_as(x)
        x = (x.float() + self.attn1(h, h, rotary) * gate).type_as(x)
        h = F.layer_norm(x.float(), x.shape[-1:], self.norm2.weight.float(), self.norm2.bias.float(), 1e-6)
        x = x + self.attn2(h.type_as(x), text)
        h = (self.norm3(x.float()) * (1 + ffn_scale) + ffn_shift).type_as(x)
        return (x.float() + self.ffn(h).float() * ffn_gate).type_as(x)


def forward_rows(repetitions: int) -> list[dict]:
    """30 blocks of 12 heads x 128 in bf16, eager; embeddings and head, less than 1 % of the time, are left out."""
    dim, ffn_dim, heads, layers = 1536, 8960, 12, 30
    dtype = torch.bfloat16
    with torch.device("cuda"), torch.no_grad():
        torch.set_default_dtype(dtype)
        blocks = [Block(dim, ffn_dim, heads) for _ in range(layers)]
        torch.set_default_dtype(torch.float32)
        rows = []
        for frames in FRAMES:
            tokens = ((frames - 1) // 4 + 1) * 1560
            first, text = torch.randn(1, tokens, dim, dtype=dtype), torch.randn(1, 512, dim, dtype=dtype)
            timestep_proj = torch.randn(1, 6, dim)
            angles = torch.rand(tokens, dim // heads // 2)
            rotary = (angles.cos(), angles.sin())
            times = []
            torch.cuda.reset_peak_memory_stats()
            for index in range(-2, repetitions):
                torch.cuda.synchronize()
                start = time.perf_counter()
                x = first
                for block in blocks:
                    x = block(x, text, timestep_proj, rotary)
                torch.cuda.synchronize()
                if index >= 0:
                    times.append(1000 * (time.perf_counter() - start))
            ms = statistics.median(times)
            flops = layers * (2 * tokens * (6 * dim * dim + 2 * dim * ffn_dim) + 4 * tokens * tokens * dim)
            rest = {"teraflops": flops / ms / 1e9, "repetitions": repetitions, "clock": "wall"}
            rest["details"] = {"peak GB": f"{torch.cuda.max_memory_allocated() / 1e9:.2f}"}
            work = f"forward 1.3B, {frames} frames 480x832, full"
            rows.append(row(work, "bf16, eager, flash attention, 30 blocks", "f16", ms, **rest))
    return rows


BENCHES = {"linear": linear_rows, "attention": attention_rows, "forward": forward_rows}


def main() -> None:
    parser = argparse.ArgumentParser(description="Times the work of Weft's benches in PyTorch.")
    parser.add_argument("benches", nargs="*", help=f"which: {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--out", help="file for the JSON (default: stdout)")
    parser.add_argument("--repetitions", type=int, default=5, help="runs of which the median is taken")
    arguments = parser.parse_args()
    unknown = set(arguments.benches) - BENCHES.keys()
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    if not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; run this on the machine with the card")
    machine = {
        "device": torch.cuda.get_device_name(),
        "date": datetime.date.today().isoformat(),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
    }
    tables = []
    for name, bench in BENCHES.items():
        if not arguments.benches or name in arguments.benches:
            tables.append({"bench": name, "rows": bench(arguments.repetitions), "notes": []})
            torch.cuda.empty_cache()
    text = json.dumps({"machine": machine, "tables": tables}, indent=1)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
