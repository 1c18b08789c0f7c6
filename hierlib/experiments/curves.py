"""Numbers read off measured curves: where a curve is at half height, how steep it is, where two curves cross."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class HalfHeight(NamedTuple):
    """Where a falling curve is half-way between its top and chance, and how steeply it falls there."""

    t: float  #: noise level; nan if the curve does not get there
    slope: float  #: -dy/d ln t, positive


def half_height(
    t: ArrayLike, y: ArrayLike, *, chance: float, top: float = 1.0, window: tuple[float, float] = (0.15, 0.85)
) -> HalfHeight:
    """Half height and slope in ln t, from a cubic fitted to the part of the fall inside a window of heights.

    Args:
        t: (T,) noise levels, positive and increasing.
        y: (T,) the curve.
        chance, top: heights 0 and 1.
        window: the heights that the cubic is fitted to, around 1/2.

    Returns:
        `HalfHeight`; both are nan where the curve does not come from above half height to below it.

    Raises:
        ValueError: t is not positive and increasing, y is not finite, or the shapes differ.

    >>> t = np.geomspace(0.01, 1, 60)
    >>> found = half_height(t, 1 / (1 + (t / 0.1) ** 3), chance=0.0)
    >>> round(found.t, 4), round(found.slope, 2)
    (0.1, 0.74)
    """
    x, y = _checked(t, y)
    h = (y - chance) / (top - chance)
    below = np.flatnonzero((h[:-1] >= 0.5) & (h[1:] < 0.5))
    if not len(below):
        return HalfHeight(np.nan, np.nan)
    i = int(below[0])
    lo, hi = i, i + 1  # grow the window from the crossing, so that a second fall elsewhere does not count
    while lo > 0 and h[lo - 1] <= window[1]:
        lo -= 1
    while hi < len(h) - 1 and h[hi + 1] >= window[0]:
        hi += 1
    x0 = float(np.interp(0.5, [h[i + 1], h[i]], [x[i + 1], x[i]]))
    degree = min(3, hi - lo)
    fit = np.polynomial.Polynomial.fit(x[lo : hi + 1] - x0, h[lo : hi + 1], degree)
    roots = (fit - 0.5).roots()
    roots = roots[np.abs(roots.imag) < 1e-9].real
    roots = roots[(roots >= x[lo] - x0) & (roots <= x[hi] - x0)]
    root = float(roots[np.abs(roots).argmin()]) if len(roots) else 0.0
    return HalfHeight(float(np.exp(x0 + root)), float(-fit.deriv()(root) * (top - chance)))


def width(t: ArrayLike, y: ArrayLike, *, chance: float, top: float = 1.0, log: bool = True) -> float:
    """ln(t_2/t_1), or t_2 - t_1, between the heights .9 and .1 of a falling curve; nan if it does not fall so far."""
    x, y = _checked(t, y)
    x = x if log else np.exp(x)
    h = (y - chance) / (top - chance)
    ends = [_falls_below(x, h, height) for height in (0.9, 0.1)]
    return ends[1] - ends[0]


def slope_at(t: ArrayLike, y: ArrayLike, at: float, *, reach: float = 0.25) -> float:
    """-dy/d ln t at one noise level, from a parabola through the points with ``|ln t - ln at|`` ≤ reach.

    nan where fewer than three points are that near.
    """
    x, y = _checked(t, y)
    x = x - np.log(at)
    near = np.abs(x) <= reach
    if near.sum() < 3:
        return np.nan
    return float(-np.polynomial.Polynomial.fit(x[near], y[near], 2).deriv()(0.0))


def crossing(t: ArrayLike, a: ArrayLike, b: ArrayLike) -> float:
    """The last t at which the curve a goes from above b to below it, linear in ln t; nan if it never does."""
    x, a = _checked(t, a)
    _, b = _checked(t, b)
    d = a - b
    falls = np.flatnonzero((d[:-1] > 0) & (d[1:] <= 0))
    if not len(falls):
        return np.nan
    i = int(falls[-1])
    return float(np.exp(np.interp(0.0, [d[i + 1], d[i]], [x[i + 1], x[i]])))


def bootstrap(
    statistic: Callable, *per_draw: ArrayLike, seed: int = 0, num: int = 1000, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a statistic of means over rule draws, by drawing the draws again with replacement.

    Args:
        statistic: a function of the means (each of shape per_draw.shape[1:]) to a number or an array.
        per_draw: arrays whose first axis is the rule draw. Those of equal length are resampled together (paired).
        seed: of the resampling; the interval has an error of its own, of order 1/√num.
        num: number of resamplings.
        level: coverage.

    Returns:
        (lo, hi), percentiles; resamplings in which the statistic is nan are left out, all nan gives nan.

    >>> lo, hi = bootstrap(float, np.arange(100.0))
    >>> bool(lo < 49.5 < hi)
    True
    """
    arrays = [np.asarray(a, float) for a in per_draw]
    rng = np.random.default_rng(seed)
    weights = {n: rng.multinomial(n, np.full(n, 1 / n), size=num) / n for n in sorted({len(a) for a in arrays})}
    means = [np.tensordot(weights[len(a)], a, 1) for a in arrays]  # (num, …): all resamplings in one product
    found = np.asarray([statistic(*one) for one in zip(*means, strict=True)], float)
    tail = 50 * (1 - level)
    if np.isnan(found).all():
        return np.full(found.shape[1:], np.nan), np.full(found.shape[1:], np.nan)
    return np.nanpercentile(found, tail, axis=0), np.nanpercentile(found, 100 - tail, axis=0)


def _falls_below(x: np.ndarray, h: np.ndarray, height: float) -> float:
    below = np.flatnonzero((h[:-1] >= height) & (h[1:] < height))
    if not len(below):
        return np.nan
    i = int(below[0])
    return float(np.interp(height, [h[i + 1], h[i]], [x[i + 1], x[i]]))


def _checked(t: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    t, y = np.asarray(t, float), np.asarray(y, float)
    if t.ndim != 1 or t.shape != y.shape or len(t) < 2 or not (t > 0).all() or not (np.diff(t) > 0).all():
        raise ValueError(
            f"expected t positive and increasing and y of its shape, got t of shape {t.shape}, y of shape {y.shape}"
        )
    if not np.isfinite(y).all():
        i = int(np.flatnonzero(~np.isfinite(y))[0])
        raise ValueError(f"y: expected finite heights, got {y[i]} at t = {t[i]:g}; leave out what is not measured")
    return np.log(t), y
