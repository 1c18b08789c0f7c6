"""Numbers read off measured curves, and their intervals over rule draws.

Where a curve is at half height, how steep it is, where two curves cross, where one peaks. Rows of draws come first in
every array: (draws, …).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

FloatOrArray = TypeVar("FloatOrArray", float, np.ndarray)
Number = TypeVar("Number", bound=float | np.ndarray)


class Interval(NamedTuple, Generic[Number]):
    """A number or an array of them with its 95 % interval."""

    value: Number
    lo: Number
    hi: Number

    @property
    def bounds(self) -> tuple[Number, Number]:
        """The pair (lo, hi)."""
        return self.lo, self.hi

    def at(self, index: Any) -> Interval:
        """The interval of some of the entries, as of an array."""
        return Interval(*(np.asarray(x)[index] for x in self))

    def within(self, low: float, high: float) -> Interval:
        """The interval cut to what the quantity can be at all, say 0 … 1 for a probability; the value stays.

        >>> Interval(0.99, 0.97, 1.01).within(0, 1)
        Interval(value=0.99, lo=0.97, hi=1.0)
        """
        lo, hi = (np.clip(x, low, high) for x in self.bounds)
        return Interval(self.value, *(x if np.ndim(x) else float(x) for x in (lo, hi)))


NOTHING = Interval(np.nan, np.nan, np.nan)  # of a number that does not exist, say a threshold where there is none


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
        (lo, hi), percentiles; resamplings in which the statistic is nan are left out, all nan gives nan. One draw
        alone does not tell how far draws differ: nan.

    Raises:
        ValueError: an array has no draws.

    >>> lo, hi = bootstrap(float, np.arange(100.0))
    >>> bool(lo < 49.5 < hi)
    True
    """
    arrays = [np.asarray(a, float) for a in per_draw]
    fewest = min(map(len, arrays))
    if not fewest:
        raise ValueError("an interval takes two draws or more, got none")
    if fewest == 1:
        nothing = np.full(np.shape(statistic(*(a.mean(0) for a in arrays))), np.nan)
        return nothing, nothing.copy()
    rng = np.random.default_rng(seed)
    weights = {n: rng.multinomial(n, np.full(n, 1 / n), size=num) / n for n in sorted({len(a) for a in arrays})}
    means = [np.tensordot(weights[len(a)], a, 1) for a in arrays]  # (num, …): all resamplings in one product
    found = np.asarray([statistic(*one) for one in zip(*means, strict=True)], float)
    tail = 50 * (1 - level)
    if np.isnan(found).all():
        return np.full(found.shape[1:], np.nan), np.full(found.shape[1:], np.nan)
    return np.nanpercentile(found, tail, axis=0), np.nanpercentile(found, 100 - tail, axis=0)


def estimate(statistic: Callable, *per_draw: ArrayLike, seed: int = 0, num: int = 1000) -> Interval:
    """A statistic of means over rule draws, and its bootstrapped interval: arguments as of `bootstrap`.

    >>> found = estimate(lambda a, b: a / b, [1.0, 3.0], [2.0, 6.0])
    >>> float(found.value), float(found.lo), float(found.hi)
    (0.5, 0.5, 0.5)
    """
    interval = bootstrap(statistic, *per_draw, seed=seed, num=num)
    return Interval(statistic(*(np.asarray(a, float).mean(0) for a in per_draw)), *interval)


def mean_interval(rows: ArrayLike, *, seed: int = 0, num: int = 1000) -> Interval:
    """The mean over rule draws, (draws, …) to (…), and its bootstrapped interval."""
    return estimate(lambda mean: mean, rows, seed=seed, num=num)


def normal_interval(rows: ArrayLike) -> Interval:
    """The mean over rule draws, (draws, …) to (…), and 1.96 standard errors to either side: for many draws."""
    rows = np.asarray(rows)
    return plus_minus(rows.mean(0), standard_error(rows))


def plus_minus(value: FloatOrArray, error: FloatOrArray) -> Interval[FloatOrArray]:
    """A value and 1.96 of its standard errors to either side.

    >>> plus_minus(1.0, 0.25)
    Interval(value=1.0, lo=0.51, hi=1.49)
    """
    return Interval(value, value - 1.96 * error, value + 1.96 * error)


def ratio_of_means(a: ArrayLike, b: ArrayLike) -> Interval[float]:
    """The mean of one sample over that of another, (n,) and (k,), independent; errors to first order."""
    a, b = np.asarray(a), np.asarray(b)
    ratio = a.mean() / b.mean()
    error = abs(ratio) * np.hypot(standard_error(a) / a.mean(), standard_error(b) / b.mean())
    return plus_minus(float(ratio), float(error))


def worst(gap: Interval[np.ndarray]) -> Interval[float]:
    """Of many differences the one largest in size, as a positive number with its interval."""
    i = np.unravel_index(np.abs(gap.value).argmax(), gap.value.shape)
    sign = np.sign(gap.value[i])
    return Interval(float(abs(gap.value[i])), *sorted((float(sign * gap.lo[i]), float(sign * gap.hi[i]))))


def difference(a: Interval[float], b: Interval[float]) -> Interval[float]:
    """a - b of two independent numbers: half the lengths of their intervals are added in squares.

    >>> difference(Interval(5.0, 2.0, 8.0), Interval(1.0, -3.0, 5.0))
    Interval(value=4.0, lo=-1.0, hi=9.0)
    """
    value, error = a.value - b.value, np.hypot((a.hi - a.lo) / 2, (b.hi - b.lo) / 2)
    return Interval(*(float(x) for x in (value, value - error, value + error)))


def quotient(a: Interval[float], b: Interval[float]) -> Interval[float]:
    """a / b of two independent positive numbers: half the relative lengths of their intervals are added in squares.

    >>> quotient(Interval(8.0, 5.6, 10.4), Interval(2.0, 1.2, 2.8))
    Interval(value=4.0, lo=2.0, hi=6.0)
    """
    value = a.value / b.value
    error = value * np.hypot((b.hi - b.lo) / 2 / b.value, (a.hi - a.lo) / 2 / a.value)
    return Interval(*(float(x) for x in (value, value - error, value + error)))


def standard_error(rows: ArrayLike) -> np.ndarray:
    """Of a mean over rule draws, (draws, …) to (…), draws ≥ 2.

    Raises:
        ValueError: there are fewer draws.
    """
    rows = np.asarray(rows)
    if len(rows) < 2:
        raise ValueError(f"a standard error takes two draws or more, got {len(rows)}")
    return rows.std(0, ddof=1) / len(rows) ** 0.5


def last_above(t: ArrayLike, y: ArrayLike, other: ArrayLike) -> float:
    """The largest t at which a curve is above another, linear in between; 0 where it never is, t[-1] if to the end.

    Args:
        t: (T,) increasing.
        y: (T,) the curve. other: a number or (T,).

    Raises:
        ValueError: t is not increasing, a height is not finite, or the shapes differ.

    >>> last_above([0.0, 0.5, 1.0], [1.0, 0.8, 0.0], 0.4)
    0.75
    """
    t, y = _increasing(t, y)
    _, other = _increasing(t, np.broadcast_to(other, y.shape) if np.ndim(other) == 0 else other)
    gap = y - other
    above = np.flatnonzero(gap > 0)
    if not len(above):
        return 0.0
    i = above[-1]
    if i == len(t) - 1:
        return float(t[-1])
    a, b = gap[i : i + 2]
    return float(t[i] + (t[i + 1] - t[i]) * a / (a - b))


def between(t: ArrayLike, y: ArrayLike, at: float) -> np.ndarray:
    """The values of each draw at one noise level, linear in ln t between the two that were run.

    Args:
        t: (T,) noise levels, positive and increasing, of which two or more.
        y: (draws, T, …).
        at: between t[0] and t[-1]; or nan, a noise level that does not exist, whose values are nan.

    Returns:
        (draws, …).
    """
    t, y = np.asarray(t, float), np.asarray(y)
    if np.isnan(at):
        return np.full(y[:, 0].shape, np.nan)
    if not t[0] * (1 - 1e-9) <= at <= t[-1] * (1 + 1e-9):
        raise ValueError(f"at: expected a noise level from {t[0]:g} to {t[-1]:g}, got {at:g}")
    i = int(np.clip(np.searchsorted(t, at * (1 - 1e-9)), 1, len(t) - 1))
    w = (np.log(at) - np.log(t[i - 1])) / (np.log(t[i]) - np.log(t[i - 1]))
    return (1 - w) * y[:, i - 1] + w * y[:, i]


def peak(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Place and height of a peak: a parabola through the largest point and its neighbours, (T,) and (T,), T ≥ 3.

    Raises:
        ValueError: x is not increasing, a height is not finite, the shapes differ, or there are fewer points.

    >>> [round(z, 3) for z in peak([0, 1, 2, 3], [0.0, 3.0, 4.0, 3.0])]
    [2.0, 4.0]
    """
    x, y = _increasing(x, y, least=3)
    k = int(np.clip(np.argmax(y), 1, len(y) - 2))
    a, b, c = np.polyfit(x[k - 1 : k + 2], y[k - 1 : k + 2], 2)
    if not a < 0:
        return float(x[np.argmax(y)]), float(np.max(y))
    at = float(np.clip(-b / (2 * a), x[k - 1], x[k + 1]))
    return at, float(np.polyval([a, b, c], at))


def _falls_below(x: np.ndarray, h: np.ndarray, height: float) -> float:
    below = np.flatnonzero((h[:-1] >= height) & (h[1:] < height))
    if not len(below):
        return np.nan
    i = int(below[0])
    return float(np.interp(height, [h[i + 1], h[i]], [x[i + 1], x[i]]))


def _checked(t: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """ln t and y of a curve whose noise levels are positive and increasing."""
    t, y = _increasing(t, y)
    if not t[0] > 0:
        raise ValueError(f"expected t positive and increasing, got t = {t[0]:g}")
    return np.log(t), y


def _increasing(t: ArrayLike, y: ArrayLike, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """t and y of a curve, as arrays: two points or more, in order, none of them missing."""
    t, y = np.asarray(t, float), np.asarray(y, float)
    if t.ndim != 1 or t.shape != y.shape or len(t) < least or not (np.diff(t) > 0).all() or not np.isfinite(t).all():
        raise ValueError(
            f"expected {least} or more t, finite and increasing, and y of its shape, got t of shape {t.shape}, y of "
            f"shape {y.shape}"
        )
    if not np.isfinite(y).all():
        i = int(np.flatnonzero(~np.isfinite(y))[0])
        raise ValueError(f"y: expected finite heights, got {y[i]} at t = {t[i]:g}; leave out what is not measured")
    return t, y
