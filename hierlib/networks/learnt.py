"""What a study of denoisers says: how many strings each level takes, how a learnt U-turn differs from the exact one.

A study is the table of `hierlib.networks.learning.whole_seeds`: process × seed × number of training strings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor

from hierlib.experiments.curves import Interval, estimate, half_height
from hierlib.grammar import Grammar
from hierlib.networks.denoiser import DenoiserTraining
from hierlib.networks.generation import Validity, denoiser_by_heart, gap_to_exact, process
from hierlib.networks.learning import GAPS, strings_needed

Array = NDArray[np.float64]
DOUBTS = (0.1, 0.3, 0.6, 1)  # shares of the single leaf's posterior in the denoiser by heart


class Needed(NamedTuple):
    """Training strings that bring a level half-way from chance to certainty; inf where there are too few."""

    mean: Array  #: (process, level) by the mean curve of all grammars
    each: Array  #: (process, seed, level) of single grammars
    slope: Interval  #: growth per level, as a power of m; over processes and grammars, by Student's t


def needed_by_level(table: xr.Dataset, *, chance: float, m: int) -> Needed:
    """How many strings each level takes, at the lowest validation loss.

    Args:
        table: a study. chance: the fraction of tuples that the grammar allows. m: rules per symbol.
    """
    rule, P = table.rule.sel(checkpoint="best"), table.num_data.values
    mean = rule.transpose("process", "level", "seed", "num_data").mean("seed").values
    each = rule.transpose("process", "seed", "level", "num_data").values
    levels = np.arange(1, each.shape[2] + 1)
    whole, single = (np.apply_along_axis(lambda y: strings_needed(P, y, chance), -1, y) for y in (mean, each))
    slopes = []
    for y in single.reshape(-1, len(levels)):
        known = np.isfinite(y)
        if known.sum() > 1:
            slopes.append(np.polyfit(levels[known], np.log(y[known]), 1)[0] / np.log(m))
    middle, half = float(np.mean(slopes)) if slopes else np.nan, np.nan
    if len(slopes) > 1:  # a handful: the normal distribution would make the interval too narrow
        half = stats.t.isf(0.025, len(slopes) - 1) * np.std(slopes, ddof=1) / len(slopes) ** 0.5
    return Needed(whole, single, Interval(middle, middle - half, middle + half))


def rule_interval(table: xr.Dataset, *, s: int) -> Interval:
    """Allowed tuples among those of legal parts, at the lowest validation loss, the strings of all seeds together.

    Wilson's 95 % interval. Tuples of one string are not independent: at worst all s^(L-l) of a level stand or fall
    together, and this is taken. It covers the strings that were drawn, not the choice of grammars.

    Args:
        table: a study with `rule` and `asked`. s: branching factor.

    Returns:
        Of shape (process, level, num_data).
    """
    best, L = table.sel(checkpoint="best"), len(table.level)
    order = ("seed", "process", "level", "num_data")
    rule, asked = (best[name].transpose(*order).values for name in ("rule", "asked"))
    total = asked.sum(0)
    share = (np.nan_to_num(rule) * asked).sum(0) / np.maximum(total, 1)
    n, z2 = np.maximum(total / s ** (L - np.arange(1, L + 1))[:, None], 1e-9), 1.96**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(share * (1 - share) * z2 / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    return Interval(share, middle - half, middle + half)


def gap_by_heart(training: DenoiserTraining, g: Grammar, *, data: int, generator: torch.Generator) -> float:
    """Divergence from exact of the denoiser that knows the training strings by heart, nats a leaf.

    Where it excludes the truth this is infinite; so the posterior of the single leaf is mixed in, in the best of the
    shares `DOUBTS`. Mean over the noise levels of the study.

    Args:
        training: what it has seen. g: the grammar.
        data: number of fresh data. generator: of their noise, the same for each share.
    """
    g, on = g.to(generator.device), generator.device
    how, test = process(training.process, training.v), training.test_data(data)[0].to(on)
    by_heart, state, kl = denoiser_by_heart(training.data().to(on)), generator.get_state(), []
    for doubt in DOUBTS:
        generator.set_state(state)

        def hedged(evidence: Tensor, doubt: float = doubt) -> Tensor:
            return (1 - doubt) * by_heart(evidence) + doubt * evidence

        gaps = [gap_to_exact(g, hedged, how, test, t, generator=generator) for t in GAPS[training.process]]
        kl.append(float(torch.stack([gap.kl for gap in gaps]).mean()))
    return min(kl)


class Turns(NamedTuple):
    """Fraction that keeps its class after a U-turn, a row a grammar and block of data."""

    t: Array  #: (T,) noises
    learnt: dict[int, Array]  #: number of training strings → (rows, T)
    exact: Array  #: (rows, T) of the exact denoiser in the same sampler


def turns_of(table: xr.Dataset, process: str) -> Turns:
    """The U-turns of a study under one noise process."""
    one = table.sel(process=process)
    order = ("seed", "block", "turn")
    t = one.turn_t.isel(seed=0, num_data=0).values
    learnt = {
        int(P): one.kept.sel(num_data=P).transpose(*order).values.reshape(-1, len(t)) for P in table.num_data.values
    }
    return Turns(t, learnt, one.kept_exact.isel(num_data=0).transpose(*order).values.reshape(-1, len(t)))


def half_height_shift(t: ArrayLike, a: ArrayLike, b: ArrayLike, *, chance: float, seed: int = 0) -> Interval:
    """ln of the noise at which curves a are at half height over that of curves b, (rows, T) each, over rows."""

    def ln_t(kept: Array) -> float:
        return np.log(half_height(t, kept, chance=chance).t)

    return estimate(lambda x, y: ln_t(x) - ln_t(y), a, b, seed=seed, num=300)


def differences(row: xr.Dataset, parsed: Validity, kl: Tensor, *, noise: int, s: int) -> Array:
    """How far a network, asked again, is from what its study says, in standard errors: rules by level, then the KL.

    Tuples of one string are not independent: at worst all s^(L-l) of a level stand or fall together.

    Args:
        row: the run of the study. parsed: strings that the network makes now.
        kl: (n,) its divergence from exact on data, at one of the noises. noise: which of the study's it is.
        s: branching factor.
    """
    rule, L, off = parsed.rule(), len(row.level), []
    for l in range(L):
        n, there = float(parsed.asked[:, l].sum()), float(row.asked[l])
        if n == 0:  # no legal parts to put together
            continue
        pooled = (float(rule[l]) * n + float(row.rule[l]) * there) / (n + there)
        error = np.sqrt(pooled * (1 - pooled) * s ** (L - 1 - l) * (1 / n + 1 / there))
        off.append((float(rule[l]) - float(row.rule[l])) / max(error, 1e-3))
    error = np.hypot(float(kl.std()) / len(kl) ** 0.5, float(row.kl_se[noise]))
    return np.array([*off, (float(kl.mean()) - float(row.kl[noise])) / max(error, 1e-4)])
