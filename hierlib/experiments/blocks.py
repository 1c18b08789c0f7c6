"""Blocks of changes, read off measured moments: how large they are, at which noise the largest, how far they reach.

Intervals are over grammars: statistics are taken of the moments' means, bootstrapped over rule draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib._devices import array
from hierlib.experiments import changes
from hierlib.experiments.changes import Curves, Moments
from hierlib.experiments.curves import NOTHING, Interval, difference, estimate, half_height, mean_interval, peak
from hierlib.experiments.uturns import class_curves
from hierlib.grammar import Grammar
from hierlib.inference import posterior_sample
from hierlib.noise import EpsilonNoise, Noise, epsilon_evidence
from hierlib.theory import meanfield
from hierlib.theory.changes import correlation_length, mean_field

Array = NDArray[np.float64]


def kept_at(g: Grammar, x: Sequence[Tensor], eps: Sequence[float], *, seed: int = 0) -> list[list[Tensor]]:
    """Which symbols of one datum are kept in a U-turn of the ε-process, one posterior sample at each of several noises.

    Args:
        g: the grammar.
        x: the symbols of each level, leaves first, as `hierlib.sample` gives them; the first datum is taken.
        eps: noises, in [0, 1].
        seed: of the posterior samples, which take the same random numbers at each noise.

    Returns:
        For each noise a bool tensor (s^(L-l),) a level, leaves first.
    """
    found = []
    for noise in eps:
        evidence = epsilon_evidence(x[0][:1], eps=noise, v=g.v)
        y = posterior_sample(g, evidence, generator=torch.Generator(g.device).manual_seed(seed))
        found.append([(after[0, 0] == before[0]) for after, before in zip(y, x, strict=True)])
    return found


def susceptibility_curve(moments: Moments, *, seed: int = 0) -> Interval:
    """Susceptibility at each noise, (T,): variance and independent variance are averaged over grammars first."""
    return estimate(_chi, moments.variance, moments.independent, seed=seed)


def length_curve(moments: Moments, s: int, *, seed: int = 0) -> Interval:
    """Correlation length at each noise in leaves, (T,), from the correlation averaged over grammars."""
    return estimate(lambda C: correlation_length(C, s), moments.C, seed=seed)


def correlation_at(moments: Moments, at: int, *, seed: int = 0) -> Interval:
    """Correlation of changes by the level at which two leaves meet, (L+1,), at one of the noises (its index)."""
    return mean_interval(moments.C[:, at], seed=seed)


class Peak(NamedTuple):
    """The largest susceptibility."""

    place: Interval  #: the noise
    height: Interval


def susceptibility_peak(t: ArrayLike, moments: Moments, *, seed: int = 0) -> Peak:
    """Where the measured susceptibility is largest among the noises t, (T,), and how large it is there."""
    found = estimate(lambda *y: np.array(peak(t, _chi(*y))), moments.variance, moments.independent, seed=seed)
    return Peak(found.at(0), found.at(1))


def count_gap(g: Grammar, evidence: Tensor, x0: Tensor, *, num_samples: int, generator: torch.Generator) -> Interval:
    """Susceptibility counted in posterior samples minus the exact one, without bias: 0 within its error, over data.

    Args:
        g, evidence, x0: as for `hierlib.experiments.changes.kept_moments`, of at least two data.
        num_samples: of the posterior of each datum.
        generator: source of randomness.
    """
    y = posterior_sample(g, evidence, num_samples=num_samples, generator=generator)[0]
    counted, exact = changes.sampled_moments(y, x0, g.s), changes.kept_moments(g, evidence, x0)
    chi = exact.variance / exact.independent
    gaps = array((counted.variance - chi * counted.independent) / exact.independent)
    value, error = float(gaps.mean()), 1.96 * float(gaps.std(ddof=1)) / len(gaps) ** 0.5
    return Interval(value, value - error, value + error)


def decay_exponent(log_r: ArrayLike, C: ArrayLike) -> float:
    """a of C ~ r^-a, by least squares in the logarithms; nan unless all C are positive.

    >>> round(decay_exponent(np.log([1, 2, 4]), [1.0, 0.25, 0.0625]), 6)
    2.0
    """
    C = np.asarray(C, float)
    return float(-np.polyfit(np.asarray(log_r, float), np.log(C), 1)[0]) if (C > 0).all() else np.nan


class Growth(NamedTuple):
    """How the susceptibility grows with the number of levels, from each depth to the next."""

    steps: Interval  #: (depths - 1,) what is added
    ratio: Interval  #: the second step over the first


def growth(moments: Sequence[Moments], *, seed: int = 0) -> Growth:
    """Growth of the susceptibility over at least three depths, each measured at one noise (the first of its moments).

    Where blocks are unbounded, steps of equal depth grow by s^(2/ν - 1) a level; below one they fade.
    """
    if len(moments) < 3:
        raise ValueError(f"moments: expected those of at least three depths, got {len(moments)}")
    parts = [y[:, 0] for each in moments for y in (each.variance, each.independent)]

    def steps(*means: Array) -> Array:
        return np.diff([float(a / b) for a, b in zip(means[::2], means[1::2], strict=True)])

    def ratio(*means: Array) -> float:
        first, second = steps(*means)[:2]
        return second / first

    return Growth(*(estimate(each, *parts, seed=seed) for each in (steps, ratio)))


class Expected(NamedTuple):
    """The largest susceptibility and the loss of the class in the mean field."""

    place: float  #: noise of the largest susceptibility
    height: float
    half: float  #: noise of the class's half height; nan where it is kept or never there
    reach: float  #: half the width of the peak, where the susceptibility is above 0.93 of its largest value


def expected_peak(v: int, m: float, s: int, L: int) -> Expected:
    """What the mean field expects of the ε-process; arguments as in `hierlib.theory.changes.mean_field`."""
    eps = np.linspace(0.002, 0.998, 999)
    y, P = mean_field(eps, v, m, s, L).chi, meanfield.solve(eps, v, m, s, L).P[:, -1]
    near = eps[y > 0.93 * y.max()]
    return Expected(eps[y.argmax()], y.max(), half_height(eps, P, chance=1 / v).t, max(near[-1] - near[0], 0.02) / 2)


class Measured(NamedTuple):
    """What `Expected` says, by exact inference."""

    place: Interval
    height: Interval
    half: Interval


def measured_peak(
    *, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator, seed: int = 0
) -> Measured:
    """The largest susceptibility of the ε-process and the class's half height, for fresh grammars and data.

    Both are looked for around what the mean field expects.

    Args:
        v, m, s, L: of the grammars, with a threshold.
        draws: number of grammars; the class gets four times as many.
        data: number of data from each.
        generator: source of randomness.
        seed: of the intervals.
    """
    size, expected = dict(v=v, m=m, s=s, L=L), expected_peak(v, m, s, L)
    eps = np.unique(np.clip(expected.place + expected.reach * np.arange(-2, 3), 0.01, 0.99))
    noise = EpsilonNoise(v)
    found = changes.curves(noise, eps, **size, draws=draws, data=data, generator=generator)
    near = np.unique(np.clip(expected.half + np.linspace(-0.12, 0.12, 13), 0.005, 0.995))
    half = _class_half(noise, near, **size, draws=4 * draws, data=data, generator=generator, seed=seed)
    return Measured(*susceptibility_peak(eps, found.exact, seed=seed), half)


class Around(NamedTuple):
    """Changes at noises around the loss of the class."""

    t: Array  #: (T,) the noises
    curves: Curves
    half: Interval  #: the class's half height


def around_loss(
    noise: Noise,
    scan: ArrayLike,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    scan_draws: int,
    scan_data: int,
    generator: torch.Generator,
    limit: float = np.inf,
    samples: int = 0,
    seed: int = 0,
) -> Around | None:
    """How leaves change under a channel, at half to one and a half times the noise of the class's half height.

    Args:
        noise: the channel.
        scan: noises, increasing, among which the half height is looked for.
        v, m, s, L: of the grammars.
        draws, data: grammars, and data from each, of the changes.
        scan_draws, scan_data: the same, of the half height.
        generator: source of randomness.
        limit: the strongest noise to be used.
        samples: as for `hierlib.experiments.changes.curves`.
        seed: of the intervals.

    Returns:
        None where the class is not lost.
    """
    scan = np.asarray(scan, float)
    size: dict[str, Any] = dict(v=v, m=m, s=s, L=L, generator=generator)
    half = _class_half(noise, scan, **size, draws=scan_draws, data=scan_data, seed=seed)
    if not np.isfinite(half.value):
        return None
    t = np.unique(np.clip(half.value * np.exp([-0.7, -0.35, -0.17, 0, 0.15, 0.35]), 0, limit))
    return Around(t, changes.curves(noise, t, **size, draws=draws, data=data, samples=samples), half)


class UnderChannel(NamedTuple):
    """Whether blocks are largest where the class is lost, and grow with the tree, under one channel; nan: not lost."""

    place: float  #: noise of the largest susceptibility over that of the class's half height, in the deeper tree
    off: Interval  #: how far ln place is from 0
    height: float  #: largest susceptibility in the shallower tree
    rise: Interval  #: what the deeper tree adds to it


def under_channel(shallow: Around, deep: Around, *, seed: int = 0) -> UnderChannel:
    """Compares the largest susceptibility of two depths with each other and with the loss of the class.

    Errors of independent parts are added in squares.
    """
    low, high = (susceptibility_peak(each.t, each.curves.exact, seed=seed) for each in (shallow, deep))
    place = high.place.value / deep.half.value
    error = np.hypot(*(np.log(each.hi / each.lo) / 2 for each in (high.place, deep.half)))
    off = abs(np.log(place))
    rise = difference(high.height, low.height)
    return UnderChannel(float(place), Interval(off, off - error, off + error), float(low.height.value), rise)


def under_channels(
    around: Mapping[tuple[str, int], Around | None], shallow: int, deep: int, *, seed: int = 0
) -> dict[str, UnderChannel]:
    """`under_channel` of each channel at two depths.

    Args:
        around: (channel, depth) → what `around_loss` has found, None among it.
        shallow, deep: the depths to compare.
        seed: of the intervals.
    """
    found = {}
    for name in dict.fromkeys(name for name, _ in around):
        low, high = (around.get((name, depth)) for depth in (shallow, deep))
        if low is None or high is None:
            found[name] = UnderChannel(np.nan, NOTHING, np.nan, NOTHING)
        else:
            found[name] = under_channel(low, high, seed=seed)
    return found


def collapse_gap(
    eps: ArrayLike, chi: Mapping[int, ArrayLike], *, s: int, star: float, nu: float
) -> tuple[float, float]:
    """How far curves of several depths lie apart on the axis x = (ε - ε*) d^(1/ν), each divided by its largest value.

    Args:
        eps: (T,) noises. chi: depth → (T,) susceptibility.
        s: branching factor. star: the threshold. nu: the exponent.

    Returns:
        The largest difference at -3 ≤ x ≤ 0, and at 0 < x ≤ 2.
    """
    x, eps = np.linspace(-3, 2, 41), np.asarray(eps, float)
    rows = [np.interp(x, (eps - star) * s ** (depth / nu), y / np.max(y)) for depth, y in chi.items()]
    spread = np.ptp(rows, axis=0)
    return float(spread[x <= 0].max()), float(spread[x > 0].max())


def _chi(variance: Array, independent: Array) -> Array:
    """Susceptibility; 1 where nothing can change."""
    return np.divide(variance, independent, out=np.ones_like(variance), where=independent > 0)


def _class_half(noise: Noise, t: Array, *, v: int, seed: int, **size: Any) -> Interval:
    """Half height of the class among the noises t, for fresh grammars and data; size: as of `class_curves`."""
    y = class_curves(noise, t, v=v, **size)
    return estimate(lambda z: half_height(t, z, chance=1 / v).t, y, seed=seed, num=300)
