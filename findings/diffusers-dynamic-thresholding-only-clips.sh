#!/usr/bin/env bash
# thresholding=True is to replace clipping by "dynamic thresholding": values up to a percentile s are kept, and all is
# divided by s. But s is clamped between 1 and sample_max_value, whose default is 1: it is 1 whatever the image, and
# what is left is clipping to [-1, 1]. Set sample_max_value above 1 (Imagen has no such bound).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import diffusers
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   with thresholding=True another image than with plain clipping, where it is far outside of [-1, 1]")
rng = torch.Generator().manual_seed(0)
x, said = 3 * torch.randn(2, 4, 3, 16, 16, generator=rng)


def step(**options):
    scheduler = DDPMScheduler(prediction_type="sample", **options)
    return scheduler.step(said, 500, x, generator=torch.Generator().manual_seed(0)).pred_original_sample


clipped, dynamic = step(clip_sample=True), step(thresholding=True, dynamic_thresholding_ratio=0.9)
bounded = step(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=100.0)
solver = DPMSolverMultistepScheduler(thresholding=True)._threshold_sample(said)
print("behaviour  the same to the last bit, at any ratio: it does something only if sample_max_value is raised")
print(f"seen       thresholding=True equals clip_sample=True: {torch.equal(clipped, dynamic)}; largest difference with "
      f"sample_max_value=100: {float((clipped - bounded).abs().max()):.3f}")
print(f"           that of DPMSolverMultistepScheduler is clamp(-1, 1): {torch.equal(solver, said.clamp(-1, 1))}")
same = torch.equal(clipped, dynamic) and torch.equal(solver, said.clamp(-1, 1))
raise SystemExit(not (same and not torch.equal(clipped, bounded)))
PYTHON
