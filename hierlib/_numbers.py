"""Numbers that someone gives, one or many, as tensors: noise levels, strengths, priors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Numbers = float | Sequence[float] | np.ndarray | Tensor  # one or many


def noise_levels(t: Numbers, name: str = "t") -> Tensor:
    """Noise levels, one or many, as (T,) float64 on the CPU; a ValueError of what is no number, or of none."""
    t = as_numbers(name, t, torch.float64, torch.device("cpu")).reshape(-1)
    if not len(t):
        raise ValueError(f"{name}: expected one noise level or more, got none")
    return t


def as_numbers(name: str, value: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of what is a number or numbers; a ValueError that calls it by its name, of what is not."""
    try:
        return torch.as_tensor(value, dtype=dtype, device=device)
    except (TypeError, ValueError, RuntimeError):
        if isinstance(value, Tensor):  # it is its device that fails
            raise
        raise ValueError(f"{name}: expected a number or a sequence of numbers, got {value!r}") from None


def per_datum(name: str, value: float | Tensor, x: Tensor, dtype: torch.dtype, low: float, high: float) -> Tensor:
    """A number, or one a datum, as an (n,) tensor with x's device, checked to lie in [low, high]."""
    value = as_numbers(name, value, dtype, x.device)
    if value.ndim > 1 or (value.ndim == 1 and len(value) != len(x)):
        raise ValueError(f"{name}: expected a number or shape ({len(x)},), got shape {tuple(value.shape)}")
    if not ((value >= low) & (value <= high)).all():
        bad = value if value.ndim == 0 else value[~((value >= low) & (value <= high))][0]
        raise ValueError(f"{name}: expected in [{low:g}, {high:g}], got {bad.item():g}")
    return value.expand(len(x))
