#!/usr/bin/env bash
# "A value of 0 corresponds to DDIM and 1 corresponds to DDPM", says DDIMPipeline of eta. With clip_sample, the
# default of both schedulers, it does not: DDPM takes the clipped image for its mean, DDIM goes on with the noise that
# led to the image before it was clipped. With use_clipped_model_output=True, which is off by default, they agree to
# rounding.
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
print("expected   one step with eta=1 and the same random numbers to be DDPM's step, up to rounding")
rng = torch.Generator().manual_seed(0)
x, said = torch.randn(2, 4, 3, 8, 8, generator=rng)
gap = {}
for clip in (True, False):
    ddpm, ddim = DDPMScheduler(clip_sample=clip), DDIMScheduler(clip_sample=clip)
    for scheduler in (ddpm, ddim):
        scheduler.set_timesteps(100)
    for name, more in (("", {}), (", use_clipped_model_output", dict(use_clipped_model_output=True))):
        a = ddpm.step(said, 500, x, generator=torch.Generator().manual_seed(1)).prev_sample
        b = ddim.step(said, 500, x, eta=1.0, generator=torch.Generator().manual_seed(1), **more).prev_sample
        gap[f"clip_sample={clip}{name}"] = float((a - b).abs().max())
print("behaviour  with the default clip_sample=True the two steps lead to other states, far apart")
for name, value in gap.items():
    print(f"seen       {name}: largest difference {value:.2g}, states have size {float(x.std()):.2g}")
far = gap.pop("clip_sample=True")
raise SystemExit(not (far > 0.5 and max(gap.values()) < 1e-4))
PYTHON
