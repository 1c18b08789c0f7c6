"""OpenAI's class-unconditional ImageNet-256 diffusion model (ADM, Dhariwal & Nichol 2021), exactly, in diffusers."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from hierlib._provenance import sha256_of
from hierlib.images.download import URL, fetch
from hierlib.images.models import LINEAR, DiffusionModel, exact_scheduler, load_pipeline, load_small, unet

NAMES = {  # of the parts of a residual block
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}


def adm_config(
    image_size: int = 256,
    num_channels: int = 256,
    channel_mult: tuple[int, ...] = (1, 1, 2, 2, 4, 4),
    attention_resolutions: tuple[int, ...] = (32, 16, 8),
    num_head_channels: int = 64,
    num_res_blocks: int = 2,
) -> dict:
    """Arguments of diffusers.UNet2DModel for an ADM; the names are those of guided-diffusion's flags.

    The rest is as in the published models: resblock_updown, use_scale_shift_norm, learn_sigma.
    """
    attends = [image_size >> i in attention_resolutions for i in range(len(channel_mult))]
    return dict(
        sample_size=image_size,
        in_channels=3,
        out_channels=6,  # noise and the interpolation of the variance
        layers_per_block=num_res_blocks,
        block_out_channels=[num_channels * m for m in channel_mult],
        down_block_types=["AttnDownBlock2D" if a else "ResnetDownsampleBlock2D" for a in attends],
        up_block_types=["AttnUpBlock2D" if a else "ResnetUpsampleBlock2D" for a in reversed(attends)],
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=num_head_channels,
        attn_norm_num_groups=32,  # without it the middle attention has no norm under scale_shift
        norm_num_groups=32,
        norm_eps=1e-5,
        flip_sin_to_cos=True,
        freq_shift=0,
    )


def adm_to_diffusers(source: Mapping[str, Tensor], config: Mapping) -> dict[str, Tensor]:
    """A state dict of guided-diffusion's UNetModel as one of diffusers.UNet2DModel.

    Args:
        source: OpenAI's state dict.
        config: from `adm_config`.

    Raises:
        ValueError: a weight is missing, or there is one that the model has no place for.
    """
    left, out = dict(source), {}

    def take(key: str) -> Tensor:
        if key not in left:
            raise ValueError(f"state dict: expected a weight {key}, got none; is it another model?")
        return left.pop(key)

    def move(here: str, there: str) -> None:
        for part in ("weight", "bias"):
            out[f"{there}.{part}"] = take(f"{here}.{part}")

    def block(here: str, there: str) -> None:
        for part, name in NAMES.items():
            if part != "skip_connection" or f"{here}.{part}.weight" in left:
                move(f"{here}.{part}", f"{there}.{name}")

    def attention(here: str, there: str) -> None:
        move(f"{here}.norm", f"{there}.group_norm")
        for part in ("weight", "bias"):
            thirds = split_qkv(take(f"{here}.qkv.{part}"), config["attention_head_dim"])
            out.update({f"{there}.to_{name}.{part}": rows for name, rows in zip("qkv", thirds)})
        out[f"{there}.to_out.0.weight"] = take(f"{here}.proj_out.weight").squeeze(-1)
        out[f"{there}.to_out.0.bias"] = take(f"{here}.proj_out.bias")

    move("time_embed.0", "time_embedding.linear_1")
    move("time_embed.2", "time_embedding.linear_2")
    move("input_blocks.0.0", "conv_in")
    for side, types, layers, sampler, number in (
        ("input", config["down_block_types"], config["layers_per_block"], "down_blocks.{}.downsamplers.0", 1),
        ("output", config["up_block_types"], config["layers_per_block"] + 1, "up_blocks.{}.upsamplers.0", 0),
    ):
        for level, kind in enumerate(types):
            there = sampler.format(level).rsplit(".", 2)[0]
            for i in range(layers):
                here, parts = f"{side}_blocks.{number + i}", 1
                block(f"{here}.0", f"{there}.resnets.{i}")
                if kind.startswith("Attn"):
                    attention(f"{here}.1", f"{there}.attentions.{i}")
                    parts = 2
            number += layers
            if level < len(types) - 1:  # going down it is a module of its own, going up the last part of one
                here = f"{side}_blocks.{number}.0" if side == "input" else f"{here}.{parts}"
                block(here, sampler.format(level))
                number += side == "input"
    block("middle_block.0", "mid_block.resnets.0")
    attention("middle_block.1", "mid_block.attentions.0")
    block("middle_block.2", "mid_block.resnets.1")
    move("out.0", "conv_norm_out")
    move("out.2", "conv_out")
    if left:
        raise ValueError(
            f"state dict: expected only weights of the configured model, got {len(left)} more "
            f"({', '.join(list(left)[:3])}); a class-conditional model or another size?"
        )
    return out


def split_qkv(rows: Tensor, head_channels: int) -> list[Tensor]:
    """Queries, keys and values of guided-diffusion's qkv, whose rows are ordered by head, then by q, k, v."""
    per_head = rows.reshape(-1, 3, head_channels, *rows.shape[1:2])  # the kernel axis of the 1 × 1 convolution goes
    return [per_head[:, j].flatten(0, 1).contiguous() for j in range(3)]


def adm_network(source: Mapping[str, Tensor], config: Mapping) -> nn.Module:
    """The UNet2DModel of an ADM's state dict.

    Raises:
        ValueError: the state dict is not that of the configured model.
    """
    try:
        return unet(dict(config), adm_to_diffusers(source, config))
    except RuntimeError as error:  # a shape; the message of a strict load may run over pages
        first = re.sub(r"\s+", " ", str(error))[:300]
        raise ValueError(f"state dict: expected the shapes of the configured model, got {first}") from error


def load_adm(path: Path, config: Mapping | None = None, *, download: bool = False) -> DiffusionModel:
    """OpenAI's model from its file.

    Args:
        path: 256x256_diffusion_uncond.pt, or a safetensors file with the same keys.
        config: from `adm_config`; by default that of the json beside the file, which holds arguments of `adm_config`
            for another unconditional ADM, or, if there is none, that of the published model.
        download: fetch the published file (2.2 GB) to `path` if it is not there yet; see `hierlib.images.download`.

    Returns:
        `DiffusionModel` on the CPU, float32; `.to("cuda", torch.float16)` is what it should run in.

    Raises:
        ValueError: the file is missing, damaged or another model. Nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file() and download:
        fetch(path)
    if not path.is_file():
        raise ValueError(
            f"{path}: expected OpenAI's {Path(URL).name}, got nothing there; check the path, or pass download=True "
            "(2.2 GB)"
        )
    try:
        if path.suffix == ".safetensors":
            source = safetensors.torch.load_file(path)
        else:
            source = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: expected a whole file of weights, got {first}; copy it again") from error
    if not isinstance(source, Mapping) or not all(isinstance(w, Tensor) for w in source.values()):
        raise ValueError(f"{path}: expected a state dict (names and tensors), got {type(source).__name__}")
    config = _flags(path.with_suffix(".json")) if config is None else config
    try:
        network = adm_network(source, config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    name = f"ADM {config['sample_size']}, unconditional"
    return DiffusionModel(network, adm_scheduler(), 3, config["sample_size"], name=name, digest=sha256_of(path))


def _flags(path: Path) -> dict:
    try:
        return adm_config(**json.loads(path.read_text("utf-8"))) if path.is_file() else adm_config()
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: expected arguments of hierlib.images.adm.adm_config as json, got {error}; mend or remove it"
        ) from error


def load_model(name: str, weights: Path, *, download: bool = False, device=None) -> DiffusionModel:
    """Any model by its kind, ready to run: on the GPU in float16 if there is one, else on the CPU in float32.

    Args:
        name: "small" (trained by `hierlib.images.train`), "adm256" (OpenAI's) or "pipeline" (a folder of diffusers).
        weights: its file or folder.
        download: fetch OpenAI's file to `weights` if it is not there.
        device: another one.

    Raises:
        ValueError: the name is none of these, or the file is wrong.
    """
    loaders = dict(small=load_small, adm256=partial(load_adm, download=download), pipeline=load_pipeline)
    if name not in loaders:
        raise ValueError(f"model: expected one of {', '.join(loaders)}, got {name!r}")
    model = loaders[name](Path(weights))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return model.to(device, torch.float16 if device.type == "cuda" else torch.float32)


def adm_scheduler():
    """The published model's noise schedule: 1000 linear-β steps, learned variance."""
    return exact_scheduler(
        **LINEAR, variance_type="learned_range", prediction_type="epsilon", timestep_spacing="linspace"
    )
