"""Where exact inference loses the class under the ε-process, by several criteria, and how sharply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from hierlib.experiments.curves import NOTHING, Interval, estimate, last_above, plus_minus, standard_error
from hierlib.experiments.messages import message_curves
from hierlib.experiments.uturns import class_curves
from hierlib.noise import EpsilonNoise, Noise
from hierlib.theory import meanfield, population

if TYPE_CHECKING:
    import xarray as xr


def mean_field_half_height(v: int, m: float, s: int, L: int) -> float:
    """Noise ε at which the mean-field belief in the class of L levels is half-way to chance; 1 if nowhere."""
    fine = np.linspace(0, 1, 2001)
    return last_above(fine, meanfield.solve(fine, v, m, s, L).p[:, -1], (1 + 1 / v) / 2)


def rules_at(v: int, s: int, *shares: float) -> list[int]:
    """Numbers of rules at some shares of m_c, in order: whole, legal, each once.

    >>> rules_at(32, 2, 0.25, 1.0, 1.01, 9.0)
    [4, 16, 17, 32]
    """
    limit = float(meanfield.m_c(v, s))
    return sorted({min(v ** (s - 1), max(1, round(x * limit))) for x in shares})


def middle_repels(v: int, s: int) -> bool:
    """Whether, at each number of rules between m_KS and m_c, chance and 1 attract and the fixed point between repels.

    >>> middle_repels(32, 2)
    True
    """
    rules = np.arange(1, v ** (s - 1) + 1.0)
    rules = rules[(rules > meanfield.m_KS(v, s)) & (rules < meanfield.m_c(v, s))]
    points = meanfield.fixed_points(v, rules, s)
    slopes = meanfield.upward_map_derivative(points, v, rules[:, None], s)
    ends, middle = slopes[:, [0, 2]], slopes[:, 1]
    return bool((ends < 1).all() and (middle > 1).all() and (np.diff(points) > 0).all())


class Thresholds(NamedTuple):
    """The noise ε at which the class is lost, by two criteria."""

    leaves: Interval  #: belief in the class as low as in a leaf alone, 1-ε+ε/v (the paper's criterion)
    half: Interval  #: belief in the class half-way to chance


def thresholds(
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    steps: Sequence[float],
    generator: torch.Generator,
    seed: int,
) -> Thresholds:
    """Both by exact inference in drawn grammars, at noises around those of the mean field.

    Args:
        v, m, s, L: of the grammars.
        draws: number of grammars. data: number of data from each.
        steps: distances in ε from the two mean-field thresholds at which to measure.
        generator: of grammars and data. seed: of the bootstrap over grammars.
    """
    star, centre = float(meanfield.critical_noise(v, m, s)), mean_field_half_height(v, m, s, L)
    eps = np.unique(np.clip([c + x for c in (star, centre) for x in steps], 0.003, 0.997).round(5))
    found = class_curves(EpsilonNoise(v), eps, v=v, m=m, s=s, L=L, draws=draws, data=data, generator=generator).numpy()
    lines = meanfield.leaf_belief(eps, v), np.full(len(eps), (1 + 1 / v) / 2)
    return Thresholds(*(estimate(lambda y, z=z: last_above(eps, y, z), found, seed=seed, num=400) for z in lines))


class Gaps(NamedTuple):
    """How far measured thresholds are from the mean field, at most; nan where no number of rules is in the range."""

    few: float  #: m < 3/4 m_c
    near: float  #: from there to m_c
    beyond: float  #: at m ≥ m_c, where the mean field has no threshold, the largest that is measured


def gaps(found: Mapping[int, Thresholds], v: int, s: int) -> Gaps:
    """By the criterion of the paper; `found` by number of rules, of grammars with v symbols and s children."""
    limit = float(meanfield.m_c(v, s))
    off = {m: abs(each.leaves.value - float(meanfield.critical_noise(v, m, s))) for m, each in found.items()}
    few = max((off[m] for m in found if m < 0.75 * limit), default=np.nan)
    near = max((off[m] for m in found if 0.75 * limit <= m < limit), default=np.nan)
    return Gaps(few, near, max((each.leaves.value for m, each in found.items() if m >= limit), default=np.nan))


def phase_diagram(found: Mapping[int, Thresholds], v: int, s: int) -> xr.Dataset:
    """Both thresholds with their bounds, and the mean field's, by number of rules; arguments as for `gaps`."""
    import xarray as xr

    return xr.Dataset(
        {
            "threshold": (("m", "criterion", "bound"), np.array(list(found.values()), float)),
            "mean_field": ("m", [float(meanfield.critical_noise(v, m, s)) for m in found]),
        },
        {"m": list(found), "criterion": ["root above leaves", "half height"], "bound": ["value", "lo", "hi"]},
    )


def criteria(eps: np.ndarray, curves: np.ndarray, v: int) -> dict[str, float]:
    """Where the mean belief in the class, (draws, T), meets three heights; eps is (T,), increasing."""
    mean = curves.mean(0)
    heights: dict[str, ArrayLike] = {
        "leaves": meanfield.leaf_belief(eps, v),  # of a leaf alone
        "half": (1 + 1 / v) / 2,
        "trace": 1 / v + 5 * standard_error(curves),  # five standard errors above chance
    }
    return {name: last_above(eps, mean, height) for name, height in heights.items()}


class Doubt(NamedTuple):
    """A small doubt at the leaves on its way up."""

    doubt: np.ndarray  #: (draws, L+1) one less the belief in the truth
    ratio: Interval  #: factor a level over the first three levels


def doubt_upward(eps: float, **run: Any) -> Doubt:
    """The doubt about the true symbol level by level, at one small noise; `run` as of `message_curves`."""
    doubt = 1 - message_curves([eps], **run).up[:, 0].numpy()
    steps = (doubt[:, 1:4] / doubt[:, : min(3, doubt.shape[1] - 1)]).mean(1)
    return Doubt(doubt, plus_minus(float(steps.mean()), float(standard_error(steps))))


def off_the_mean_field(found: Mapping[int, Mapping[int, np.ndarray]], eps: float, v: int, s: int) -> Interval:
    """How far measured belief in the class is from the mean field, where it is farthest.

    Args:
        found: by number of rules and by depth, (draws,) belief in the class at noise eps.
        v, s: of the grammars.
    """
    off = []
    for m, by_depth in found.items():
        theory = meanfield.solve(eps, v, m, s, max(by_depth)).p
        off += [(abs(rows.mean() - theory[depth]), standard_error(rows)) for depth, rows in by_depth.items()]
    return plus_minus(*max(off))


class WeakNoise(NamedTuple):
    """Belief in the class under a noise so strong that a leaf tells almost nothing."""

    population: np.ndarray  #: (levels,) by population dynamics, for L = 1, 2, …
    depths: Sequence[int]  #: of the trees below
    found: np.ndarray  #: (draws, depths) by exact inference


def weak_noise(
    noise: Noise,
    t: float,
    *,
    v: int,
    m: int,
    s: int,
    levels: int,
    depths: Sequence[int],
    draws: int,
    data: int,
    generator: torch.Generator,
    pool: int = 6000,
) -> WeakNoise:
    """Does a deeper tree know its class better? By population dynamics, and by exact inference in drawn grammars.

    Args:
        noise, t: of the leaves.
        v, m, s: of the grammars.
        levels: up to which the population goes. depths: of the trees.
        draws: number of grammars of each depth. data: number of data from each.
        generator: source of randomness.
        pool: beliefs of a level in the population.
    """
    leaves = population.leaf_sampler(noise, t)
    up = population.density_evolution(
        leaves, m=m, s=s, L=levels, size=pool, pools=1, downward=False, generator=generator
    ).up
    its: dict[str, Any] = dict(v=v, m=m, s=s, draws=draws, data=data, generator=generator)
    trees = [class_curves(noise, [t], L=depth, **its)[:, 0].numpy() for depth in depths]
    return WeakNoise(up.mean(0)[1:].numpy(), depths, np.stack(trees, 1))


def log_slopes(eps: np.ndarray, curves: np.ndarray, v: int) -> np.ndarray:
    """ln of the slope of each single curve where it meets the belief in a leaf alone.

    Args:
        eps: (T,) noises near the threshold, T ≥ 4.
        curves: (draws, T) belief in the class.
        v: alphabet size.

    Returns:
        As many as curves of which a fitted cubic does fall below that belief inside the range.
    """
    fine, slopes = np.linspace(eps[0], eps[-1], 400), []
    for curve in curves:
        fit = np.polynomial.Polynomial.fit(eps, curve, 3)
        at = last_above(fine, fit(fine), meanfield.leaf_belief(fine, v))
        if fine[0] < at < fine[-1] and fit.deriv()(at) < 0:
            slopes.append(np.log(-fit.deriv()(at)))
    return np.array(slopes)


def growth_a_level(depths: Sequence[int], slopes: Sequence[np.ndarray], *, seed: int, num: int = 2000) -> Interval:
    """ln of the factor by which a level sharpens the fall, fitted to the mean ln slope of each depth.

    Args:
        depths: two or more. slopes: of each, as of `log_slopes`, resampled by themselves; fewer than eight of a depth,
            or a single depth, give nan.
    """
    if len(depths) < 2 or min(map(len, slopes), default=0) < 8:
        return NOTHING
    rng = np.random.default_rng(seed)
    again = [np.polyfit(depths, [rng.choice(x, len(x)).mean() for x in slopes], 1)[0] for _ in range(num)]
    return Interval(np.polyfit(depths, [x.mean() for x in slopes], 1)[0], *np.percentile(again, (2.5, 97.5)))
