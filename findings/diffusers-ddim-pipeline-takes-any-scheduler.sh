#!/usr/bin/env bash
# DDIMPipeline(unet, scheduler) makes a DDIMScheduler of whatever scheduler it is given, without a word. One of flow
# matching or of an EDM has no β: then the noise is the default of DDIM, which such a network has never seen, and
# save_pretrained writes a folder that says DDIM. (Options of the old scheduler that are not at their defaults may be
# named in the log as ignored.) Give DDIMPipeline schedulers only that have betas.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import warnings

import diffusers
import torch
from diffusers import DDIMPipeline, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, UNet2DModel

warnings.simplefilter("error")
print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   an error, or that the pipeline runs the scheduler that it was given, as DDPMPipeline does")
blocks = dict(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
net = UNet2DModel(sample_size=8, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, **blocks)
same = True
print("behaviour  it is replaced by a DDIMScheduler with the default linear β and predictions of the noise")
for given in (FlowMatchEulerDiscreteScheduler(), EDMEulerScheduler(sigma_max=10.0)):
    taken = DDIMPipeline(net, given).scheduler
    config = taken.config
    found = type(taken).__name__, config.beta_schedule, config.beta_end, config.prediction_type
    print(f"seen       {type(given).__name__} became {', '.join(map(str, found))}; no warning")
    same &= found == ("DDIMScheduler", "linear", 0.02, "epsilon")
raise SystemExit(not same)
PYTHON
