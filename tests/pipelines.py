"""Tiny pipelines of diffusers, as it saves them, with random weights."""

import json
import warnings
from pathlib import Path

import torch
from diffusers import DDPMPipeline, UNet2DModel
from safetensors.torch import load_file, save_file

SHAPE = dict(
    sample_size=8,
    layers_per_block=1,
    block_out_channels=(8, 16),
    norm_num_groups=4,
    attention_head_dim=8,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
)


def net(seed: int = 0, **options) -> UNet2DModel:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return UNet2DModel(**SHAPE | options).eval()


def saved(folder: Path, scheduler, pipeline=DDPMPipeline, *, unet=None, **parts) -> Path:
    """A pipeline in a folder, by diffusers' own `save_pretrained`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # some kinds are deprecated, and around
        pipeline(unet=unet or net(), scheduler=scheduler, **parts).save_pretrained(folder)
    return folder


def rewrite(path: Path, **change) -> None:
    """Other entries in a json file; None takes one out."""
    found = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in found.items() if v is not None}))


def reweigh(folder: Path, change) -> Path:
    """Other weights in the file of a pipeline."""
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: w.contiguous() for k, w in change(load_file(path)).items()}, path, metadata={"format": "pt"})
    return path
