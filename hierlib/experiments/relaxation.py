"""How long chains of U-turns take, over drawn grammars: relaxation level by level, slowest modes, reach of one leaf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierlib._numbers import Numbers, noise_levels
from hierlib.experiments.chains import autocorrelation, chain, relaxation_times
from hierlib.experiments.fragments import fragments, reach
from hierlib.experiments.transitions import best_of_one_symbol, explained, kernel, spectrum
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import whole
from hierlib.noise import MaskNoise, Noise

Array = NDArray[np.float64]


def correlations_of_chains(
    noise: Noise,
    t: Numbers,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    chains: int,
    steps: int,
    generator: torch.Generator,
) -> Array:
    """Autocorrelations of all levels under chains of U-turns, for fresh grammars.

    Args:
        noise, t: a noise process and its levels, (T,) or one number.
        v, m, s, L: of the grammars, see `hierlib.Grammar`.
        draws: number of grammars, at least 1. chains: of each at each t, from fresh data, at least 1.
        steps: U-turns in a row, at least 1; the longest lag, too.
        generator: source of randomness, on whose device all is done.

    Returns:
        (draws, T, steps+1, L+1) float64, means over the chains of each grammar, leaves first.

    Raises:
        ValueError: as `hierlib.experiments.chains.chain` and `drawn_data` do.
    """
    steps, out, levels = whole("steps", steps, 1), [], noise_levels(t)
    for g, x in drawn_data(draws, chains, v=v, m=m, s=s, L=L, generator=generator):
        each = levels.to(g.device).double().repeat_interleave(chains)
        y = chain(g, x[0].repeat(len(levels), 1), noise, each, steps, generator=generator)
        c = autocorrelation(g, y).unflatten(1, (len(levels), chains)).mean(2)
        out.append(c.movedim(0, 1).cpu().numpy())
    return np.stack(out)


def times(correlations: Array) -> Array:
    """`relaxation_times` of means of correlations, cut at the longest lag: what has not fallen takes longer.

    Args:
        correlations: (T, lags+1, L+1), as of `correlations_of_chains`, averaged over grammars.

    Returns:
        (T, L+1) float64, in U-turns.
    """
    found = relaxation_times(torch.as_tensor(correlations, device="cpu").movedim(1, 0)).numpy()
    return np.minimum(found, correlations.shape[1] - 1)


class Modes(NamedTuple):
    """The slowest modes of the exact chains of n small grammars."""

    slowest: Array  #: (n,) second eigenvalue
    symbol: Array  #: (n,) of the best function of any one symbol, after one U-turn
    told: Array  #: (n,) fraction of the slowest mode's variance that is told by the fragment
    pieces: NDArray[np.int64]  #: (n,) number of fragments under changes of one leaf

    @property
    def ratio(self) -> Array:
        """(n,) by how much longer the slowest mode takes than any function of one symbol, ln λ over ln λ."""
        return np.log(self.symbol) / np.log(self.slowest)


def slowest_modes(t: float, *, v: int, m: int, s: int, L: int, draws: int, generator: torch.Generator) -> Modes:
    """Slowest modes under masks for fresh small grammars that have two fragments or more.

    Args:
        t: probability of a mask, between 0 and 1.
        v, m, s, L: of the grammars; at most 4096 strings.
        draws: number of grammars, at least 1. generator: source of randomness.

    Raises:
        ValueError: as `hierlib.experiments.transitions.kernel` does; t is 0 or 1, where nothing relaxes or all does;
            200 grammars in a row are of one piece.
    """
    if not 0 < t < 1:
        raise ValueError(f"t: expected between 0 and 1, got {t}: at 0 no string changes, at 1 all forget at once")
    rows: list[tuple[float, float, float, int]] = []
    whole_ones = 0
    while len(rows) < whole("draws", draws, 1):
        (g, _), *_ = drawn_data(1, 1, v=v, m=m, s=s, L=L, generator=generator)
        pieces = fragments(g)
        if not pieces.any():
            whole_ones += 1
            if whole_ones == 200:
                raise ValueError("expected grammars of two fragments or more, got 200 of one: take fewer rules")
            continue
        whole_ones = 0
        here = kernel(g, MaskNoise(v), t)
        found = spectrum(here)
        best = max(float(level.max()) for level in best_of_one_symbol(here))
        by_fragment = explained(found.functions[:, 1], pieces, here.law)
        rows.append((float(found.values[1]), best, by_fragment, int(pieces.max()) + 1))
    slowest, symbol, told, number = (np.array(column) for column in zip(*rows, strict=True))
    return Modes(slowest, symbol, told, number)


def mean_reach(v: int, m: int, s: int, L: int, *, draws: int, generator: torch.Generator, limit: int = 20_000) -> Array:
    """`hierlib.experiments.fragments.reach` from one string of each of fresh grammars: (draws,) float64.

    A walk that is cut at the limit counts with what it has reached.
    """
    rows: list[Tensor] = []
    for g, x in drawn_data(draws, 1, v=v, m=m, s=s, L=L, generator=generator):
        rows.append(reach(g, x[0], limit=limit).fraction)
    return torch.cat(rows).cpu().numpy()
