#!/usr/bin/env bash
# AmusedScheduler keeps what it has revealed by a confidence of ln(largest number of the floating type), to which it then
# adds Gumbel noise times the temperature. In float16 that is 11, and at the default temperatures, 2 to 0, the noise is
# often larger: tokens that were revealed in earlier steps are masked again and drawn anew. Hand it float32 logits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import diffusers
import torch
from diffusers import AmusedScheduler

print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   a token that is revealed stays: 'Ignores the tokens given in the input' says the code, and float32 does so")


def masked_again(dtype):
    """How many tokens of 64 rows of 256 are masked again after they were revealed, in 12 steps by default."""
    scheduler, rng = AmusedScheduler(mask_token_id=1000), torch.Generator().manual_seed(0)
    scheduler.set_timesteps(12)
    x, lost = torch.full((64, 256), 1000), 0
    for t in scheduler.timesteps:
        logits = 3 * torch.randn(64, 256, 1000, generator=rng).to(dtype)
        y = scheduler.step(logits, t, x, generator=rng).prev_sample
        lost += int(((x < 1000) & (y == 1000)).sum())
        x = y
    return lost


full, half = masked_again(torch.float32), masked_again(torch.float16)
print("behaviour  in half precision, which the pipeline's own example uses, revealed tokens are masked again")
print(f"seen       tokens masked again, of {64 * 256}: {full} in float32, {half} in float16")
raise SystemExit(not (full == 0 and half > 0))
PYTHON
