#!/usr/bin/env bash
# from_pretrained says that weights which a checkpoint lacks "are newly initialized". But for the norms they are not:
# they hold what was in memory. (A checkpoint whose names all begin with "module.", as data-parallel training leaves
# them, loads with such a message.) Ask for output_loading_info=True and look at missing_keys.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -qq torch==2.13.0 diffusers==0.42.1
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import logging

import diffusers
import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_file

print(f"versions   diffusers {diffusers.__version__}, torch {torch.__version__}")
print("expected   an error, or weights as a new UNet2DModel draws them: all different, none above 1/√fan-in")
diffusers.utils.logging.set_verbosity_error()
blocks = dict(down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)
net = UNet2DModel(sample_size=16, block_out_channels=(32, 64), norm_num_groups=8, layers_per_block=1, **blocks)
net.save_pretrained(".")
file = "diffusion_pytorch_model.safetensors"
save_file({f"module.{name}": w for name, w in load_file(file).items()}, file, metadata={"format": "pt"})
new = 0
for attempt in range(3):
    keep = [torch.randn(n) * 1e6 for n in (96, 1024, 20_000) for _ in range(20)]  # as other work in the process would
    del keep
    found, info = UNet2DModel.from_pretrained(".", output_loading_info=True)
    first = found.conv_in.weight.detach().flatten()
    new += len(first.unique()) > 0.95 * len(first) and float(first.abs().max()) <= 27**-0.5
    print(f"seen       {len(info['missing_keys'])} of {len(net.state_dict())} missing; of the first convolution, of "
          f"{len(first)} numbers, {len(first.unique())} differ, the largest is {float(first.abs().max()):.3g}")
print("behaviour  it loads, and the missing weights are what the memory held")
raise SystemExit(new > 0)
PYTHON
