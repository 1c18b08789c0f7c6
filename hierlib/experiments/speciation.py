"""When each level is decided, by the free entropies of its symbols: a criterion that needs no linear statistics.

Of what is seen at noise t, ln p(x_t | node = a) - ln p(x_t) = ln [posterior of a / prior of a]: exact inference knows
the free entropy of every symbol of every node. By arXiv 2602.04404 a class is decided at the time at which the free
entropy of the truth leads that of another symbol by as much, on average, as the lead fluctuates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib._numbers import noise_levels
from hierlib.experiments.curves import Interval, crossing, estimate, half_height
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import check_generator
from hierlib.inference import infer
from hierlib.noise import Noise, evidence_of
from hierlib.probability import prior_marginals


def free_entropies(marginals: Tensor, prior: Tensor) -> Tensor:
    """ln p(x_t | symbol) - ln p(x_t) of every symbol of every node of a level, in nats.

    Args:
        marginals: (n, nodes, symbols), posterior probabilities.
        prior: (nodes, symbols), as from `hierlib.probability.prior_marginals`.

    Returns:
        (n, nodes, symbols) float64; -inf for a symbol that the node never has, or that is excluded.
    """
    posterior = marginals.double()
    return torch.where(prior > 0, posterior.log() - torch.where(prior > 0, prior, 1).log(), -torch.inf)


def lead_over_rest(marginals: Tensor, prior: Tensor, truth: Tensor) -> Tensor:
    """Free entropy of the truth minus that of all else together, ln [p(x_t | truth)/p(x_t | not the truth)].

    It is a change of log odds, and E e^-lead = 1 for any noise (the identity of Nishimori).

    Args:
        marginals, prior: as for `free_entropies`.
        truth: (n, nodes) int64, the true symbols.

    Returns:
        (n, nodes) float64; infinite where nothing else is left.
    """
    own = truth[..., None]
    posterior, before = marginals.double(), prior.expand(marginals.shape)
    rest, rest_before = (x.scatter(2, own, 0).sum(2) for x in (posterior, before))
    odds = posterior.gather(2, own)[..., 0].log() - rest.log()
    return odds - (before.gather(2, own)[..., 0].log() - rest_before.log())


def lead_over_another(marginals: Tensor, prior: Tensor, truth: Tensor, *, generator: torch.Generator) -> Tensor:
    """Free entropy of the truth minus that of one other symbol, drawn uniformly among those that the node can have.

    Args:
        marginals, prior, truth: as for `lead_over_rest`.
        generator: source of randomness.

    Returns:
        (n, nodes) float64; nan where the node can have no other, infinite where the other is excluded.
    """
    check_generator(generator)
    free = free_entropies(marginals, prior)
    chosen = torch.rand(marginals.shape, dtype=torch.float64, generator=generator, device=marginals.device)
    chosen = chosen.masked_fill(prior == 0, -1).scatter(2, truth[..., None], -2)
    score, other = chosen.max(2)
    lead = free.gather(2, truth[..., None])[..., 0] - free.gather(2, other[..., None])[..., 0]
    return lead.masked_fill(score < 0, torch.nan)


class Leads(NamedTuple):
    """The lead of the truth, means over the nodes and data of each grammar; level 0 = leaves … L = class."""

    t: np.ndarray  #: (T,)
    mean: np.ndarray  #: (draws, T, L+1), in nats
    square: np.ndarray  #: (draws, T, L+1) mean of its square
    truth: np.ndarray  #: (draws, T, L+1) posterior probability of the truth

    @property
    def ratio(self) -> np.ndarray:
        """(T, L+1) mean over standard deviation, over all grammars."""
        return _ratio(self.mean.mean(0), self.square.mean(0))


def leads(
    noise: Noise,
    t: Sequence[float],
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
) -> Leads:
    """`Leads` over another symbol, for fresh grammars and data, with the same random numbers at each of the times t.

    Args:
        noise: a noise process whose evidence excludes no symbol, as Gaussian or uniform noise at t > 0; of float64, so
            that small beliefs have logarithms.
        t: (T,) its levels.
        v, m, s, L, draws, data, generator: as for `hierlib.experiments.uturns.level_curves`.

    Raises:
        ValueError: as for `level_curves`; or a symbol is excluded, which has no free entropy.
    """
    times, rows = noise_levels(t), []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        priors, state, row = prior_marginals(g), generator.get_state(), []
        for time in times.tolist():
            generator.set_state(state)
            beliefs = infer(g, evidence_of(noise, x[0], time, generator=generator), messages=False).marginals
            row.append(
                [_moments(*level, time=time, generator=generator) for level in zip(beliefs, priors, x, strict=True)]
            )
        rows.append(row)
    mean, square, truth = np.moveaxis(np.array(rows), -1, 0)
    return Leads(times.numpy(), mean, square, truth)


def _moments(
    marginals: Tensor, prior: Tensor, truth: Tensor, *, time: float, generator: torch.Generator
) -> tuple[float, float, float]:
    lead = lead_over_another(marginals, prior, truth, generator=generator)
    lead = lead[~lead.isnan()]
    if not lead.isfinite().all():
        raise ValueError(f"t: expected noise that excludes no symbol, got some that is excluded at t = {time:g}")
    kept = marginals.double().gather(2, truth[..., None]).mean()
    return float(lead.mean()), float(lead.square().mean()), float(kept)


def decided(found: Leads, *, seed: int = 0) -> list[Interval]:
    """The time of each level, 0 … L, at which the mean lead has fallen to its standard deviation.

    Args:
        found: from `leads`, of several grammars.
        seed: of the intervals, over grammars.

    Returns:
        L+1 intervals; nan where the ratio does not fall through 1.
    """

    levels = range(found.mean.shape[2])
    return [
        estimate(lambda *y: _falls(found.t, *y), found.mean[..., l], found.square[..., l], seed=seed, num=400)
        for l in levels
    ]


def class_against(found: Leads, level: int, *, seed: int = 0) -> Interval:
    """The class's time of `decided` over that of another level, on the same grammars."""
    columns = (y[..., l] for l in (-1, level) for y in (found.mean, found.square))
    return estimate(lambda *y: _falls(found.t, *y[:2]) / _falls(found.t, *y[2:]), *columns, seed=seed, num=400)


def class_against_half_height(found: Leads, *, v: int, seed: int = 0) -> Interval:
    """The class's time of `decided` over that at which belief in it is half-way to chance 1/v, on the same grammars."""
    columns = (y[..., -1] for y in (found.mean, found.square, found.truth))

    def ratio(mean: np.ndarray, square: np.ndarray, truth: np.ndarray) -> float:
        return _falls(found.t, mean, square) / half_height(found.t, truth, chance=1 / v).t

    return estimate(ratio, *columns, seed=seed, num=400)


def _falls(t: np.ndarray, mean: np.ndarray, square: np.ndarray) -> float:
    """The time at which the mean lead has fallen to its standard deviation."""
    ratio = _ratio(mean, square)
    return crossing(t, ratio, np.ones_like(ratio))


def _ratio(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Mean over standard deviation, by the first two moments."""
    return mean / np.sqrt(np.maximum(square - mean**2, np.finfo(float).tiny))
