#!/usr/bin/env bash
# VQDiffusionScheduler does not spread fewer steps over its schedule, as other schedulers do: with n of 100 it takes the
# steps n-1 … 0, the last ones, for which few tokens are masked. Its pipeline starts from masks only all the same. Use as
# many steps as there are in training, or a scheduler that was made with fewer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import diffusers
import torch
from diffusers import DDPMScheduler, VQDiffusionScheduler

print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   25 of 100 steps begin near step 99, where all is noise, as 25 steps of DDPM do")
vq, ddpm = VQDiffusionScheduler(num_vec_classes=11), DDPMScheduler(100)
for scheduler in (vq, ddpm):
    scheduler.set_timesteps(25)
first, other = int(vq.timesteps[0]), int(ddpm.timesteps[0])
masked = float(vq.log_cumprod_ct[first].exp())
print("behaviour  they are the last 25, and the pipeline starts there from masks only")
print(f"seen       first step {first} (DDPM: {other}), at which the schedule masks {masked:.0%} of the tokens")
raise SystemExit(not (first == 24 and other == 96 and masked < 0.3))
PYTHON
