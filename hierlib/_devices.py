"""Where tensors are computed: a device by its name, the GPU if there is one; and how numbers come back from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

AUTO = "auto"


def chosen(device: torch.device | str | None = AUTO) -> torch.device:
    """The device that is meant: of "auto", or None, CUDA where torch has it, else the processor.

    Args:
        device: "auto", "cpu", "cuda", or another that torch knows.

    Raises:
        ValueError: torch knows no such device, or it is CUDA's and torch has none here.
    """
    has_cuda = torch.cuda.is_available()
    if device is None or device == AUTO:
        return torch.device("cuda" if has_cuda else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f'device: expected "auto", "cpu" or "cuda", got {device!r}') from None
    if found.type == "cuda" and not has_cuda:
        raise ValueError(
            f'device: expected one that is here, "cpu" or "auto", got "{found}"; torch sees no GPU '
            "(torch.cuda.is_available() is False), so install a build of torch for it, or leave the device to auto"
        )
    return found


def array(x: object, dtype: DTypeLike | None = None) -> NDArray[Any]:
    """`np.asarray` of numbers wherever they are: a tensor of a GPU comes back, others are not copied."""
    return np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x, dtype)
