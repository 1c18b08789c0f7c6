"""The price of unmasking several leaves at once, each from its own marginal: in nats, exactly, for any denoiser.

A sampler that starts from masks reveals leaves in K rounds, those of a round independently of each other. Its law q is
known along every datum, so KL(data ‖ sampler) = E[ln p(x) - Σ ln b(x_i | what is seen)] over data needs K calls of the
denoiser and no run of the sampler. Where every leaf has a round of its own and the denoiser is exact, it is 0 for each
datum. An average over orders is an upper bound on the price of their mixture.

An order is a function from the denoiser's belief, (n, d, v), to scores, (n, d) or (d,): the hidden leaves with the
lowest scores are revealed next. Rounds are a number, then of equal size, or how many leaves are seen after each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._denoiser import Denoiser, said_by
from hierlib._finite import finite
from hierlib.grammar import check_generator, whole
from hierlib.noise import MaskNoise

Order = Callable[[Tensor], Tensor]
Rounds = int | Sequence[int]


def random_order(n: int, d: int, *, generator: torch.Generator) -> Order:
    """Any order, all equally probable, another one for each of n strings of d leaves."""
    rank = torch.rand(n, d, dtype=torch.float64, generator=generator, device=generator.device).argsort(1).argsort(1)
    return lambda belief: rank


def strided(d: int, rounds: int) -> Order:
    """Round k reveals leaves k, k + K, k + 2K …: far apart in the string, and in the tree."""
    return lambda belief: torch.arange(d, device=belief.device) % rounds


def digit_reversed(s: int, L: int) -> Order:
    """By the index with its L digits in base s reversed: a leaf of each large block, then of each smaller one."""

    def order(belief: Tensor) -> Tensor:
        i = torch.arange(s**L, device=belief.device)
        rank = torch.zeros_like(i)
        for level in range(L):
            rank = rank * s + i // s**level % s
        return rank

    return order


def blocks(d: int) -> Order:
    """From left to right, d/K neighbours at a time."""
    return lambda belief: torch.arange(d, device=belief.device)


def by_certainty(belief: Tensor) -> Tensor:
    """The leaves first of which the denoiser is most certain, by the entropy of its belief."""
    return torch.special.entr(belief).sum(2)


def by_uncertainty(belief: Tensor) -> Tensor:
    """The leaves first of which the denoiser is least certain."""
    return -by_certainty(belief)


def price(
    denoise: Denoiser,
    leaves: Tensor,
    order: Order,
    rounds: Rounds,
    log_probability: Tensor | float,
    *,
    v: int,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """ln p(x)/q(x) of data x under a sampler that reveals them in some rounds: its mean is KL(data ‖ sampler).

    Args:
        denoise: a denoiser, exact or learnt, of evidence (n, d, v) in which a hidden leaf is 1/v everywhere.
        leaves: (n, d) data.
        order, rounds: of the sampler, see the head of this module.
        log_probability: ln p(x), (n,) or a number, as from `hierlib.log_probability`.
        v: alphabet size.
        dtype: floating type of the evidence.

    Returns:
        (n,) float64, in nats; infinite where the sampler cannot make a datum.

    Raises:
        ValueError: rounds or leaves are out of range; the denoiser or the order gives another shape.
    """
    cost = torch.as_tensor(log_probability, dtype=torch.float64, device=leaves.device).expand(len(leaves)).clone()
    for now, belief in _rounds(denoise, leaves, order, rounds, v, dtype):
        said = belief.gather(2, leaves[..., None])[..., 0].double().log()
        cost -= said.masked_fill(~now, 0).sum(1)
    return cost


def draw(
    denoise: Denoiser,
    n: int,
    order: Order,
    rounds: Rounds,
    *,
    d: int,
    v: int,
    generator: torch.Generator,
    floor: float = 1e-9,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Run the sampler itself: strings that start from masks and are revealed in some rounds.

    Leaves of one round may contradict each other, and then no data have them. So that an exact denoiser has an answer
    all the same, it is told that each leaf seen is misprinted with a small probability, the floor; above a
    contradiction its beliefs are guesses. Along strings that stay possible the law is that of `price` up to d·floor.

    Args:
        denoise, order, rounds, v, dtype: as for `price`.
        n: number of strings, at least 1.
        d: number of leaves.
        generator: source of randomness; all is done on its device.
        floor: above 0, at most 1.

    Returns:
        (n, d) int64 symbols; not all are data of the grammar.

    Raises:
        ValueError: as for `price`; n, d or the floor is out of range.
    """
    n, d = whole("n", n, 1), whole("d", d, 1)
    check_generator(generator)
    if not 0 < floor <= 1:
        raise ValueError(f"floor: expected a probability above 0, so that contradictions have an answer, got {floor}")
    x = torch.zeros(n, d, dtype=torch.int64, device=generator.device)
    for now, belief in _rounds(denoise, x, order, rounds, v, dtype, floor):
        drawn = torch.multinomial(belief.flatten(0, 1), 1, generator=generator).reshape(n, d)
        x.copy_(torch.where(now, drawn, x))
    return x


def profile(
    denoise: Denoiser,
    leaves: Tensor,
    sizes: Sequence[int],
    *,
    v: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """Mean entropy of a hidden leaf when j random other leaves of a datum are seen.

    Args:
        denoise, leaves, v, dtype: as for `price`. If exact, the mean over data is f(j) = H(a leaf | j random others).
        sizes: the numbers j, 0 … d-1.
        generator: source of randomness; one order a datum serves all sizes.

    Returns:
        (n, sizes) float64, in nats.

    Raises:
        ValueError: a size is out of range, or what `price` raises.
    """
    n, d = leaves.shape
    check_generator(generator)
    numbers = [whole("sizes", size, 0) for size in sizes]
    if not numbers or max(numbers) >= d:
        raise ValueError(f"sizes: expected numbers of seen leaves in 0…{d - 1}, got {list(sizes)}")
    rank, found = random_order(n, d, generator=generator)(leaves), []
    for size in numbers:
        hidden = rank >= size
        belief = _said(denoise, leaves.masked_fill(hidden, v), v, dtype)
        found.append((torch.special.entr(belief.double()).sum(2) * hidden).sum(1) / (d - size))
    return torch.stack(found, 1)


class CheapestSizes(NamedTuple):
    """The best that random sets of leaves in some rounds can do."""

    price: float  #: KL(data ‖ sampler) of the profile, in nats
    seen: tuple[int, ...]  #: how many leaves are seen after each round, the last is d


def cheapest_sizes(entropies: Sequence[float] | Tensor, rounds: int) -> CheapestSizes:
    """How many random leaves to reveal in each round, by dynamic programming in O(K·d²).

    With f(j) the entropy of a hidden leaf given j random others, KL = Σ_k (j_{k+1} - j_k)·f(j_k) - Σ_j f(j): a left
    Riemann sum minus the integral (arXiv 2510.25544, 2511.04647), whatever the data.

    Args:
        entropies: (d,) f(j), j = 0 … d-1, as from `profile`; between sizes that were not measured, interpolate.
        rounds: K, 1 … d.

    Raises:
        ValueError: rounds is out of range or no whole number, or the entropies are not finite.

    >>> cheapest_sizes([3.0, 1.0, 1.0, 1.0], 2)
    CheapestSizes(price=0.0, seen=(1, 4))
    """
    f = finite(torch.as_tensor(entropies, dtype=torch.float64, device="cpu"), "entropies", "measure them at more data")
    d, rounds = len(f), whole("rounds", rounds, 1)
    if rounds > d:
        raise ValueError(f"rounds: expected at most one a leaf, {d}, got {rounds}")
    j = torch.arange(d + 1, dtype=torch.float64, device="cpu")
    step = ((j - j[:-1, None]) * f[:, None]).masked_fill(j <= j[:-1, None], torch.inf)  # [a, b]: from a seen to b
    best, back = torch.full((d + 1,), torch.inf, dtype=torch.float64, device="cpu"), []
    best[0] = 0
    for _ in range(rounds):
        best, which = (best[:-1, None] + step).min(0)
        back.append(which)
    seen = [d]
    for which in reversed(back[1:]):
        seen.append(int(which[seen[-1]]))
    return CheapestSizes(float(best[d] - f.sum()), tuple(reversed(seen)))


def _rounds(
    denoise: Denoiser, x: Tensor, order: Order, rounds: Rounds, v: int, dtype: torch.dtype, floor: float = 0.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each round's new leaves, (n, d) bool, and the belief in all of them; x is read anew in each."""
    hidden = torch.ones_like(x, dtype=torch.bool)
    before = 0
    for seen in _seen(rounds, x.shape[1]):
        belief = _said(denoise, x.masked_fill(hidden, v), v, dtype, floor)
        scores = order(belief)
        if not isinstance(scores, Tensor) or scores.shape not in (x.shape, x.shape[1:]):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores)
            raise ValueError(f"order: expected scores of shape {tuple(x.shape)} or {tuple(x.shape[1:])}, got {got}")
        scores = scores.double().expand(x.shape).masked_fill(~hidden, torch.inf)
        now = scores.argsort(dim=1, stable=True).argsort(1) < seen - before
        yield now, belief
        hidden, before = hidden & ~now, seen


def _said(denoise: Denoiser, x: Tensor, v: int, dtype: torch.dtype, floor: float = 0.0) -> Tensor:
    """What a denoiser says of leaves, v where they are hidden; those seen are misprinted with probability floor."""
    evidence = MaskNoise(v, dtype=dtype).evidence(x)
    belief = said_by(denoise, evidence * (1 - floor) + floor / v if floor else evidence)
    return finite(belief, "the denoiser's belief", "look at its weights")


def _seen(rounds: Rounds, d: int) -> list[int]:
    """How many of d leaves are seen after each round."""
    if isinstance(rounds, Sequence):
        seen = [whole("rounds", size, 1) for size in rounds]
    else:
        count = whole("rounds", rounds, 1)
        seen = [-(-k * d // count) for k in range(1, count + 1)]
    if not seen or seen[-1] != d or any(b <= a for a, b in pairwise(seen)):
        raise ValueError(
            f"rounds: expected 1 … {d} of them, or how many leaves are seen after each, rising to {d}, got {rounds}"
        )
    return seen
