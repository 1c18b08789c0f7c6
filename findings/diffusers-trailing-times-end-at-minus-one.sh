#!/usr/bin/env bash
# With timestep_spacing="trailing" set_timesteps(61) makes 62 times of 1000, and the last one is -1. It counts back
# from 1000 in floating-point steps, and numpy.arange may go one step too far. Time -1 is the last entry of the noise
# schedule: the finished image is taken for pure noise once more. So it is for 62 of the numbers of steps up to 1000,
# with all schedulers that know the spacing. Look at len(scheduler.timesteps), or take a divisor of 1000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler

print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   as many times as one asks for, all of them from 0 to 999: each names a noise level of the training")
kinds = DDPMScheduler, DDIMScheduler, EulerDiscreteScheduler, UniPCMultistepScheduler
last = {}
for kind in kinds:
    scheduler = kind(timestep_spacing="trailing")
    scheduler.set_timesteps(61)
    last[kind.__name__] = len(scheduler.timesteps), int(scheduler.timesteps[-1])
scheduler, wrong = DDPMScheduler(timestep_spacing="trailing"), []
for n in range(1, 1001):
    scheduler.set_timesteps(n)
    wrong += [n] * (len(scheduler.timesteps) != n)
image, noise = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
noisy = scheduler.add_noise(image, noise, torch.tensor([-1]))
print("behaviour  one time more, -1, at which the scheduler takes the noise level from the other end of its table")
print(f"seen       set_timesteps(61): {last}")
print(f"           so for {len(wrong)} numbers of steps, {wrong[:6]} …; noise added at -1: {float(noisy.mean()):.3f}")
raise SystemExit(any(each != (62, -1) for each in last.values()) or float(noisy.mean()) < 0.99)
PYTHON
