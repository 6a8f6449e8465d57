"""The part of a model's reference tensors that the project's tests read.

    python fixtures.py weft-nano tests/fixtures/weft_nano       # needs node for Brotli
"""
import shutil
import subprocess
import sys

from safetensors.torch import load_file, save

from flow import schedule

BROTLI = "const z=require('zlib'),f=require('fs');f.writeFileSync(process.argv[1],z.brotliCompressSync(f.readFileSync(0)))"


def pack(data, path):
    subprocess.run(["node", "-e", BROTLI, path], input=data, check=True)


def main(model, out):
    for case in ("case0", "case1", "case2"):
        t, names = load_file(f"{model}/reference/{case}.safetensors"), ["token_ids", "text_embeddings"]
        if case == "case1": names += ["null_embeddings", "noise", "fewstep_velocity_step0", "fewstep_latents"]
        pack(save({n: t[n].half() if n.startswith("fewstep") else t[n] for n in names}), f"{out}/{case}.safetensors.br")
        if case != "case1": continue
        pack(bytes(t["fewstep_frames"][:9].contiguous().flatten().tolist()), f"{out}/case1_frames.br")
        sigma, after = schedule(8), t["base_latents"]
        v = (after[0] - t["noise"]) / (sigma[1] - sigma[0])
        pack(save({"base_velocity_step0": v.half(), "base_latents_step7": after[6].half().contiguous(), "base_latents_step8": after[7].half().contiguous()}), f"{out}/case1_base.safetensors.br")
    shutil.copy(f"{model}/reference/cases.json", f"{out}/cases.json")


if __name__ == "__main__": main(*sys.argv[1:])
