"""Where exact inference loses the class under the ε-process, by several criteria, and how sharply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from hierlib.experiments.curves import NOTHING, Interval, estimate, last_above, plus_minus, standard_error
from hierlib.experiments.messages import message_curves
from hierlib.experiments.uturns import class_curves
from hierlib.noise import EpsilonNoise
from hierlib.theory import meanfield


def mean_field_half_height(v: int, m: float, s: int, L: int) -> float:
    """Noise ε at which the mean-field belief in the class of L levels is half-way to chance; 1 if nowhere."""
    fine = np.linspace(0, 1, 2001)
    return last_above(fine, meanfield.solve(fine, v, m, s, L).p[:, -1], (1 + 1 / v) / 2)


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


def criteria(eps: np.ndarray, curves: np.ndarray, v: int) -> dict[str, float]:
    """Where the mean belief in the class, (draws, T), meets three heights; eps is (T,), increasing."""
    mean = curves.mean(0)
    heights = {
        "leaves": meanfield.leaf_belief(eps, v),  # of a leaf alone
        "half": (1 + 1 / v) / 2,
        "trace": 1 / v + 5 * standard_error(curves),  # five standard errors above chance
    }
    return {name: last_above(eps, mean, height) for name, height in heights.items()}


class Doubt(NamedTuple):
    """A small doubt at the leaves on its way up."""

    doubt: np.ndarray  #: (draws, L+1) one less the belief in the truth
    ratio: Interval  #: factor a level over the first three levels


def doubt_upward(eps: float, **run) -> Doubt:
    """The doubt about the true symbol level by level, at one small noise; `run` as of `message_curves`."""
    doubt = 1 - message_curves([eps], **run).up[:, 0].numpy()
    steps = (doubt[:, 1:4] / doubt[:, : min(3, doubt.shape[1] - 1)]).mean(1)
    return Doubt(doubt, plus_minus(float(steps.mean()), float(standard_error(steps))))


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
