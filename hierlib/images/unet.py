"""diffusers' UNet2DModel with exactly the weights that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import hierlib._torchvision  # noqa: F401
from hierlib._finite import all_finite

if TYPE_CHECKING:
    from diffusers import UNet2DModel


def small_config(channels: int, size: int, widths: tuple[int, ...], layers: int = 1, fold: int = 2) -> dict:
    """Arguments of UNet2DModel for a small model of folded images, with attention at the coarsest resolution.

    Args:
        channels, size: of the images.
        widths: channels of the levels, from the finest to the coarsest; multiples of 8.
        layers: residual blocks a level.
        fold: blocks of fold × fold pixels are channels; it and 2^(levels - 1) divide the size.
    """
    inside = channels * fold**2
    return dict(
        sample_size=size // fold,
        in_channels=inside,
        out_channels=inside,
        layers_per_block=layers,
        block_out_channels=list(widths),
        norm_num_groups=8,
        attention_head_dim=min(32, widths[-1]),
        down_block_types=["DownBlock2D"] * (len(widths) - 1) + ["AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D"] + ["UpBlock2D"] * (len(widths) - 1),
    )


def unet(config: Mapping, weights: Mapping[str, Tensor] | None = None) -> UNet2DModel:
    """diffusers.UNet2DModel of a configuration, with the given weights, or with random ones.

    Args:
        config: its arguments.
        weights: a state dict of exactly this network.

    Raises:
        ValueError: a weight is missing, has another shape, has no place in the network, is of another kind of numbers
            (quantised, complex …) or not finite; it is named.
    """
    from diffusers import UNet2DModel

    if weights is None:
        with torch.device("cpu"):
            return UNet2DModel(**config)
    with torch.device("meta"):
        network = UNet2DModel(**config)
    check_weights(network.state_dict(), weights)
    network.load_state_dict(dict(weights), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def check_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Whether these are all weights of a network and nothing else, finite all of them.

    Args:
        own: the network's state dict; of its values only shapes and kinds count.
        weights: a state dict, of any precision, but of the same kinds of numbers.

    Raises:
        ValueError: they are not; the first weight of each kind is named.
    """
    wrong = {
        "none for": [name for name in own if name not in weights],
        "no place for": [name for name in weights if name not in own],
        "another shape for": [n for n, w in weights.items() if n in own and w.shape != own[n].shape],
    }
    for name, w in weights.items():  # torch would cast them, integers without the scale that they are to be read with
        if name in own and (kind := _kind(w)) != (wanted := _kind(own[name])):
            wrong.setdefault(f"{kind} where {wanted} are expected for", []).append(name)
    said = [
        f"{what} {names[0]}" + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")
        for what, names in wrong.items()
        if names
    ]
    if said:
        raise ValueError(f"weights: expected those of the configured network, got {', '.join(said)}; take its own file")
    named = {f"weight {name}": w for name, w in weights.items()}
    all_finite(named, "take another copy of the file, or an earlier checkpoint of its training")


def _kind(w: Tensor) -> str:
    if w.layout != torch.strided:
        return "sparse numbers"
    if w.is_quantized:
        return "quantised numbers"
    if w.is_complex():
        return "complex numbers"
    if w.is_floating_point() and w.dtype.itemsize < 2:
        return "floats of 8 bits"
    return "floats" if w.is_floating_point() else "truth values" if w.dtype == torch.bool else "integers"
