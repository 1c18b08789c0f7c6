"""Folders of diffusers: an unconditional DDPM or DDIM pipeline on pixels is loaded, every other is refused by its kind.

What such a folder says is taken whole or not at all. The noise schedule, the kind of prediction, the clipping and the
spacing of times are those of its scheduler_config.json. A DDIM pipeline runs as the DDPM of its schedule, as the way
back of this library is the random one. Weights load strictly, and the recorded digest is that of the bytes that were
loaded.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from hierlib.images.schedule import DEFAULTS, exact_scheduler, is_number
from hierlib.images.unet import unet

if TYPE_CHECKING:
    from diffusers import DDPMScheduler, UNet2DModel

KINDS = {  # what names of pipelines, parts and schedulers tell, for people
    "ScoreSdeVp": "a score-based model (variance-preserving SDE)",
    "ScoreSde": "a score-based model (variance-exploding SDE)",
    "KarrasVe|EDM": "an EDM, whose network is told σ and not a step",
    "CMStochastic|ConsistencyModel|LCM|TCD|SCM": "a consistency model, which goes to the image in one step",
    "FlowMatch|FlowMap": "a flow-matching model, which learnt a velocity and not a noise",
    "VQDiffusion|Amused|D3PM": "a diffusion of discrete tokens",
    "LDM|VQ|Autoencoder|vqvae|vae": "a latent diffusion model, whose states are no pixels",
    "UNet2DCondition|text_encoder|tokenizer|Transformer": "a model conditioned on text or classes",
    "UNet1D|Unet1D|UNet3D": "a model of other data than images",
    "PNDM|(?<!D)DPM|DEIS|Euler|Heun|KDPM|LMS|UniPC|IPNDM|SASolver": "a pipeline with another sampler; if its "
    "network was trained as a DDPM, save it with DDPMScheduler.from_config(pipeline.scheduler.config)",
}
ASIDE = ("set_alpha_to_one", "skip_prk_steps", "tensor_format")  # options of other samplers, of no DDPM
BLOCKS = re.compile(r"(UNetRes)?(Attn|Resnet|Skip|AttnSkip)?(Down|Up)(sample)?Block2D")
NO_NUMBER = ("attention_head_dim",)  # options of numbers that may be null
STEM = "diffusion_pytorch_model"
HALF = ("fp16", "bf16")  # variants that are the same weights in fewer digits
OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # of attention, before 2023


def read_pipeline(folder: Path) -> tuple[UNet2DModel, DDPMScheduler, str, dict]:
    """The parts of a pipeline of diffusers, for `hierlib.images.models.load_pipeline`.

    Returns:
        The network; its noise schedule; the digest of its weights; a dict of network and scheduler, their options, and
        of variant, which files of weights these are.

    Raises:
        ValueError: as `hierlib.images.models.load_pipeline` does.
    """
    folder = Path(folder)
    of_unet, of_scheduler = ((folder / part if (folder / part).is_dir() else folder) for part in ("unet", "scheduler"))
    try:
        config = _json(of_unet / "config.json")
        schedule = _json(of_scheduler / "scheduler_config.json")
        index = _json(folder / "model_index.json") if (folder / "model_index.json").is_file() else {}
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder}: expected a pipeline (unet/config.json, scheduler/scheduler_config.json), got {error}; "
            "give the folder that holds model_index.json"
        ) from error
    _check_kind(folder, index, config, schedule)
    try:
        network, steps = _network(config), _schedule(schedule)
        scheduler = exact_scheduler(**steps)
        _check_fit(network, steps)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder}: expected a pipeline whose options are all understood, got {error}") from error
    weights, digest, variant = read_weights(of_unet)
    try:
        built = unet(network, _modern(weights))
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{of_unet}: {error}") from error
    return built, scheduler, digest, dict(network=network, scheduler=steps, variant=variant)


def read_weights(folder: Path) -> tuple[dict[str, Tensor], str, str]:
    """The weights of a part of a pipeline, as float32.

    Args:
        folder: with diffusion_pytorch_model.safetensors (or .bin), whole or in shards with their index.

    Returns:
        The state dict; the sha256 of its file, or of its shards one after the other; the variant, "" for the plain one.

    Raises:
        ValueError: there are none, none that can be taken for those of the pipeline, or whole ones beside shards; a
            file is damaged.
    """
    found = sorted(path.name for path in folder.iterdir() if path.name.startswith(STEM))
    for variant in ("", *HALF):
        end = f".{variant}" if variant else ""
        for kind in ("safetensors", "bin"):
            there = [name for name in (f"{STEM}{end}.{kind}", f"{STEM}.{kind}.index{end}.json") if name in found]
            if len(there) == 2:
                raise ValueError(f"{folder}: expected one set of weights, got {' and '.join(there)}; move one set away")
            if there:
                weights, digest = _read_all(folder, there[0])
                return {k: w.float() if w.is_floating_point() else w for k, w in weights.items()}, digest, variant
    got = f"{', '.join(found)} only, which may be other weights than the pipeline's" if found else "no weights"
    raise ValueError(
        f"{folder}: expected {STEM}.safetensors, got {got}; download it"
        + (", or give the file that you mean that name in a folder of its own" if found else "")
    )


def _check_kind(folder: Path, index: Mapping, config: Mapping, schedule: Mapping) -> None:
    """Refuses what is no DDPM or DDIM on pixels, by its kind, going from the whole to its parts."""
    listed = {name: each for name, each in index.items() if isinstance(each, list) and len(each) == 2 and each[1]}
    parts = {name: cls if library == "diffusers" else f"{library}.{cls}" for name, (library, cls) in listed.items()}
    beside = sorted(path.parent.name for path in folder.glob("*/config.json") if path.parent.name != "unet")
    kind, network, process = (str(each.get("_class_name", "")) for each in (index, config, schedule))
    if index and kind not in ("DDPMPipeline", "DDIMPipeline"):
        _refuse(folder, kind or "a pipeline without a name", *parts, *parts.values())
    for name, cls in parts.items():
        if name not in ("unet", "scheduler"):
            _refuse(folder, f"{kind} with {name} ({cls})")
    if beside and not index:
        _refuse(folder, f"a UNet with {', '.join(beside)} beside it")
    if network != "UNet2DModel" or parts.get("unet", network) != network:
        _refuse(folder, parts["unet"] if network == "UNet2DModel" else network or "a network without a name")
    if config.get("class_embed_type") or config.get("num_class_embeds"):
        _refuse(folder, "UNet2DModel with class labels")
    if process not in ("DDPMScheduler", "DDIMScheduler"):
        _refuse(folder, process or "a scheduler without a name")
    if parts.get("scheduler", process) != process:
        _refuse(folder, f"{parts['scheduler']} in model_index.json and {process} in scheduler_config.json")
    if config.get("time_embedding_type") == "fourier":
        _refuse(folder, "a score-based network, which is told a noise level and not a step")
    if config.get("in_channels", 3) not in (1, 3):
        _refuse(folder, f"a network of {config['in_channels']} channels, which are no grey or colour images")


def _refuse(folder: Path, *names: str) -> NoReturn:
    known = (kind for name in names for pattern, kind in KINDS.items() if re.search(pattern, name))
    kind = next(known, None)
    got = f"{names[0]}: {kind}" if kind else names[0]
    raise ValueError(
        f"{folder}: expected an unconditional DDPM or DDIM pipeline with a UNet2DModel on pixels, got {got}; take "
        "another model"
    )


def _network(config: Mapping) -> dict:
    """All options of UNet2DModel, those that are not in its file as diffusers has them."""
    from diffusers import UNet2DModel

    defaults = {name: each.default for name, each in signature(UNet2DModel.__init__).parameters.items()}
    options = {name: value for name, value in config.items() if not name.startswith("_")}
    if unknown := sorted(options.keys() - defaults.keys()):
        raise ValueError(f"{unknown[0]} = {options[unknown[0]]!r} in config.json, which UNet2DModel has no use for")
    whole = {name: value for name, value in defaults.items() if name != "self"} | options
    for name, value in options.items():
        usual = defaults[name]
        if isinstance(usual, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{name} = {value!r} in config.json, where true or false is expected")
        elif isinstance(usual, int | float) and not ((value is None and name in NO_NUMBER) or is_number(value, float)):
            raise ValueError(f"{name} = {value!r} in config.json, where a number as {usual} is expected")
    if not whole["norm_eps"] > 0:
        raise ValueError(f"norm_eps = {whole['norm_eps']!r} in config.json, where a number above 0 is expected")
    if odd := [b for b in (*whole["down_block_types"], *whole["up_block_types"]) if not BLOCKS.fullmatch(b)]:
        raise ValueError(f"blocks {', '.join(odd)} in config.json, which are none of an unconditional UNet2DModel")
    return whole


def _check_fit(network: Mapping, steps: Mapping) -> None:
    """Whether the network makes what the schedule takes, of square images."""
    outputs = network["in_channels"] * (2 if steps["variance_type"] == "learned_range" else 1)
    if network["out_channels"] != outputs:
        raise ValueError(
            f"out_channels: expected {outputs} with variance_type {steps['variance_type']}, got "
            f"{network['out_channels']}"
        )
    if network["time_embedding_type"] == "learned" and network["num_train_timesteps"] != steps["num_train_timesteps"]:
        raise ValueError(
            f"num_train_timesteps: expected {steps['num_train_timesteps']} as in scheduler_config.json, got "
            f"{network['num_train_timesteps']}"
        )
    size, multiple = network["sample_size"], 2 ** (len(network["block_out_channels"]) - 1)
    sides = size if isinstance(size, list | tuple) else [size, size]
    if len(sides) != 2 or not isinstance(sides[0], int) or sides[0] != sides[1] or sides[0] % multiple:
        raise ValueError(
            f"sample_size: expected one number, the side of a square in pixels, a multiple of {multiple}, got {size!r}"
        )


def side(config: Mapping) -> int:
    """Pixels a side of a network's square images, from its options."""
    size = config["sample_size"]
    return size if isinstance(size, int) else size[0]


def _schedule(schedule: Mapping) -> dict:
    """Options of `exact_scheduler`, all of which the scheduler's file says, or diffusers if it does not."""
    options = {name: value for name, value in schedule.items() if not name.startswith("_") and name not in ASIDE}
    if "predict_epsilon" in options:  # before 2023
        told = "epsilon" if options.pop("predict_epsilon") else "sample"
        if options.setdefault("prediction_type", told) != told:
            raise ValueError(f"predict_epsilon and prediction_type = {options['prediction_type']}, which differ")
    return DEFAULTS | options


def _read_all(folder: Path, name: str) -> tuple[dict[str, Tensor], str]:
    if not name.endswith(".json"):
        data = (folder / name).read_bytes()
        return _read(folder / name, data), hashlib.sha256(data).hexdigest()
    try:
        where = dict(_json(folder / name)["weight_map"])
        shards = sorted(set(where.values()))
        if not shards or any(Path(shard).name != shard for shard in shards):
            raise ValueError("shards that are no files beside it")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / name}: expected the index of shards, got {error!r}; download it again") from error
    digest = hashlib.sha256()
    weights: dict[str, Tensor] = {}
    for shard in shards:
        if not (folder / shard).is_file():
            raise ValueError(f"{folder / shard}: expected a shard of the weights, got nothing there; download it")
        data = (folder / shard).read_bytes()
        digest.update(data)
        part = _read(folder / shard, data)
        if wrong := [key for key in part if where.get(key) != shard]:
            raise ValueError(f"{folder / shard}: expected what {name} says, got {wrong[0]} as well; download all again")
        weights |= part
    return weights, digest.hexdigest()


def _read(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            weights = safetensors.torch.load(data)
        else:  # from a zip or in the older format of torch
            weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: expected the weights of config.json, got a damaged file or one with more than weights in it, of "
            "which nothing was executed; compare its digest with the publisher's"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, SafetensorError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path}: expected the weights of config.json, got {first}; compare its digest with the publisher's"
        ) from error
    if not isinstance(weights, Mapping) or not all(isinstance(w, Tensor) for w in weights.values()):
        keys = f" of {', '.join(map(str, list(weights)[:3]))}" if isinstance(weights, Mapping) else ""
        raise ValueError(
            f"{path}: expected the weights of config.json, got {type(weights).__name__}{keys}; save its state dict"
        )
    return dict(weights)


def _modern(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under today's names of the parts of attention."""
    old = re.compile(rf"(?<=\.)({'|'.join(OLD_NAMES)})(?=\.(?:weight|bias)$)")
    return {
        old.sub(lambda name: OLD_NAMES[name[1]], key) if ".attentions." in key else key: w for key, w in weights.items()
    }


def _json(path: Path) -> dict:
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} with {type(found).__name__} inside")
    return found
