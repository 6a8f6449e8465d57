"""Parameter blocks (world.py) to pixels: a CUDA kernel through CuPy, or a g++ build of the same source on the CPU."""
import ctypes
import os
import subprocess
import tempfile

import torch

_SRC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "render.cu.h")
_kernel = None


def _cuda_kernel():
    global _kernel
    if _kernel is None:
        import cupy
        with open(_SRC) as f: _kernel = cupy.RawKernel(f.read(), "render", options=("--std=c++17", "--use_fast_math"))
    return _kernel


def _cpu_kernel():
    global _kernel
    if _kernel is None:
        so = os.path.join(tempfile.mkdtemp(), "render.so")
        subprocess.check_call(["g++", "-O3", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-x", "c++", _SRC, "-o", so])
        _kernel = ctypes.CDLL(so).render
    return _kernel


def render_frames(P, size=(128, 128), mask=False, ss=2):
    """Blocks [..., 64] -> uint8 frames [..., 3, H, W]; with `mask` a fourth plane holds the objects' coverage."""
    (H, W), lead, planes = size, P.shape[:-1], 4 if mask else 3
    P = P.reshape(-1, 64).contiguous().float()
    out = torch.empty(len(P), planes, H, W, dtype=torch.uint8, device=P.device)
    if P.is_cuda:
        import cupy
        kernel = _cuda_kernel()
        with cupy.cuda.Device(P.device.index or 0), cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            for a in range(0, len(P), 32768):
                b = min(len(P), a + 32768)
                kernel(((W + 15) // 16, (H + 7) // 8, b - a), (16, 8, 1), (cupy.asarray(P[a:b]), cupy.asarray(out[a:b]),
                       cupy.int32(b - a), cupy.int32(W), cupy.int32(H), cupy.int32(ss), cupy.int32(planes)))
    else:
        _cpu_kernel()(ctypes.c_void_p(P.data_ptr()), ctypes.c_void_p(out.data_ptr()), len(P), W, H, ss, planes)
    return out.reshape(*lead, planes, H, W)
