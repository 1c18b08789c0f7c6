"""What haste costs: prices of revealing leaves a few at a time, over drawn grammars, round by round, and of networks.

Prices are those of `hierlib.unmask.price`, in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib import unmask
from hierlib._denoiser import Denoiser
from hierlib._weights import refuse_uneven
from hierlib.enumeration import all_data
from hierlib.experiments.curves import Interval, estimate, plus_minus
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import Grammar, random_grammar
from hierlib.inference import infer
from hierlib.networks.generation import exact_denoiser, legal_nodes
from hierlib.probability import entropy, log_probability

ORDERS = ("strided", "digit-reversed", "random", "least certain first", "most certain first", "blocks")


def order(name: str, g: Grammar, n: int, rounds: int, *, generator: torch.Generator) -> unmask.Order:
    """One of `ORDERS`, for n strings of a grammar in some rounds.

    Raises:
        ValueError: there is no such order.
    """
    if name == "random":
        return unmask.random_order(n, g.d, generator=generator)
    known = {
        "strided": unmask.strided(g.d, rounds),
        "digit-reversed": unmask.digit_reversed(g.s, g.L),
        "least certain first": unmask.by_uncertainty,
        "most certain first": unmask.by_certainty,
        "blocks": unmask.blocks(g.d),
    }
    if name not in known:
        raise ValueError(f"order: expected one of {', '.join(map(repr, ORDERS))}, got {name!r}")
    return known[name]


def prices(
    name: str,
    rounds: Sequence[int],
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> np.ndarray:
    """Price of an order with the exact denoiser, for fresh grammars and data.

    Args:
        name: one of `ORDERS`.
        rounds: numbers of rounds K.
        v, m, s, L, draws, data, generator: as of `hierlib.experiments.uturns.drawn_data`.
        dtype: floating type of the evidence.

    Returns:
        (draws, rounds) float64, mean over the data of each grammar, KL(data ‖ sampler) in nats.

    Raises:
        ValueError: as `drawn_data` and `hierlib.unmask.price` do; there is no such order.
    """
    found = []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        each = [
            unmask.price(
                exact_denoiser(g), x[0], order(name, g, data, K, generator=generator), K, -entropy(g), v=v, dtype=dtype
            )
            for K in rounds
        ]
        found.append(torch.stack(each, 1).mean(0))
    return torch.stack(found).cpu().numpy()


def power(rounds: Sequence[int], found: np.ndarray, *, seed: int = 0) -> Interval[float]:
    """The power of K with which a price goes: least squares in logarithms, bootstrapped over rule draws.

    Args:
        rounds: (n,) numbers of rounds K, at least two.
        found: (draws, n), as from `prices`.
        seed: of the bootstrap.
    """
    log_K = np.log(rounds)
    return estimate(lambda y: np.polyfit(log_K, np.log(np.clip(y, 1e-12, None)), 1)[0], found, seed=seed)


class Legal(NamedTuple):
    """What a sampler's strings are worth."""

    leaves: Tensor  #: (n, d) the strings
    levels: Tensor  #: (L+1,) fraction of the nodes of a level that are legal down to their leaves
    strings: Tensor  #: (n,) bool, whether all of a string is
    nodes: tuple[Tensor, ...]  #: per level, (n, nodes) bool, as from `legal_nodes`


def legal(g: Grammar, name: str, n: int, rounds: int, *, generator: torch.Generator) -> Legal:
    """Run the sampler of an order with the exact denoiser, and parse what it makes.

    Args:
        g: the grammar.
        name: one of `ORDERS`.
        n: number of strings.
        rounds: number of rounds K.
        generator: source of randomness.

    Raises:
        ValueError: as `hierlib.unmask.draw` does; there is no such order.
    """
    chosen = order(name, g, n, rounds, generator=generator)
    y = unmask.draw(exact_denoiser(g), n, chosen, rounds, d=g.d, v=g.v, generator=generator)
    nodes = legal_nodes(g, y)
    return Legal(y, torch.stack([level.double().mean() for level in nodes]), nodes[-1][:, 0], nodes)


def legal_shares(
    name: str, n: int, rounds: int, *, v: int, m: int, s: int, L: int, draws: int, generator: torch.Generator
) -> np.ndarray:
    """Fraction of the strings of an order that are legal, (draws,), n strings for each fresh grammar: see `legal`."""
    grammars = (random_grammar(v=v, m=m, s=s, L=L, generator=generator) for _ in range(draws))
    each = [legal(g, name, n, rounds, generator=generator).strings.double().mean() for g in grammars]
    return torch.stack(each).cpu().numpy()


class Paid(NamedTuple):
    """Where on the way the price is paid."""

    hidden: Tensor  #: (K,) fraction of the leaves that are hidden before each round
    price: Tensor  #: (n, K) of each round, in nats; the sum over rounds is that of `hierlib.unmask.price`

    def while_hidden(self, share: float) -> np.ndarray:
        """(2,) mean price of the rounds that begin with more than a share of the leaves hidden, and of all."""
        early = self.price[:, self.hidden > share].sum(1).mean()
        return np.array([float(early), float(self.price.sum(1).mean())])


def paid(g: Grammar, leaves: Tensor, order: unmask.Order, rounds: unmask.Rounds) -> Paid:
    """The price round by round, ln p(new leaves | seen) - Σ ln b_i: what the leaves of a round know of each other.

    Its mean is the total correlation of the leaves of the round, given what is seen.

    Args:
        g: the grammar.
        leaves: (n, d) data of it.
        order, rounds: of the sampler, see `hierlib.unmask`.

    Raises:
        ValueError: as `hierlib.unmask.price` does.
    """
    seen_so_far: list[Tensor] = []

    def denoise(evidence: Tensor) -> Tensor:
        b = infer(g, evidence, messages=False)
        blank = (evidence < 1).all(2).sum(1)  # every hidden leaf has the evidence 1/v
        seen_so_far.append(b.log_evidence.double() + blank.double() * math.log(g.v))
        return b.marginals[0]

    said, hidden, still = [], [], leaves.shape[1]
    for now, belief in unmask.walk(denoise, leaves, order, rounds, v=g.v):
        each = belief.gather(2, leaves[..., None])[..., 0].log()
        said.append(each.masked_fill(~now, 0).sum(1))
        hidden.append(still / leaves.shape[1])
        still -= int(now[0].sum())
    log_p = torch.stack([*seen_so_far, log_probability(g, leaves)], 1)
    return Paid(
        torch.tensor(hidden, dtype=torch.float64, device=leaves.device), log_p.diff(dim=1) - torch.stack(said, 1)
    )


class Bill(NamedTuple):
    """What a denoiser pays for each datum, (n,), or each datum and number of rounds, (n, K), in nats."""

    haste: Tensor  #: the exact denoiser's price
    error: Tensor  #: the denoiser's own error
    total: Tensor  #: the denoiser's price; in the mean over data the sum of the two

    def off(self) -> float:
        """The largest distance of total from haste + error over the numbers of rounds, in standard errors over data."""
        rest = self.total - self.haste - self.error
        return float((rest.mean(0) / (rest.std(0) / len(rest) ** 0.5 + 1e-6)).abs().max())


def spent(denoise: Denoiser, g: Grammar, leaves: Tensor, order: unmask.Order, rounds: unmask.Rounds) -> Bill:
    """The price of a denoiser q and its two parts, along data: with b exact inference, the same leaves said by b, and
    the own error Σ KL(b_i ‖ q_i) over the leaves of each round.

    In the mean over data, total = haste + own error, for every order that does not look at the belief; for one that
    does, haste is that of the leaves that the denoiser chose.

    Args:
        denoise: a denoiser that takes float32.
        g, leaves, order, rounds: as for `paid`.

    Returns:
        `Bill`, (n,) float64 each.

    Raises:
        ValueError: as `hierlib.unmask.price` does.
    """
    exact, both, log_p = exact_denoiser(g), [], log_probability(g, leaves)

    def paired(evidence: Tensor) -> Tensor:
        both.append(exact(evidence.double()))
        return denoise(evidence)

    haste, error, total = log_p.clone(), torch.zeros_like(log_p), log_p.clone()
    for now, said in unmask.walk(paired, leaves, order, rounds, v=g.v, dtype=torch.float32):
        b, q = both.pop(), said.double()
        for cost, belief in ((haste, b), (total, q)):
            cost -= belief.gather(2, leaves[..., None])[..., 0].log().masked_fill(~now, 0).sum(1)
        error += (torch.xlogy(b, b) - torch.xlogy(b, q)).sum(2).masked_fill(~now, 0).sum(1)
    return Bill(haste, error, total)


def bill(
    denoise: Denoiser, g: Grammar, leaves: Tensor, name: str, rounds: Sequence[int], *, generator: torch.Generator
) -> Bill:
    """What a denoiser has `spent` in several numbers of rounds, in an order that does not look at beliefs.

    Args:
        denoise: a denoiser that takes float32.
        g, leaves: a grammar and data of it, (n, d).
        name: "random", "strided", "digit-reversed" or "blocks".
        rounds: (K,) numbers of rounds.
        generator: source of randomness.

    Returns:
        `Bill`, (n, K) float64 each.

    Raises:
        ValueError: as `hierlib.unmask.price` does; there is no such order.
    """
    n = len(leaves)
    each = [spent(denoise, g, leaves, order(name, g, n, K, generator=generator), K) for K in rounds]
    return Bill(*(torch.stack(part, 1) for part in zip(*each, strict=True)))


def mixture_price(g: Grammar, rounds: int, orders: int, *, generator: torch.Generator) -> Interval[float]:
    """KL of all data from random sets whose order is a part of the sampler's chance, in nats: below their mean price.

    Args:
        g: a grammar small enough for `hierlib.enumeration.all_data`.
        rounds: number of rounds K.
        orders: how many orders a datum stand for all, at least 2; their finite number is corrected for to first order.
        generator: source of randomness.

    Returns:
        The price and its 95 % interval over orders.
    """
    refuse_uneven(g, "mixture_price", "look at the prices of single orders, hierlib.networks.haste.spent")
    data = all_data(g)[0]
    how = [order("random", g, len(data), rounds, generator=generator) for _ in range(orders)]
    each = torch.stack([unmask.price(exact_denoiser(g), data, one, rounds, -entropy(g), v=g.v) for one in how])
    ratio = each.neg().exp()  # q/p of each order
    mean = ratio.mean(0)
    variance = ratio.var(0) / (orders * mean**2)  # of ln(mean), for each datum
    return plus_minus(float((-mean.log() - variance / 2).mean()), float((variance.sum() / len(data) ** 2).sqrt()))


class Law(NamedTuple):
    """A sampler's law on all data of a small grammar, from its runs."""

    divergence: float  #: KL(data ‖ sampler) in nats, corrected for the number of runs; infinite if a datum never came
    error: float  #: the standard error of `least`
    legal: float  #: fraction of the runs that are data
    least: float  #: the divergence, or a lower bound of it, in which data that never came count once


def law_from_runs(g: Grammar, runs: Tensor) -> Law:
    """The divergence of all data, equally probable, from what a sampler made.

    With n runs, counts n_x and frequencies q_x = n_x/n, the mean of -ln q_x is too high by (1-q_x)/(2 n q_x) to first
    order, and the error follows from the covariance of the counts.

    Args:
        g: a grammar small enough for `hierlib.enumeration.all_data`.
        runs: (n, d) strings of the sampler, legal or not.

    Raises:
        ValueError: as `all_data` does, or the data are not equally probable.
    """
    refuse_uneven(g, "law_from_runs", "compare counts with hierlib.log_probability")
    data, n = all_data(g)[0], len(runs)
    _, which = torch.cat([data, runs.long()]).unique(dim=0, return_inverse=True)
    count = torch.bincount(which[len(data) :], minlength=int(which.max()) + 1)[which[: len(data)]].double()
    legal, p = float(count.sum() / n), 1 / len(data)
    q = count.clamp_min(1) / n
    bias = ((1 - q) / (2 * n * q)).mean()
    error = (((p * p / q).sum() - 1).clamp_min(0) / n).sqrt()
    least = float(math.log(p) - q.log().mean() - bias)
    return Law(least if count.all() else float("inf"), float(error), legal, least)
