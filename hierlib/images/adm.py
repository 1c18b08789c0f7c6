"""OpenAI's class-unconditional ImageNet-256 diffusion model (ADM, Dhariwal & Nichol 2021), exactly, in diffusers."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hierlib._devices import chosen
from hierlib._provenance import sha256_of
from hierlib.images.download import URL, fetch
from hierlib.images.models import DiffusionModel, load_pipeline, load_small
from hierlib.images.schedule import LINEAR, exact_scheduler
from hierlib.images.unet import unet

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DModel

NAMES = {  # of the parts of a residual block
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}

ONLY = dict(  # flags of guided-diffusion that leave one choice here
    class_cond=False,
    learn_sigma=True,
    resblock_updown=True,
    use_scale_shift_norm=True,
    use_new_attention_order=False,
)
IDLE = (  # flags that change nothing in what the trained model is; steps are chosen where it runs
    "dropout",
    "num_heads",
    "num_heads_upsample",
    "rescale_learned_sigmas",
    "timestep_respacing",
    "use_checkpoint",
    "use_fp16",
    "use_kl",
)
MULTIPLIERS = {  # channels by the size of the images, where the flag is empty
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
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

    Args:
        image_size: pixels a side.
        num_channels: of the first level.
        channel_mult: how many times as many channels each level has, from the finest to the coarsest.
        attention_resolutions: pixels a side of the levels that have attention.
        num_head_channels: channels of a head of attention.
        num_res_blocks: residual blocks a level.

    The rest is as in the published models: resblock_updown, use_scale_shift_norm, learn_sigma.

    Raises:
        ValueError: a number is no whole one above 0.
    """
    numbers = image_size, num_channels, *channel_mult, *attention_resolutions, num_head_channels, num_res_blocks
    if odd := [n for n in numbers if not isinstance(n, int) or isinstance(n, bool) or n < 1]:
        raise ValueError(f"flags of the network: expected whole numbers above 0, got {odd[0]!r}")
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


def adm_network(source: Mapping[str, Tensor], config: Mapping) -> UNet2DModel:
    """The UNet2DModel of an ADM's state dict.

    Raises:
        ValueError: the state dict is not that of the configured model, or not finite.
    """
    return unet(config, adm_to_diffusers(source, config))


def load_adm(path: Path, config: Mapping | None = None, *, download: bool = False) -> DiffusionModel:
    """OpenAI's model from its file.

    Args:
        path: 256x256_diffusion_uncond.pt, or a safetensors file with the same keys.
        config: from `adm_config`, with the noise schedule of the published model; by default both are those of the json
            beside the file, flags of guided-diffusion for another unconditional ADM (see `adm_flags`), or, if there is
            none, those of the published model.
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
        else:  # only a file of torch's present format can be mapped into memory
            source = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: expected a whole file of weights, got {first}; compare its digest with the publisher's"
        ) from error
    if not isinstance(source, Mapping) or not all(isinstance(w, Tensor) for w in source.values()):
        raise ValueError(f"{path}: expected a state dict (names and tensors), got {type(source).__name__}")
    flags, scheduler = path.with_suffix(".json"), adm_scheduler()
    if config is None:
        config, scheduler = adm_flags(flags) if flags.is_file() else (adm_config(), scheduler)
    source = {name: w.float() if w.is_floating_point() else w for name, w in source.items()}
    try:
        network = adm_network(source, config)
    except (ValueError, RuntimeError) as error:  # the latter of torch, where weights are sparse or of another kind
        raise ValueError(f"{path}: {error}") from error
    name = f"ADM {config['sample_size']}, unconditional"
    return DiffusionModel(network, scheduler, 3, config["sample_size"], name=name, digest=sha256_of(path))


def adm_flags(path: Path) -> tuple[dict, DDPMScheduler]:
    """Network and noise schedule from the flags of guided-diffusion's scripts, in a json file.

    Understood are those of `adm_config` and of `adm_scheduler`, with lists as json or as the command line has them;
    those that leave one choice here (`ONLY`); and those that change nothing in what the model is (`IDLE`).

    Returns:
        Arguments of diffusers.UNet2DModel, and the scheduler.

    Raises:
        ValueError: the file is no json, or a flag is unknown or has a value that is not understood; it is named.
    """
    try:
        flags = json.loads(path.read_text("utf-8"))
        if not isinstance(flags, dict):
            raise ValueError(f"{type(flags).__name__}")
    except ValueError as error:
        raise ValueError(f"{path}: expected flags of guided-diffusion as a json object, got {error}") from error
    if flags.get("channel_mult") == "":
        flags["channel_mult"] = MULTIPLIERS.get(flags.get("image_size", 256), "")
    network: dict[str, Any] = {}
    schedule: dict[str, Any] = {}
    for name, value in flags.items():
        if name in ONLY:
            if value is not ONLY[name]:
                raise ValueError(
                    f"{path}: expected the flags of an unconditional ADM with {name} = {ONLY[name]}, got {value!r}; "
                    "take another model"
                )
        elif name in ("noise_schedule", "diffusion_steps", "predict_xstart", "rescale_timesteps"):
            schedule[name] = value
        elif name in ("channel_mult", "attention_resolutions"):
            network[name] = value.split(",") if isinstance(value, str) else value
        elif name not in IDLE:
            network[name] = value
    try:
        for name in network.keys() & {"channel_mult", "attention_resolutions"}:
            network[name] = tuple(int(each) if isinstance(each, str) else each for each in network[name])
        return adm_config(**network), adm_scheduler(**schedule)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: expected flags of an unconditional ADM, as guided-diffusion has them, got {error}; take another "
            "model"
        ) from error


def adm_scheduler(
    noise_schedule: str = "linear",
    diffusion_steps: int = 1000,
    predict_xstart: bool = False,
    rescale_timesteps: bool = False,
) -> DDPMScheduler:
    """The noise schedule of an ADM with learned variance; by default the published model's.

    Args:
        noise_schedule: linear or cosine.
        diffusion_steps: number of steps; the β of the linear schedule are scaled so that all noise stays the same.
        predict_xstart: whether the network tells the image and not its noise.
        rescale_timesteps: whether the network is told times of 1000; then these must be the steps.

    Raises:
        ValueError: the schedule is another one.
    """
    if noise_schedule not in ("linear", "cosine"):
        raise ValueError(f"noise_schedule: expected linear or cosine, got {noise_schedule!r}")
    for name, value in dict(predict_xstart=predict_xstart, rescale_timesteps=rescale_timesteps).items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}: expected true or false, got {value!r}")
    whole = isinstance(diffusion_steps, int) and diffusion_steps >= 2
    if not whole or (rescale_timesteps and diffusion_steps != 1000):
        raise ValueError(
            f"diffusion_steps: expected a number from 2 on, 1000 with rescale_timesteps, got {diffusion_steps!r}"
        )
    options = LINEAR | dict(num_train_timesteps=diffusion_steps)
    if noise_schedule == "cosine":
        options |= dict(beta_schedule="squaredcos_cap_v2")
    elif diffusion_steps != 1000:
        options |= {end: options[end] * 1000 / diffusion_steps for end in ("beta_start", "beta_end")}
    return exact_scheduler(
        **options,
        variance_type="learned_range",
        prediction_type="sample" if predict_xstart else "epsilon",
        timestep_spacing="linspace",
    )


def load_model(
    name: str,
    weights: Path,
    *,
    download: bool = False,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> DiffusionModel:
    """Any model by its kind, ready to run: on the GPU in float16 if there is one, else on the CPU in float32.

    Args:
        name: "small" (trained by `hierlib.images.train`), "adm256" (OpenAI's) or "pipeline" (a folder of diffusers).
        weights: its file or folder.
        download: fetch OpenAI's file to `weights` if it is not there.
        device: another one.
        dtype: another precision of the network.

    Raises:
        ValueError: the name is none of these, or the file is wrong.
    """
    loaders: dict[str, Callable[[Path], DiffusionModel]]
    loaders = dict(small=load_small, adm256=partial(load_adm, download=download), pipeline=load_pipeline)
    if name not in loaders:
        raise ValueError(f"model: expected one of {', '.join(loaders)}, got {name!r}")
    model = loaders[name](Path(weights))
    place = chosen(device)
    return model.to(place, dtype or (torch.float16 if place.type == "cuda" else torch.float32))
