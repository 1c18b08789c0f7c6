"""Tables that give each symbol a point in space, and what a noisy point tells of its symbol.

A table φ is (v, p). Of x = √ᾱ φ(a) + √(1-ᾱ) η, η normal, the posterior of a for a uniform prior is the softmax over a
of √ᾱ/(1-ᾱ) (x·φ(a) - √ᾱ ‖φ(a)‖²/2); the second term matters wherever the points are not all as long as each other.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def table(embedding: ArrayLike | Tensor, v: int, dtype: torch.dtype) -> Tensor:
    """A table of v points, checked, as a float64 tensor of its own.

    Args:
        embedding: (v, p) finite numbers, p ≥ 1; a row may be zero, and rows may be equal: such symbols look the same.
        v: alphabet size.
        dtype: the floating type that must hold them.

    Returns:
        (v, p), on the device of the embedding.

    Raises:
        ValueError: it is no such table, or its numbers leave the range of the type.
    """
    expected = f"embedding: expected a table ({v}, p) of finite numbers, a row for each of the v = {v} symbols, got"
    try:
        given = embedding if isinstance(embedding, Tensor) else torch.as_tensor(np.asarray(embedding), device="cpu")
    except (TypeError, ValueError):
        raise ValueError(f"{expected} {embedding!r}") from None
    if given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"{expected} {given.dtype}")
    if given.ndim != 2 or len(given) != v or not given.shape[1]:
        hint = "; flatten tiles by .flatten(1)" if given.ndim > 2 and len(given) == v else ""
        raise ValueError(f"{expected} shape {tuple(given.shape)}{hint}")
    found = given.detach().to(torch.float64, copy=True)
    if not found.isfinite().all():
        raise ValueError(f"{expected} NaN or infinity in row {int((~found.isfinite()).any(1).nonzero()[0])}")
    if not (found.to(dtype).isfinite().all() and found.square().sum().isfinite()):
        raise ValueError(f"{expected} numbers up to {found.abs().max():.3g}, which {dtype} cannot hold: scale it")
    return found


def scores(points: Tensor, x: Tensor, signal: Tensor) -> Tensor:
    """x·φ(a) - signal ‖φ(a)‖²/2 up to what all symbols share: times signal/(1-ᾱ), the logarithm of the posterior.

    Args:
        points: (v, p) the table φ.
        x: (n, d, p), what is seen.
        signal: (n,) √ᾱ.

    Returns:
        (d, v, n) float64.
    """
    points, x, signal = points.to(x.device), x.double(), signal.double()
    centre = points.mean(0)  # points far from zero and near each other: what they share would swallow the digits
    points, x = points - centre, x - signal[:, None, None] * centre
    return torch.einsum("ndp,vp->dvn", x, points) - (points.square().sum(1)[:, None] / 2 * signal)


def nearest(points: Tensor, x: Tensor) -> Tensor:
    """Of each x, (n, d, p), the symbol whose point is next to it: (n, d) int64; of equal points the first."""
    return scores(points, x, torch.ones(len(x), dtype=torch.float64, device=x.device)).argmax(1).T.contiguous()


def squared_distances(points: Tensor) -> Tensor:
    """‖φ(a) - φ(b)‖² of every two symbols, (v, v)."""
    return (points[:, None] - points).square().sum(-1)


def equidistant(points: Tensor) -> bool:
    """Whether all points are as far from each other, to 1e-9: then the noise treats all symbols alike."""
    v = len(points)
    apart = squared_distances(points)[~torch.eye(v, dtype=torch.bool, device=points.device)]
    return v < 2 or bool(apart.max() - apart.min() <= 1e-9 * apart.max())


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two tables are the same, or none is one."""
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(torch.equal(one, other.to(one.device)))
