"""What the curves of all levels say: where the class goes, which level leads, what depth changes, what survives.

Curves are (draws, T, L+1), as of `level_curves`: the probability that a symbol of each level survives a U-turn, for
each rule draw and noise level. Level 0 = leaves … L = class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from hierlib.experiments.curves import (
    NOTHING,
    HalfHeight,
    Interval,
    bootstrap,
    crossing,
    estimate,
    half_height,
    mean_interval,
    normal_interval,
    slope_at,
    width,
)
from hierlib.experiments.uturns import LevelCurves, Survivors, level_curves, uturn
from hierlib.grammar import random_grammar
from hierlib.noise import Noise
from hierlib.sampling import sample


def about_half_height(noise: Noise, *, v: int, m: int, s: int, L: int, generator: torch.Generator) -> float:
    """About where the class is half-way to chance, by a rough scan of six grammars; 0.07 where it nowhere is."""
    scan = np.geomspace(2e-3, 20, 36)
    rough = level_curves(noise, scan, v=v, m=m, s=s, L=L, draws=6, data=2, generator=generator).truth.mean(0).numpy()
    guess = half_height(scan, rough[:, L], chance=1 / v).t
    return guess if np.isfinite(guess) else 0.07


def noises_around(guess: float, also: Sequence[float] = ()) -> np.ndarray:
    """Noise levels from guess/8 to 30·guess, closest around the guess, and some others: (T,), increasing."""
    wide, ends = np.geomspace(1 / 4.5, 12, 16), np.array([1 / 8, 30])
    t = np.concatenate([guess * wide, guess * ends, guess * np.exp(np.linspace(-0.5, 0.25, 22)), also])
    return np.unique(t.round(6))


class Transition(NamedTuple):
    """Where the class goes, and where each level falls behind the leaves; nan where it does not."""

    at: Interval  #: noise at which the class is half-way to chance
    slope: Interval  #: of the class there, -dP/d ln t
    cross: np.ndarray  #: (L+1,) last noise at which the mean curve of each level falls behind that of the leaves
    behind: Interval  #: that of the class
    ratio: Interval  #: of `behind` to `at`


def transition(t: np.ndarray, curves: np.ndarray, *, chance: float) -> Transition:
    """Half height of the class, and order of the levels, with intervals bootstrapped over rule draws.

    Args:
        t: (T,) noise levels, positive and increasing.
        curves: (draws, T, L+1).
        chance: of the class.
    """

    def fall(y: np.ndarray) -> HalfHeight:
        return half_height(t, y[:, -1], chance=chance)

    def order(y: np.ndarray) -> np.ndarray:
        behind = crossing(t, y[:, -1], y[:, 0])
        return np.array([behind, behind / fall(y).t])

    found, ordered, mean = estimate(fall, curves), estimate(order, curves), curves.mean(0)
    cross = np.array([crossing(t, y, mean[:, 0]) for y in mean.T])
    return Transition(found.at(0), found.at(1), cross, ordered.at(0), ordered.at(1))


def largest_spread(
    t: np.ndarray, curves: Sequence[np.ndarray], level: int, *, away_from: float
) -> tuple[Interval, float]:
    """The largest difference between several depths in one level, more than 10 % away from a noise level.

    Args:
        t: (T,). curves: of each depth, (draws, T, L+1); draws and L may differ.
        level: below the least depth, counted from the leaves.
        away_from: the noise level.

    Returns:
        The difference and the noise at which it is; nan where there is one depth, or no such noise level.
    """
    if len(curves) < 2 or np.isnan(away_from):
        return NOTHING, np.nan

    def spread(*means: np.ndarray) -> np.ndarray:
        values = np.stack([y[:, level] for y in means])
        return values.max(0) - values.min(0)

    found = estimate(spread, *curves, num=400)
    i = int(np.where(np.abs(t / away_from - 1) > 0.1, found.value, -1).argmax())
    return Interval(*map(float, found.at(i))), float(t[i])


def leaf_slope_growth(t: np.ndarray, first: np.ndarray, last: np.ndarray, at: float, *, levels: int) -> Interval:
    """Factor a level by which the slope of the leaves at one noise grows between depths that many `levels` apart."""
    if levels < 1:
        return NOTHING

    def growth(a: np.ndarray, b: np.ndarray) -> float:
        shallow, deep = (slope_at(t, y[:, 0], at) for y in (a, b))
        return (deep / shallow) ** (1 / levels)

    return estimate(growth, first, last, num=400)


class Widths(NamedTuple):
    """Over which ranges of ln t levels fall from nine tenths to one tenth of their height above chance, compared."""

    sudden: Interval  #: that of the class over that of the leaves
    gentle: Interval  #: the narrowest of the four lowest levels over that of the class


def widths(t: np.ndarray, curves: np.ndarray, chance: np.ndarray) -> Widths:
    """How suddenly the class falls, with intervals bootstrapped over rule draws; nan where a level falls less far.

    Args:
        t: (T,) noise levels. curves: (draws, T, L+1). chance: (L+1,) of each level.
    """
    L = curves.shape[-1] - 1

    def wide(y: np.ndarray, l: int) -> float:
        return width(t, y[:, l], chance=chance[l])

    sudden = estimate(lambda y: wide(y, L) / wide(y, 0), curves)
    return Widths(sudden, estimate(lambda y: min(wide(y, l) for l in range(min(4, L))) / wide(y, L), curves))


def largest_lead(t: np.ndarray, curves: np.ndarray, window: tuple[float, float]) -> Interval:
    """By how much the class is ahead of the leaves where it is most, at a noise level inside a window."""
    ahead = curves[:, :, -1] - curves[:, :, 0]
    inside = (t > window[0]) & (t < window[1])
    return normal_interval(ahead[:, int(np.where(inside, ahead.mean(0), -9).argmax())])


class Depth(NamedTuple):
    """Of one depth of tree."""

    L: int
    at: Interval  #: noise at which the class is half-way to chance
    slope: Interval  #: of the class there, -dP/d ln t
    lead: Interval  #: of the class over the leaves, where it is largest
    best: str  #: which level is kept best at one noise, in words

    @property
    def ahead(self) -> bool:
        """Whether the class leads by more than three standard errors."""
        return bool(self.lead.value > 3 * (self.lead.hi - self.lead.value) / 1.96)


def by_depth(
    t: np.ndarray,
    curves: Mapping[int, np.ndarray],
    falls: Mapping[int, Interval],
    window: tuple[float, float],
    at: float,
) -> list[Depth]:
    """Half height of the class, its lead over the leaves, and the best-kept level, for trees of growing depth.

    Args:
        t: (T,) noise levels. curves: by depth, (draws, T, L+1).
        falls: by depth, the `half_height` of the class with its intervals.
        window: of the noise levels at which the lead is looked for.
        at: where the best-kept level is, at the noise level of t that is nearest.
    """
    rows = []
    for L, y in curves.items():
        best = int(y.mean(0)[np.abs(t - at).argmin()].argmax())
        name = {0: "the leaves", L: "the class"}.get(best, f"level {best}")
        rows.append(Depth(L, falls[L].at(0), falls[L].at(1), largest_lead(t, y, window), name))
    return rows


class GivenChanged(NamedTuple):
    """What is left in U-turns whose class has changed, (L+1,) each; nan if there are none."""

    kept: Interval  #: the fraction of symbols that are still those of the start
    accident: np.ndarray  #: the same between unrelated data
    gain: Interval  #: the difference of the two


def given_changed(found: Survivors) -> GivenChanged:
    """Of each level, what survives in U-turns that have changed the class, and how much of that is accident."""
    changed = 1 - found.kept[..., -1:]
    parts, luck = ((y * changed).mean(1).numpy() for y in (found.kept, found.coincidence))
    weight = changed.mean(1).numpy()
    if not weight.mean() > 0:
        none = np.full(parts.shape[1], np.nan)
        return GivenChanged(Interval(none, none, none), none, Interval(none, none, none))
    kept = Interval(parts.mean(0) / weight.mean(), *bootstrap(lambda a, b: a / b, parts, weight))
    accident = luck.mean(0) / weight.mean()
    gain = bootstrap(lambda a, b, c: (a - c) / b, parts, weight, luck)
    return GivenChanged(kept, accident, Interval(kept.value - accident, *gain))


class Told(NamedTuple):
    """The probability that each level survives, (draws, L+1), if the way back is told the class and if not."""

    told: np.ndarray
    untold: np.ndarray


def told_the_class(
    noise: Noise,
    t: float,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    seed: int,
    device: torch.device | str = "cpu",
) -> Told:
    """Both for the same grammars, data and noise, at one noise level.

    Args:
        noise: a noise process. t: its level.
        v, m, s, L, draws, data: as of `level_curves`.
        seed: of all random numbers.
        device: where all is done.
    """

    def kept(conditional: bool) -> np.ndarray:
        rng = torch.Generator(device).manual_seed(seed)
        run = level_curves(
            noise, [t], v=v, m=m, s=s, L=L, draws=draws, data=data, generator=rng, conditional=conditional
        )
        return run.truth[:, 0].numpy()

    return Told(kept(True), kept(False))


def nishimori_gap(found: LevelCurves) -> Interval:
    """Belief in the truth less the sum of squared beliefs, (T, L+1): zero on average for a Bayesian's beliefs."""
    return mean_interval((found.truth - found.squared).numpy(), num=400)


def bayesian(gap: Interval, draws: int, slack: float = 2e-3) -> np.ndarray:
    """Whether each gap of `nishimori_gap` may be zero: the worst of so many means is farther off once in 1000 runs.

    Args:
        gap: with its intervals over draws.
        draws: their number.
        slack: what rounding may add.
    """
    farthest = stats.t.isf(5e-4 / gap.value.size, draws - 1)
    return np.abs(gap.value) <= farthest * (gap.hi - gap.lo) / 3.92 + slack


class Stages(NamedTuple):
    """A datum whose U-turns change leaves, then branches, then the class."""

    run: int  #: which datum
    turns: list[int]  #: three noise levels, as places in t


def first_in_stages(start: Sequence[Tensor], after: Sequence[Tensor]) -> Stages | None:
    """The first datum some of whose U-turns change leaves only, longer ones branches, still longer ones the class.

    The three are two noise levels apart or more; between a fifth and a half of the leaves go with the class.

    Args:
        start: data, (n, s^(L-l)) a level, L ≥ 3.
        after: what U-turns made of them, (T, n, s^(L-l)) a level, t increasing.

    Returns:
        `Stages`, or None if there is no such datum.
    """
    lost = [(y != x).double().mean(2).cpu() for x, y in zip(start, after, strict=True)]  # (T, n) a level
    stages = [
        (lost[0] > 0) & (lost[1] == 0),  # leaves only
        (lost[-1] == 0) & (lost[2] > 0) & (lost[0] < 0.5),  # branches, not the class
        (lost[-1] == 1) & (lost[-2] > 0) & (lost[0] > 0.2) & (lost[0] <= 0.5),  # the class, not the leaves
    ]
    for run in range(lost[0].shape[1]):
        leaves, branches, top = (np.flatnonzero(stage[:, run]) for stage in stages)
        branches = branches[branches >= leaves[0] + 2] if len(leaves) else branches[:0]
        top = top[top >= branches[0] + 2] if len(branches) else top[:0]
        if len(top):
            return Stages(run, [int(leaves[0]), int(branches[0]), int(top[0])])
    return None


def typical_run(class_kept: np.ndarray, at: int) -> int:
    """Of many runs of one datum, (T, runs) bool, the one that keeps its class at about `at` of the noise levels."""
    return int(np.abs(class_kept.sum(0) - at).argmin())


def typical_turn(
    noise: Noise,
    t: Sequence[float],
    at: int,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    generator: torch.Generator,
    runs: int = 24,
) -> list[np.ndarray]:
    """Which symbols of one datum survive U-turns, in the run of `typical_run`.

    Args:
        noise: a noise process. t: (T,) its levels, increasing.
        at: at how many of them the class should be kept.
        v, m, s, L: of the grammar that is drawn. generator: source of randomness. runs: to choose from.

    Returns:
        (T, s^(L-l)) bool a level, the leaves first.
    """
    g = random_grammar(v=v, m=m, s=s, L=L, generator=generator)
    start = [level.repeat(runs, 1) for level in sample(g, 1, generator=generator)]
    end = uturn(g, start[0], noise, t, generator=generator)
    same = [(y == x).cpu().numpy() for y, x in zip(end, start, strict=True)]
    run = typical_run(same[L][..., 0], at)
    return [level[:, run] for level in same]
