"""Gaussian noise and its evidence on the CPU: what in plain torch takes longer than the inference that it feeds.

A tile is as many data as a vector has lanes, or what is left of them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.compiled.exponential import exponential, maximum
from hierlib._kernels.compiled.layout import entry
from hierlib._kernels.compiled.normal import fill_normal
from hierlib._kernels.compiled.simd import (
    LANE_BYTES,
    fma,
    get,
    int_at,
    itemsize,
    load_some,
    put,
    put_some,
    splat,
)


def diffuse(x: Tensor, x0: Tensor, spread: Tensor, signal: Tensor, generator: torch.Generator | None) -> None:
    """Make x, (leaves, symbols, n), noise·spread plus the signal, (n,) each, at the symbols x0, (n, leaves)."""
    fill_normal(x, generator)
    (leaves, symbols, n), x0 = x.shape, memory.readable(x0.T.contiguous())
    spread, signal = (memory.readable(y.contiguous()) for y in (spread, signal))
    ends = x0.data_ptr(), spread.data_ptr(), signal.data_ptr()
    run_diffuse(_real(x), x.data_ptr(), leaves, symbols, n, *ends)


def softmax(x: Tensor, scale: Tensor) -> tuple[Tensor, bool]:
    """Softmax over the symbols of x·scale, (leaves, symbols, n) and (n,); and whether all of that is finite."""
    leaves, symbols, n = x.shape
    x, scale = memory.readable(x.contiguous()), memory.readable(scale.contiguous())
    y, check = memory.empty((leaves, symbols, n), x.dtype), x.new_empty(LANE_BYTES // x.element_size())
    ends = x.data_ptr(), y.data_ptr()
    run_softmax(_real(x), *ends, leaves, symbols, n, scale.data_ptr(), check.data_ptr())
    return y, bool(torch.isfinite(check).all())


def _real(x: Tensor) -> np.floating:
    return np.float32(0) if x.dtype == torch.float32 else np.float64(0)


@entry
def run_diffuse(
    real: np.floating, x: int, leaves: int, symbols: int, n: int, x0: int, spread: int, signal: int
) -> None:
    """x: address of (leaves, symbols, n); x0: of int64 (leaves, n); spread, signal: of (n,)."""
    size, zero = itemsize(real), splat(real, 0)
    width, row = LANE_BYTES // size, n * size
    for leaf in range(leaves):
        for tile in range(0, n, width):
            here, count = x + leaf * symbols * row + tile * size, min(width, n - tile)
            factor = load_some(real, spread + tile * size, count, zero)
            for a in range(symbols):
                put_some(here + a * row, load_some(real, here + a * row, count, zero) * factor, count)
        for k in range(n):
            at = x + (leaf * symbols + int_at(x0, leaf * n + k)) * row + k * size
            put(at, get(real, at) + get(real, signal + k * size))


@entry
def run_softmax(real: np.floating, x: int, y: int, leaves: int, symbols: int, n: int, scale: int, check: int) -> None:
    """x, y: addresses of (leaves, symbols, n); scale: of (n,); check: of a vector, NaN where x·scale is not finite."""
    size, zero, bad = itemsize(real), splat(real, 0), splat(real, 0)
    width, row = LANE_BYTES // size, n * size
    for leaf in range(leaves):
        for tile in range(0, n, width):
            lane, count = leaf * symbols * row + tile * size, min(width, n - tile)
            here, into, factor = x + lane, y + lane, load_some(real, scale + tile * size, count, zero)
            high, total = load_some(real, here, count, zero) * factor, zero
            for a in range(1, symbols):
                high = maximum(load_some(real, here + a * row, count, zero) * factor, high)
            high = high * splat(real, -1)
            for a in range(symbols):
                z = load_some(real, here + a * row, count, zero)
                p = exponential(fma(z, factor, high))
                total, bad = total + p, fma(z * factor, zero, bad)
                put_some(into + a * row, p, count)
            total = splat(real, 1) / total
            for a in range(symbols):
                put_some(into + a * row, load_some(real, into + a * row, count, zero) * total, count)
    put(check, bad)
