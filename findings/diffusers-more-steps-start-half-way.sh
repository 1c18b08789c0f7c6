#!/usr/bin/env bash
# Asked for 501 of 1000 steps, a scheduler with default options starts at time 500, where 8 % of the signal should be
# left, although the state is pure noise; asked for 500 it starts at 998. Spaced "leading", times are multiples of
# 1000 // n, so that from 501 on they are 0, 1, 2, … n - 1. More steps make worse images. Take a divisor of 1000, or
# timestep_spacing="linspace".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler

print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   that more steps are a finer way from the same pure noise, as the way back starts from pure noise")
first = {}
for kind in (DDPMScheduler, DDIMScheduler):
    scheduler = kind()
    for n in (500, 501, 750, 1000):
        scheduler.set_timesteps(n)
        t = int(scheduler.timesteps[0])
        first[kind.__name__, n] = t, round(float(scheduler.alphas_cumprod[t]), 5)
print("behaviour  from 501 steps on the first time is n - 1: noise is taken for an image that is half-way there")
for n in (500, 501, 750, 1000):
    print(f"seen       {n} steps: first time and share of signal there {first['DDPMScheduler', n]}")
good = all(first[name, 500][0] == 998 and first[name, 501][0] == 500 for name in ("DDPMScheduler", "DDIMScheduler"))
raise SystemExit(not good)
PYTHON
