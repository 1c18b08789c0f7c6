"""Noises compared: what each leaves of one leaf, and what it takes to lose the class, the order of levels included.

A noise is one of `hierlib.noise` or any other `hierlib.Noise`; that of the ε-process has ε for its t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib.experiments.curves import Interval, estimate, half_height, plus_minus, standard_error
from hierlib.experiments.uturns import LevelCurves, class_curves, level_curves
from hierlib.grammar import Grammar
from hierlib.inference import infer
from hierlib.noise import EpsilonNoise, GaussianNoise, MaskNoise, Noise, UniformNoise, evidence_of, treats_symbols_alike
from hierlib.theory import meanfield
from hierlib.theory.population import density_evolution, leaf_sampler

Array = NDArray[np.float64]


def doubt(belief: ArrayLike, v: int) -> ArrayLike:
    """ε at which the ε-process leaves this mean belief in the truth (eq. 63): v/(v-1) (1 - belief)."""
    return v / (v - 1) * (1 - belief)


def mean_doubt(
    noise: Noise, t: Sequence[float], *, leaves: int, generator: torch.Generator, blocks: int = 8
) -> tuple[Array, Array]:
    """The doubt ε(t) that a channel leaves, and its standard error, from leaves of their own at each time.

    Args:
        noise: a channel with v symbols.
        t: (T,) its strengths.
        leaves: number of leaves at each, in blocks from whose means the error is taken.
        generator: source of randomness.

    Returns:
        ε and its standard error, both (T,).

    Raises:
        ValueError: the noise does not treat all symbols alike.
    """
    _check_alike(noise)
    rows = []
    for time in t:
        truth = torch.zeros(blocks, leaves // blocks, dtype=torch.int64, device=generator.device)
        e = evidence_of(noise, truth, time, generator=generator)[..., 0].double()
        rows.append(e.mean(1).cpu().numpy())
    belief = np.array(rows)
    error = noise.v / (noise.v - 1) * belief.std(1, ddof=1) / math.sqrt(blocks)
    return doubt(belief.mean(1), noise.v), error


def _check_alike(noise: Noise) -> None:
    if not treats_symbols_alike(noise):  # only leaves whose true symbol is 0 are looked at
        raise ValueError(f"noise: expected one that treats all symbols alike (symmetric = True), got {noise!r}")


def linear_share(x: ArrayLike, y: ArrayLike) -> float:
    """The share of the variance of y that a straight line in x explains.

    >>> round(linear_share([1, 2, 3], [2, 4, 6]), 6), round(linear_share([1, 2, 3], [1, 2, 1]), 6)
    (1.0, 0.0)
    """
    return float(1 - np.var(y - np.polyval(np.polyfit(x, y, 1), x)) / np.var(y))


def relaxation_rate(t: ArrayLike, eps: ArrayLike, error: ArrayLike, *, seed: int = 0) -> Interval:
    """The slope of ln(1 - ε) in t, with the interval that the standard errors of ε leave.

    Args:
        t, eps, error: (T,) times, doubt and its standard error.
        seed: of 500 drawings of the errors.
    """
    left, t = 1 - np.asarray(eps, float), np.asarray(t, float)
    noisy = np.log(left + error * np.random.default_rng(seed).standard_normal((500, len(t))))
    rate = np.polyfit(t, np.log(left), 1)[0]
    return plus_minus(float(rate), float(np.std([np.polyfit(t, y, 1)[0] for y in noisy])))


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


def read_off(at: Interval, t: ArrayLike, y: ArrayLike) -> Interval:
    """What a curve (T,) over increasing t is at a place known with an interval; nan where the place is."""
    value, *ends = (float(np.interp(x, t, y)) for x in at)
    return Interval(value, min(ends), max(ends))


def bhattacharyya(noise: Noise, t: float) -> float:
    """Z = Σ_y √(p(y|a) p(y|b)) of two symbols a ≠ b, y being what is seen of a leaf.

    Raises:
        ValueError: the noise is none of the three channels whose Z is known.
    """
    if isinstance(noise, MaskNoise):
        return t
    if isinstance(noise, GaussianNoise):
        alpha = float(noise.alpha_bar(t))
        return math.exp(-alpha / (1 - alpha) / 4) if alpha < 1 else 0.0
    if not isinstance(noise, UniformNoise):
        raise ValueError(f"noise: expected GaussianNoise, MaskNoise or UniformNoise, whose Z is known, got {noise!r}")
    q = t / noise.v
    return 2 * math.sqrt((1 - t + q) * q) + (noise.v - 2) * q


class AroundLoss(NamedTuple):
    """Curves of all levels, densest where the class is lost."""

    curves: LevelCurves
    sides: tuple[int, int]  #: two of the noises, one on each side of the class's half height


def curves_around_loss(
    noise: Noise,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    top: float,
    generator: torch.Generator,
    everywhere: bool = True,
) -> AroundLoss:
    """`level_curves` at noises around the class's half height, which six data, or the mean field, have told.

    Args:
        noise: a noise process.
        v, m, s, L, draws, data, generator: as for `level_curves`.
        top: the strongest noise.
        everywhere: whether there are noises far from the half height as well.
    """
    size = dict(v=v, m=m, s=s, L=L, generator=generator)
    coarse = np.geomspace(0.02, top, 25)
    if isinstance(noise, EpsilonNoise):
        fine = np.geomspace(0.02, 0.995, 2000)
        first = half_height(fine, meanfield.solve(fine, v, m, s, L).P[:, L], chance=1 / v)
    else:
        few = level_curves(noise, coarse, **size, draws=6, data=1)
        first = half_height(coarse, few.truth.mean(0)[:, L], chance=1 / v)
    t, sides = coarse[::2], (coarse[8], coarse[16])
    if np.isfinite(first.t):
        steps = np.array([0.02, 0.04, 0.07, 0.1, 0.14, 0.2, 0.35])
        steps = np.concatenate([-steps[::-1], [0], steps])
        dense = first.t * np.exp(steps * np.clip(4.5 / first.slope, 0.15, 2))
        t, sides = np.concatenate([dense, coarse[::3] if everywhere else []]), (dense[1], dense[13])
    t = np.unique(t[t < top])
    found = level_curves(noise, t, **size, draws=draws, data=data)
    return AroundLoss(found, tuple(int(np.abs(t - x).argmin()) for x in sides))


class Loss(NamedTuple):
    """Where the class is at half height and how steeply it falls there; nan where it is not lost."""

    t: Interval
    slope: Interval  #: -dP_L/d ln t


def class_loss(curves: LevelCurves, v: int, *, seed: int = 0) -> Loss:
    """The loss of the class, with intervals over rule draws."""
    t = curves.t.numpy()
    found = estimate(
        lambda y: np.array(half_height(t, y, chance=1 / v)), curves.truth.numpy()[:, :, -1], seed=seed, num=300
    )
    return Loss(found.at(0), found.at(1))


def sharpening(shallow: LevelCurves, deep: LevelCurves, v: int, *, seed: int = 0) -> Interval:
    """The factor by which the slope of the class at half height grows with each level, between two depths."""
    levels = deep.truth.shape[-1] - shallow.truth.shape[-1]
    axes = [curves.t.numpy() for curves in (shallow, deep)]

    def factor(*means: Array) -> float:
        low, high = (half_height(t, y, chance=1 / v).slope for t, y in zip(axes, means, strict=True))
        return (high / low) ** (1 / levels) if low > 0 and high > 0 else np.nan

    return estimate(factor, *(curves.truth.numpy()[:, :, -1] for curves in (shallow, deep)), seed=seed, num=300)


def class_lead(curves: LevelCurves) -> tuple[Array, Array]:
    """How much better the class is kept than the leaves, and its standard error, paired over rule draws: (T,), (T,)."""
    lead = (curves.truth[..., -1] - curves.truth[..., 0]).numpy()
    return lead.mean(0), standard_error(lead)


def order_turns(curves: LevelCurves, half: float) -> tuple[bool, bool]:
    """Whether the class may lead before its half height, and the leaves beyond it, within two standard errors."""
    (lead, error), t = class_lead(curves), curves.t.numpy()
    if not np.isfinite(half):
        return False, False
    before, after = t < half, t > half
    return (
        bool(before.any() and (lead - 2 * error)[before].max() > 0),
        bool(after.any() and (lead + 2 * error)[after].min() < 0),
    )


class Turn(NamedTuple):
    """The order of class and leaves on each side of the class's half height, where it is clearest."""

    before: Interval  #: by how much the class leads
    after: Interval  #: by how much the leaves lead
    beyond: float  #: belief in the true class above chance at 1.4 times the noise of the half height


def turn(
    noise: Noise, curves: LevelCurves, half: float, *, v: int, m: int, s: int, data: int, generator: torch.Generator
) -> Turn | None:
    """`Turn` from the curves of a channel, and fresh grammars for what is beyond; None where the class is not lost."""
    if not np.isfinite(half):
        return None
    (lead, error), t = class_lead(curves), curves.t.numpy()
    z = lead / np.maximum(error, 1e-4)
    i, j = (np.where(side, sign * z, -np.inf).argmax() for side, sign in ((t < half, 1), (t > half, -1)))
    draws, _, levels = curves.truth.shape
    late = [min(1.4 * half, 1.0)]
    belief = class_curves(noise, late, v=v, m=m, s=s, L=levels - 1, draws=draws, data=data, generator=generator)
    return Turn(plus_minus(lead[i], error[i]), plus_minus(-lead[j], error[j]), float(belief.mean() - 1 / v))


class Nishimori(NamedTuple):
    """How far the belief in the truth is, on average, from the sum of squared beliefs; 0 for every channel."""

    off: float  #: the largest difference of all noises and levels
    z: float  #: the largest, in standard errors
    count: int  #: number of means


def nishimori(curves: LevelCurves) -> Nishimori:
    """Nishimori's identity, at every noise and level of the curves of a channel."""
    gap = (curves.truth - curves.squared).numpy()
    off = np.abs(gap.mean(0))
    return Nishimori(float(off.max()), float((off / np.maximum(standard_error(gap), 1e-4)).max()), off.size)


def standard_scores(a: ArrayLike, b: ArrayLike) -> Array:
    """Difference of the means of two samples of rows (n, …) in standard errors, (…)."""
    a, b = np.asarray(a), np.asarray(b)
    error = np.hypot(standard_error(a), standard_error(b))
    return np.abs(a.mean(0) - b.mean(0)) / np.maximum(error, 1e-6)


class Climb(NamedTuple):
    """Pools of beliefs that climb a deep tree, at several strengths of a channel."""

    t: tuple[float, ...]
    up: Array  #: (T, pools, levels + 1) upward belief in the truth
    chance: float  #: what is left of it when nothing is known, 1/v

    @property
    def threshold(self) -> tuple[float, float] | None:
        """The last noise at which all pools keep the class and the first at which all lose it; None unless both are."""
        top = (self.up[:, :, -1] - self.chance) / (1 - self.chance)
        kept, lost = (np.flatnonzero(side.all(1)) for side in (top > 0.9, top < 0.1))
        return (self.t[kept[-1]], self.t[lost[0]]) if len(kept) and len(lost) else None


def climb(
    noise: Noise, t: Sequence[float], *, m: int, s: int, levels: int, size: int, pools: int, generator: torch.Generator
) -> Climb:
    """Population dynamics upward at each strength; arguments as for `hierlib.theory.population.density_evolution`."""
    how = dict(m=m, s=s, L=levels, size=size, pools=pools, downward=False, generator=generator)
    up = [density_evolution(leaf_sampler(noise, time), **how).up.numpy() for time in t]
    return Climb(tuple(t), np.stack(up), 1 / noise.v)


class Fate(NamedTuple):
    """One datum under one noise."""

    leaves: Array  #: (d,) what the evidence of each leaf says of its true symbol
    levels: list[Array]  #: posterior belief in the true symbols, (s^(L-l),) a level, leaves first


def fates(
    g: Grammar,
    x: Sequence[Tensor],
    noises: Mapping[str, tuple[Noise, Sequence[float]]],
    *,
    generator: torch.Generator,
) -> dict[str, list[Fate]]:
    """One datum under noises of several strengths, with the same random numbers at each.

    Args:
        g: the grammar. x: one datum of it, a tensor (1, s^(L-l)) a level.
        noises: by name, a noise and its strengths.
        generator: source of randomness.
    """
    state, found = generator.get_state(), {}
    for name, (noise, t) in noises.items():
        found[name] = []
        for time in t:
            generator.set_state(state)
            evidence = evidence_of(noise, x[0], time, generator=generator)
            beliefs = infer(g, evidence, messages=False).marginals
            true = [b[0].gather(-1, level[0][:, None])[:, 0].numpy() for b, level in zip(beliefs, x, strict=True)]
            found[name].append(Fate(evidence[0].gather(-1, x[0][0][:, None])[:, 0].numpy(), true))
    return found
