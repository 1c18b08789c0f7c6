"""Gaussian noise and its evidence on the CPU: what in plain torch takes longer than the inference that it feeds.

A tile is as many data as a vector has lanes, so n must be at least that, 32.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.layout import compiled
from hierlib._kernels.simd import (
    LANE_BYTES,
    exponential,
    fma,
    get,
    int_at,
    itemsize,
    load_anywhere,
    maximum,
    put,
    splat,
)


def diffuse(noise: Tensor, x0: Tensor, spread: Tensor, signal: Tensor) -> Tensor:
    """noise·spread, (leaves, symbols, n) and (n,), with the signal, (n,), added at the symbols x0, (n, leaves)."""
    (leaves, symbols, n), x0 = noise.shape, x0.T.contiguous()
    x, spread, signal = memory.empty(noise.shape, noise.dtype), spread.contiguous(), signal.contiguous()
    ends = noise.data_ptr(), x.data_ptr()
    run_diffuse(_real(x), *ends, leaves, symbols, n, x0.data_ptr(), spread.data_ptr(), signal.data_ptr())
    return x


def softmax(x: Tensor, scale: Tensor) -> tuple[Tensor, bool]:
    """Softmax over the symbols of x·scale, (leaves, symbols, n) and (n,); and whether all of x is finite."""
    leaves, symbols, n = x.shape
    x, scale = x.contiguous(), scale.contiguous()
    y, check = memory.empty((leaves, symbols, n), x.dtype), x.new_empty(LANE_BYTES // x.element_size())
    ends = x.data_ptr(), y.data_ptr()
    run_softmax(_real(x), *ends, leaves, symbols, n, scale.data_ptr(), check.data_ptr())
    return y, bool(torch.isfinite(check).all())


def _real(x: Tensor) -> np.floating:
    return np.float32(0) if x.dtype == torch.float32 else np.float64(0)


@compiled
def run_diffuse(real, noise, x, leaves, symbols, n, x0, spread, signal):
    """noise, x: addresses of (leaves, symbols, n); x0: of int64 (leaves, n); spread, signal: of (n,)."""
    size = itemsize(real)
    width, row = LANE_BYTES // size, n * size
    for leaf in range(leaves):
        for a in range(leaf * symbols, (leaf + 1) * symbols):
            for tile in range(0, n, width):
                lane = min(tile, n - width) * size  # the last tile may do some data again
                factor = load_anywhere(real, spread + lane)
                put(x + a * row + lane, load_anywhere(real, noise + a * row + lane) * factor)
        for k in range(n):
            at = x + (leaf * symbols + int_at(x0, leaf * n + k)) * row + k * size
            put(at, get(real, at) + get(real, signal + k * size))


@compiled
def run_softmax(real, x, y, leaves, symbols, n, scale, check):
    """x, y: addresses of (leaves, symbols, n); scale: of (n,); check: of a vector, NaN where x is not finite."""
    width, row, zero, bad = LANE_BYTES // itemsize(real), n * itemsize(real), splat(real, 0), splat(real, 0)
    for leaf in range(leaves):
        for tile in range(0, n, width):
            lane = min(tile, n - width) * itemsize(real)
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
