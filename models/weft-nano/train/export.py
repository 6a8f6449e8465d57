"""Checkpoints to the model folder that Weft reads, in f16, with reference tensors computed in fp32 on the CPU.

    python export.py --work work --out weft-nano            # then models/export/quantize.mjs stores it smaller
Left out: the caption judge (scorer.py).
"""
import argparse
import glob
import json
import os

import torch
from safetensors.torch import load_file, save_file

import autoencoder
import captions
import text_encoder
import transformer
from autoencoder import decode_latents, load_ae
from flow import FEWSTEP, SHIFT, load_models, sample, schedule, velocity
from text_encoder import empty_ids, encode_text

FPS = 16
CASES = [("a large shiny red ball bounces on a checkered floor at sunset, the camera orbits left", 9),
         ("a big glossy purple ring rolls right on sand under an overcast sky, static camera", 5),
         ("a small shiny yellow pyramid rises on water at night", 9)]


def dump(out, path, value):
    with open(f"{out}/{path}", "w") as f: json.dump(value, f, indent=2)


def half(module): return {k: v.detach().half().cpu().contiguous() for k, v in module.state_dict().items()}


def write_model(out, base, student, te, ae, cfg):
    """Weights and configs, with the names of diffusers and transformers."""
    for d in ("scheduler", "tokenizer", "text_encoder", "transformer", "transformer_fewstep", "vae"): os.makedirs(f"{out}/{d}", exist_ok=True)
    def save(module, path): save_file(half(module), f"{out}/{path}.safetensors", metadata={"format": "pt"})
    for d, m in (("transformer", base), ("transformer_fewstep", student)):
        save(m, f"{d}/diffusion_pytorch_model")
        dump(out, f"{d}/config.json", transformer.CONFIG)
    save(te, "text_encoder/model")
    dump(out, "text_encoder/config.json", text_encoder.CONFIG | {"vocab_size": len(captions.vocabulary())})
    save(ae, "vae/diffusion_pytorch_model")
    dump(out, "vae/config.json", autoencoder.config(ae))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    dump(out, "tokenizer/tokenizer.json", captions.tokenizer_json())
    dump(out, "tokenizer/tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": captions.MAX_LEN, **special, "padding_side": "right"})
    dump(out, "tokenizer/special_tokens_map.json", special)
    dump(out, "scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": SHIFT, "use_dynamic_shifting": False})
    dump(out, "model_index.json", {"_class_name": "WanPipeline", "_diffusers_version": "0.35.0", "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
         "text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", "PreTrainedTokenizerFast"], "transformer": ["diffusers", "WanTransformer3DModel"],
         "vae": ["diffusers", "AutoencoderTAEHV"], "max_sequence_length": captions.MAX_LEN, "flow_shift": SHIFT, "base_steps": 30, "base_guidance_scale": cfg,
         "fewstep": {"subfolder": "transformer_fewstep", "sigmas": FEWSTEP, "guidance_scale": 1.0}, "height": 128, "width": 128, "num_frames": [17, 33, 49], "fps": FPS})


@torch.no_grad()
def write_reference(out, base, student, te, ae, cfg):
    """What this code computes in fp32 from the f16 weights, for three prompts (names in ../RECIPE.md)."""
    os.makedirs(f"{out}/reference", exist_ok=True)
    cases = {}
    for i, (text, L) in enumerate(CASES):
        ids = captions.encode_captions([text])
        ctx, null = encode_text(te, ids), encode_text(te, empty_ids(1, "cpu"))
        noise, after, guided = torch.randn(1, 16, L, 16, 16, generator=torch.Generator().manual_seed(100 + i)), [], []
        video = sample(student, noise, ctx, sigmas=FEWSTEP, trace=after)
        slow = sample(base, noise, ctx, null, steps=8, cfg=cfg, trace=guided)
        t = {"token_ids": ids[0].int(), "text_embeddings": ctx[0], "null_embeddings": null[0], "noise": noise[0],
             "fewstep_velocity_step0": velocity(student, noise, torch.ones(1), ctx)[0], "fewstep_latents": torch.cat(after),
             "base_latents": torch.cat(guided), "fewstep_frames": decode_latents(ae, video)[0]}
        if i == 1: t["base_frames"] = decode_latents(ae, slow)[0]
        save_file({k: v.contiguous() for k, v in t.items()}, f"{out}/reference/case{i}.safetensors")
        cases[f"case{i}"] = {"prompt": text, "frames": 4 * L - 3, "fewstep_sigmas": FEWSTEP, "base_sigmas": schedule(8), "base_guidance_scale": cfg}
        print(f"reference {i} done", flush=True)
    dump(out, "reference/cases.json", cases)


@torch.no_grad()
def renew_decoder(out, ae):
    """After more training of the decoder alone: its weights, and the frames among the reference tensors."""
    save_file(half(ae), f"{out}/vae/diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    for path in sorted(glob.glob(f"{out}/reference/case*.safetensors")):
        t = load_file(path)
        for frames, latents in (("fewstep_frames", "fewstep_latents"), ("base_frames", "base_latents")):
            if frames in t: t[frames] = decode_latents(ae, t[latents][-1:])[0].contiguous()
        save_file(t, path)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--work", default="work")
    ap.add_argument("--out", default="work/weft-nano")
    ap.add_argument("--cfg", type=float, default=2.5, help="default guidance of the base model")
    ap.add_argument("--student", default="student_ode", help="or student_dmd, if the evaluation says that it is better")
    ap.add_argument("--decoder", action="store_true", help="only the decoder has changed")
    a = ap.parse_args()
    if a.decoder: return renew_decoder(a.out, load_ae(f"{a.work}/ae.pt", "cpu"))
    (base, te), ae = load_models(f"{a.work}/base.pt", "cpu"), load_ae(f"{a.work}/ae.pt", "cpu")
    student, _ = load_models(f"{a.work}/{a.student}.pt", "cpu")
    write_model(a.out, base, student, te, ae, a.cfg)
    write_reference(a.out, base, student, te, ae, a.cfg)


if __name__ == "__main__": main()
