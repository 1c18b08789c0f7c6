"""What a noise leaves of one leaf: the doubt about its symbol, as a function of the strength, and other numbers.

A noise is one of `hierlib.noise` or any other `hierlib.Noise`; that of the ε-process has ε for its t.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib.embedding import squared_distances
from hierlib.experiments.curves import Interval, plus_minus
from hierlib.noise import EpsilonNoise, GaussianNoise, MaskNoise, Noise, UniformNoise, evidence_of, treats_symbols_alike

Array = NDArray[np.float64]
Number = TypeVar("Number", float, Array, Tensor)


def doubt(belief: Number, v: int) -> Number:
    """ε at which the ε-process leaves this mean belief in the truth (eq. 63): v/(v-1) (1 - belief)."""
    return v / (v - 1) * (1 - belief)


def mean_doubt(
    noise: Noise,
    t: Sequence[float],
    *,
    leaves: int,
    generator: torch.Generator,
    blocks: int = 8,
    calibrated: bool = False,
) -> tuple[Array, Array]:
    """The doubt ε(t) that a channel leaves, and its standard error, from leaves of their own at each time.

    Args:
        noise: a channel with v symbols.
        t: (T,) its strengths.
        leaves: number of leaves at each, in blocks from whose means the error is taken.
        generator: source of randomness.
        calibrated: from Σ_x ν(x)² and not from ν(x̄). Their means are the same where beliefs are posteriors (the
            identity of Nishimori), as those of a channel are and those of the ε-process are not. Late the first has
            far less error.

    Returns:
        ε and its standard error, both (T,).

    Raises:
        ValueError: the noise does not treat all symbols alike.
    """
    _check_alike(noise)
    rows = []
    for time in t:
        truth = torch.zeros(blocks, leaves // blocks, dtype=torch.int64, device=generator.device)
        e = evidence_of(noise, truth, time, generator=generator)
        if calibrated:
            e = e.double() / e.sum(-1, keepdim=True, dtype=torch.float64)
        belief_in_truth = e.square().sum(-1) if calibrated else e[..., 0].double()
        rows.append(belief_in_truth.mean(1).cpu().numpy())
    belief = np.array(rows)
    error = noise.v / (noise.v - 1) * belief.std(1, ddof=1) / math.sqrt(blocks)
    return doubt(belief.mean(1), noise.v), error


def _check_alike(noise: Noise) -> None:
    if not treats_symbols_alike(noise):  # only leaves whose true symbol is 0 are looked at
        raise ValueError(f"noise: expected one that treats all symbols alike (symmetric = True), got {noise!r}")


def strength_at(noise: Noise, eps: ArrayLike, t: ArrayLike, doubt: ArrayLike) -> ArrayLike:
    """The strength at which a noise leaves this doubt: ε itself for the ε-process and masks, else read off a curve.

    Args:
        noise: a noise process. eps: the doubt, a number or several.
        t, doubt: (T,) the curve, increasing, as of `mean_doubt`.

    >>> strength_at(MaskNoise(v=4), 0.5, [0, 2], [0, 1]), float(strength_at(GaussianNoise(v=4), 0.5, [0, 2], [0, 1]))
    (0.5, 1.0)
    """
    return eps if isinstance(noise, EpsilonNoise | MaskNoise) else np.interp(np.asarray(eps, float), *_curve(doubt, t))


def doubt_at(noise: Noise, strength: float, t: ArrayLike, doubt: ArrayLike) -> float:
    """The doubt that a noise leaves at this strength: the inverse of `strength_at`."""
    return float(strength if isinstance(noise, EpsilonNoise | MaskNoise) else np.interp(strength, *_curve(t, doubt)))


def _curve(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    return np.asarray(x, float), np.asarray(y, float)


def linear_share(x: ArrayLike, y: ArrayLike) -> float:
    """The share of the variance of y that a straight line in x explains.

    >>> round(linear_share([1, 2, 3], [2, 4, 6]), 6), round(linear_share([1, 2, 3], [1, 2, 1]), 6)
    (1.0, 0.0)
    """
    x, y = _curve(x, y)
    return float(1 - np.var(y - np.polyval(np.polyfit(x, y, 1), x)) / np.var(y))


def relaxation_rate(t: ArrayLike, eps: ArrayLike, error: ArrayLike, *, seed: int = 0) -> Interval:
    """The slope of ln(1 - ε) in t, with the interval that the standard errors of ε leave.

    Args:
        t, eps, error: (T,) times, doubt and its standard error.
        seed: of 500 drawings of the errors.
    """
    left, t = 1 - np.asarray(eps, float), np.asarray(t, float)
    noisy = np.log(left + np.asarray(error, float) * np.random.default_rng(seed).standard_normal((500, len(t))))
    rate = np.polyfit(t, np.log(left), 1)[0]
    return plus_minus(float(rate), float(np.std([np.polyfit(t, y, 1)[0] for y in noisy])))


class Relaxation(NamedTuple):
    """How the doubt goes to one."""

    share: float  #: of the variance of ln ε or ln(1-ε) that a straight line in t explains, the larger of the two
    rate: Interval  #: slope of ln(1-ε) in t, late


def relaxation(
    noise: Noise, t: Sequence[float], late: Sequence[float], *, generator: torch.Generator, seed: int = 0
) -> Relaxation:
    """`Relaxation` of a channel, from 16 000 leaves at each time and ten times as many at the late ones.

    Args:
        noise: a channel.
        t: times over which the whole curve is fitted. late: times over which the rate is.
        generator: of the leaves. seed: of the interval.
    """
    eps, _ = mean_doubt(noise, t, leaves=16_000, generator=generator)
    share = max(linear_share(t, np.log(y)) for y in (eps, 1 - eps))
    found = mean_doubt(noise, late, leaves=160_000, generator=generator, calibrated=True)
    return Relaxation(share, relaxation_rate(late, *found, seed=seed))


class LeafNumbers(NamedTuple):
    """Three numbers that measure the noise of one leaf, (T,) each; 0 without noise, 1 if nothing is left."""

    doubt: Array  #: ε of eq. 63
    lost: Array  #: share of the information that is lost, 1 - I / ln v
    bhattacharyya: Array  #: Z = Σ_y √(p(y|a) p(y|b)), in closed form
    counted: Array  #: the same Z counted in the leaves that were drawn
    error: Array  #: and its standard error


def leaf_numbers(noise: Noise, t: Sequence[float], *, leaves: int = 20_000, generator: torch.Generator) -> LeafNumbers:
    """`LeafNumbers` of a channel with v symbols at its strengths t, (T,), from leaves drawn for each; Z exactly.

    Raises:
        ValueError: as `bhattacharyya` and `mean_doubt` do.
    """
    _check_alike(noise)
    v, rows = noise.v, []
    for time in np.asarray(t, float).tolist():
        truth = torch.zeros(1, leaves, dtype=torch.int64, device=generator.device)
        b = evidence_of(noise, truth, time, generator=generator)[0].double()
        b = b / b.sum(1, keepdim=True)
        lost = torch.special.entr(b).sum(1).mean() / math.log(v)
        drawn = ((b[:, 1:] / b[:, :1].clamp_min(1e-30)).sqrt().mean(1)).clamp_max(1e3)
        counted, error = drawn.mean(), drawn.std() / math.sqrt(leaves)
        rows.append([*map(float, (doubt(b[:, 0].mean(), v), lost, bhattacharyya(noise, time), counted, error))])
    return LeafNumbers(*np.array(rows).T)


def read_off(at: Interval[float], t: ArrayLike, y: ArrayLike) -> Interval[float]:
    """What a curve (T,) over increasing t is at a place known with an interval; nan where the place is."""
    value, *ends = (float(np.interp(x, *_curve(t, y))) for x in at)
    return Interval(value, min(ends), max(ends))


def bhattacharyya(noise: Noise, t: float) -> float:
    """Z = Σ_y √(p(y|a) p(y|b)) of two symbols a ≠ b, y being what is seen of a leaf.

    Raises:
        ValueError: the noise is none of the three channels whose Z is known, or does not treat all symbols alike.
    """
    if isinstance(noise, MaskNoise):
        return t
    if isinstance(noise, GaussianNoise):
        _check_alike(noise)  # or each two symbols have a Z of their own
        alpha = float(noise.alpha_bar(t))
        apart = 2.0 if noise.embedding is None else float(squared_distances(noise.embedding).max())
        return math.exp(-alpha / (1 - alpha) / 8 * apart) if alpha < 1 else 0.0
    if not isinstance(noise, UniformNoise):
        raise ValueError(f"noise: expected GaussianNoise, MaskNoise or UniformNoise, whose Z is known, got {noise!r}")
    q = t / noise.v
    return 2 * math.sqrt((1 - t + q) * q) + (noise.v - 2) * q
