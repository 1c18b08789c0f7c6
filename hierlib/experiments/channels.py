"""Noises compared: where each loses the class of a tree, how sharply, and what becomes of the order of levels.

A noise is one of `hierlib.noise` or any other `hierlib.Noise`; that of the ε-process has ε for its t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib._devices import array
from hierlib.experiments.curves import (
    NOTHING,
    Interval,
    estimate,
    half_height,
    mean_interval,
    plus_minus,
    standard_error,
)
from hierlib.experiments.leaf_noise import LeafNumbers, read_off
from hierlib.experiments.uturns import LevelCurves, class_curves, level_curves
from hierlib.grammar import Grammar
from hierlib.inference import infer
from hierlib.noise import EpsilonNoise, GaussianNoise, Noise, evidence_of
from hierlib.theory import meanfield
from hierlib.theory.population import Levels, density_evolution, leaf_sampler

Array = NDArray[np.float64]


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
    generator: torch.Generator,
    top: float | None = None,
    everywhere: bool = True,
) -> AroundLoss:
    """`level_curves` at noises around the class's half height, which six data, or the mean field, have told.

    Args:
        noise: a noise process.
        v, m, s, L, draws, data, generator: as for `level_curves`.
        top: the strongest noise; by default 0.98, and 1.5 for Gaussian diffusion, too little for long embeddings.
        everywhere: whether there are noises far from the half height as well.
    """
    size: dict[str, Any] = dict(v=v, m=m, s=s, L=L, generator=generator)
    top = top or (1.5 if isinstance(noise, GaussianNoise) else 0.98)
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
    before, after = (int(np.abs(t - x).argmin()) for x in sides)
    return AroundLoss(found, (before, after))


def survey(
    noises: Mapping[str, Noise], depths: Mapping[str, Sequence[int]], **run: Any
) -> dict[tuple[str, int], AroundLoss]:
    """`curves_around_loss` of several noises in trees of several depths; far from the half height in the deepest only.

    Args:
        noises: by name. depths: by the same names, each L to measure.
        run: v, m, s, draws, data, generator as of `curves_around_loss`.

    Returns:
        By name and L.
    """
    deepest, found = max(L for each in depths.values() for L in each), {}
    for name, noise in noises.items():
        for L in depths[name]:
            found[name, L] = curves_around_loss(noise, **run, L=L, everywhere=deepest == L)
    return found


def summary(curves: LevelCurves) -> dict[str, Tensor]:
    """What is kept of curves: noises (T,), mean belief in the truth and its deviation over rule draws, (T, L+1)."""
    return {"t": curves.t, "truth": curves.truth.mean(0), "sd_over_draws": curves.truth.std(0)}


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


def at_loss(
    numbers: Mapping[str, LeafNumbers], curves: Mapping[str, LevelCurves], losses: Mapping[str, Loss]
) -> dict[str, dict[str, Interval]]:
    """The first three of `LeafNumbers` where the class is at half height: by number, by channel.

    Args:
        numbers: by channel, those at the noises of its `curves`. losses: by channel, as of `class_loss`.
    """
    return {
        key: {name: read_off(losses[name].t, curves[name].t, getattr(each, key)) for name, each in numbers.items()}
        for key in LeafNumbers._fields[:3]
    }


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


class Lead(NamedTuple):
    """Where the class is most surely ahead of the leaves."""

    t: float
    lead: Interval  #: by how much


def surest_lead(curves: LevelCurves) -> Lead:
    """The noise at which the lead of the class less two of its standard errors is largest."""
    lead, error = class_lead(curves)
    best = int((lead - 2 * error).argmax())
    return Lead(float(curves.t[best]), plus_minus(lead[best], error[best]))


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


def factor(found: Mapping[str, Interval]) -> float:
    """The largest of several positive numbers over the smallest; nan if one of them is."""
    values = [each.value for each in found.values()]
    return float(np.max(values) / np.min(values))


class Turn(NamedTuple):
    """The order of class and leaves on each side of the class's half height, where it is clearest."""

    before: Interval  #: by how much the class leads
    after: Interval  #: by how much the leaves lead
    beyond: float  #: belief in the true class above chance at 1.4 times the noise of the half height


def turn(
    noise: Noise, curves: LevelCurves, half: float, *, v: int, m: int, s: int, data: int, generator: torch.Generator
) -> Turn:
    """`Turn` from the curves of a channel, and fresh grammars for what is beyond; nan where the class is not lost."""
    if not np.isfinite(half):
        return Turn(NOTHING, NOTHING, np.nan)
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
    means: int  #: how many were compared


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


class Compared(NamedTuple):
    """Survival of each level at one strength of a noise, by three methods: (L+1,)."""

    t: float  #: the strength
    exact: Interval
    population: Array
    mean_field: Array
    z: Array  #: difference of the first two in standard errors


def compared(curves: LevelCurves, i: int, pools: Levels, mean_field: ArrayLike, *, seed: int = 0) -> Compared:
    """Exact inference at the i-th strength of its curves beside pools of beliefs and the mean field there.

    Args:
        curves: of one noise. i: which of its strengths.
        pools: two or more, of `density_evolution` at that strength.
        mean_field: (L+1,) at the same mean belief of a leaf. seed: of the bootstrap over grammars.

    Raises:
        ValueError: the pools went up alone.
    """
    if pools.marginal is None:
        raise ValueError("pools: expected those of `density_evolution` up and down again, got them with downward=False")
    exact, population = curves.truth[:, i].numpy(), pools.marginal.numpy()
    z = standard_scores(exact, population)
    return Compared(float(curves.t[i]), mean_interval(exact, seed=seed), population.mean(0), np.asarray(mean_field), z)


class Climb(NamedTuple):
    """Pools of beliefs that climb a deep tree, at several strengths of a channel."""

    t: tuple[float, ...]
    up: Array  #: (T, pools, levels + 1) upward belief in the truth
    chance: float  #: what is left of it when nothing is known, 1/v

    @property
    def threshold(self) -> tuple[float, float]:
        """The last noise at which all pools keep the class and the first at which all lose it; nan unless both are."""
        top = (self.up[:, :, -1] - self.chance) / (1 - self.chance)
        kept, lost = (np.flatnonzero(side.all(1)) for side in (top > 0.9, top < 0.1))
        return (self.t[kept[-1]], self.t[lost[0]]) if len(kept) and len(lost) else (np.nan, np.nan)


def climb(
    noise: Noise, t: Sequence[float], *, m: int, s: int, levels: int, size: int, pools: int, generator: torch.Generator
) -> Climb:
    """Population dynamics upward at each strength; arguments as for `hierlib.theory.population.density_evolution`."""
    how: dict[str, Any] = dict(m=m, s=s, L=levels, size=size, pools=pools, downward=False, generator=generator)
    up = [density_evolution(leaf_sampler(noise, time), **how).up.numpy() for time in t]
    return Climb(tuple(t), np.stack(up), 1 / noise.v)


def narrowed(noise: Noise, found: Climb, *, halvings: int, **how: Any) -> Climb:
    """More strengths, each in the middle of the threshold's bracket, as long as the pools agree on what happens there.

    Args:
        noise: the channel.
        found: pools that have climbed, with a threshold; else they come back as they are.
        halvings: how often the bracket may be halved. What a pool says near the threshold is uncertain as 1/√size.
        how: as for `climb`.
    """
    for _ in range(halvings):
        middle = sum(before := found.threshold) / 2
        if not np.isfinite(middle):
            break
        at = int(np.searchsorted(found.t, middle))
        up = np.insert(found.up, at, climb(noise, [middle], **how).up[0], 0)
        found = Climb((*found.t[:at], middle, *found.t[at:]), up, found.chance)
        if found.threshold == before:
            break
    return found


def strengths_near(noise: Noise, half: float) -> tuple[float, ...]:
    """Four strengths of a channel for `climb`, two on each side of the class's half height; of 0.3 if that is nan."""
    near = (0.3 if np.isnan(half) else half) * np.array([0.7, 0.85, 1.1, 1.3])
    return tuple(np.minimum(near, 3 if isinstance(noise, GaussianNoise) else 0.99))


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
    state = generator.get_state()
    found: dict[str, list[Fate]] = {}
    for name, (noise, t) in noises.items():
        found[name] = []
        for time in t:
            generator.set_state(state)
            evidence = evidence_of(noise, x[0], time, generator=generator)
            beliefs = infer(g, evidence, messages=False).marginals
            true = [array(b[0].gather(-1, level[0][:, None])[:, 0]) for b, level in zip(beliefs, x, strict=True)]
            found[name].append(Fate(array(evidence[0].gather(-1, x[0][0][:, None])[:, 0]), true))
    return found
