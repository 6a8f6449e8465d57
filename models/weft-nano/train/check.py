"""Compare this folder's text encoder and transformer with reference tensors made elsewhere, for instance by diffusers.

    python check.py MODEL_FOLDER        # f16 weights and reference/case*.safetensors; prints relative L2 distances
"""
import glob
import sys

import torch
from safetensors.torch import load_file

from flow import velocity
from text_encoder import UMT5Encoder, encode_text
from transformer import WanTransformer3DModel


def load(module, path):
    """The module with a file's weights, in fp32."""
    module.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return module.eval().requires_grad_(False)


def distance(a, b): return ((a.float() - b.float()).norm() / b.float().norm()).item()


if __name__ == "__main__":
    folder = sys.argv[1]
    words = load_file(f"{folder}/text_encoder/model.safetensors")["shared.weight"].shape[0]
    te = load(UMT5Encoder(words), f"{folder}/text_encoder/model.safetensors")
    dit = load(WanTransformer3DModel(), f"{folder}/transformer_fewstep/diffusion_pytorch_model.safetensors")
    for path in sorted(glob.glob(f"{folder}/reference/case*.safetensors")):
        t = load_file(path)
        ctx = encode_text(te, t["token_ids"][None].long())
        v = velocity(dit, t["noise"][None], torch.ones(1), ctx)
        print(path, f"embeddings {distance(ctx[0], t['text_embeddings']):.2e} velocity {distance(v[0], t['fewstep_velocity_step0']):.2e}", flush=True)
