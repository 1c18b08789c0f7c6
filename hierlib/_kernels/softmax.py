"""The evidence of Gaussian noise on the CPU: a softmax over symbols, which takes plain torch as long as inference."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.layout import compiled
from hierlib._kernels.simd import LANE_BYTES, exponential, fma, itemsize, load_anywhere, maximum, put, splat


def serves(x: Tensor) -> bool:
    """Whether the kernel can do it: a vector of data at least, on the CPU, without a gradient."""
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return False
    return len(x) * x.element_size() >= LANE_BYTES and not (torch.is_grad_enabled() and x.requires_grad)


def softmax(x: Tensor, scale: Tensor) -> tuple[Tensor, bool]:
    """Softmax over the symbols of x·scale, (leaves, symbols, n) and (n,); and whether all of x is finite."""
    leaves, symbols, n = x.shape
    x, scale = x.contiguous(), scale.contiguous()
    y, check = memory.empty((leaves, symbols, n), x.dtype), x.new_empty(LANE_BYTES // x.element_size())
    real = np.float32(0) if x.dtype == torch.float32 else np.float64(0)
    run_softmax(real, x.data_ptr(), y.data_ptr(), leaves, symbols, n, scale.data_ptr(), check.data_ptr())
    return y, bool(torch.isfinite(check).all())


@compiled
def run_softmax(real, x, y, leaves, symbols, n, scale, check):
    """x, y: addresses of (leaves, symbols, n); scale: of (n,); check: of a vector, NaN where x is not finite."""
    width, row, zero, bad = LANE_BYTES // itemsize(real), n * itemsize(real), splat(real, 0), splat(real, 0)
    for leaf in range(leaves):
        for tile in range(0, n, width):
            lane = min(tile, n - width) * itemsize(real)  # the last tile may do some data again
            here, into = x + leaf * symbols * row + lane, y + leaf * symbols * row + lane
            factor = load_anywhere(real, scale + lane)
            high, total = load_anywhere(real, here) * factor, zero
            for a in range(1, symbols):
                high = maximum(load_anywhere(real, here + a * row) * factor, high)
            high = high * splat(real, -1)
            for a in range(symbols):
                z = load_anywhere(real, here + a * row)
                p = exponential(fma(z, factor, high))
                total, bad = total + p, fma(z, zero, bad)
                put(into + a * row, p)
            total = splat(real, 1) / total
            for a in range(symbols):
                put(into + a * row, load_anywhere(real, into + a * row) * total)
    put(check, bad)
