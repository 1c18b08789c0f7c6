"""Files of torchvision's weights: read strictly, and the size that images are brought to for them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

import hierlib._torchvision  # noqa: F401
from hierlib.images.unet import check_weights

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

SIZES = '{"resize": 232, "crop": 224}'


def sizes_of(version: WeightsEnum) -> dict[str, int]:
    """Pixels that images are resized and cropped to for weights that torchvision publishes."""
    wanted = version.transforms()
    return dict(resize=wanted.resize_size[0], crop=wanted.crop_size[0])


def sizes_for(name: str, path: Path, digest: str, given: Mapping[str, int]) -> dict[str, int]:
    """The same for the weights of a file: what is given, else what a json beside it says, else torchvision.

    Args:
        name: of a network of torchvision.
        path: of the file.
        digest: its sha256, of which torchvision's file names give the first eight digits.
        given: resize and crop, as far as they are given.

    Raises:
        ValueError: they are none that torchvision publishes for this network, and no json beside the file says it; the
            json says something else.
    """
    from torchvision.models import get_model_weights

    sizes: dict[str, int] = {}
    for version in get_model_weights(name):
        if digest.startswith(Path(version.url).stem.rsplit("-", 1)[1]):
            sizes = sizes_of(version)
    beside = Path(path).with_suffix(".json")
    if beside.is_file():
        sizes = _said(beside)
    sizes |= given
    if len(sizes) < 2:
        raise ValueError(
            f"{path}: expected weights that torchvision publishes for {name}, or to be told in pixels how their images "
            f"are prepared, got others; pass resize and crop, or write them into {beside.name}: {SIZES}"
        )
    return sizes


def _said(beside: Path) -> dict[str, int]:
    try:
        found = json.loads(beside.read_text("utf-8"))
        sizes = {key: found[key] for key in ("resize", "crop")}
        if odd := [size for size in sizes.values() if type(size) is not int or size < 1]:
            raise ValueError(f"{odd[0]!r}")
        if more := sorted(found.keys() - sizes.keys()):
            raise ValueError(f"{more[0]} as well, which is not used: make a Probe yourself for other preparations")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{beside}: expected numbers of pixels like {SIZES}, got {error!r}") from error
    return sizes


def read_weights(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network of torchvision from a file.

    Args:
        path: of torchvision's format, new or old, or safetensors.
        network: what the weights are for.

    Raises:
        ValueError: there is no such file, it is damaged or of another network, or a weight is not finite or of another
            kind of numbers. Nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of weights, got nothing there; check the path or pass download=True")
    try:
        if path.suffix == ".safetensors":
            source = safetensors.torch.load_file(path)
        else:
            source = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path}: expected a whole file of weights, got {str(error)[:200]}; compare its digest with the publisher's"
        ) from error
    if not isinstance(source, Mapping) or not all(isinstance(w, Tensor) for w in source.values()):
        raise ValueError(f"{path}: expected weights, got {type(source).__name__}; save the state dict alone")
    own = network.state_dict()
    uncounted = {name: w for name, w in own.items() if name.endswith("num_batches_tracked")}  # not in files before 2018
    source = uncounted | dict(source)
    try:
        check_weights(own, source)
    except ValueError as error:
        raise ValueError(f"{path}: {error} (a {type(network).__name__}; is it the name of another?)") from error
    return source
