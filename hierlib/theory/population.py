"""Population dynamics: the mean over grammars of belief propagation for any leaf noise, without a grammar.

Also called density evolution. A message to a node is random through the noise of its leaves and through the rules
that lead to it. A pool of belief vectors stands for its distribution; one step up or down the tree draws fresh
rules at every node and the incoming beliefs from the pool. Unlike the mean field this keeps the whole
distribution. What it leaves out is that the nodes of a level share their rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._finite import finite
from hierlib._kernels.precision import least
from hierlib._kernels.torch import product
from hierlib._numbers import Numbers, noise_levels
from hierlib._weights import GivenWeights, each_level, refuse_no_law
from hierlib.grammar import check_generator, check_parameters
from hierlib.noise import EpsilonNoise, Noise, evidence_of, treats_symbols_alike

Sampler = Callable[[int, torch.Generator], Tensor]


class Levels(NamedTuple):
    """Mean belief in the true symbol, one row a pool, one column a level (0 = leaves … L = class)."""

    up: Tensor  #: upward, (pools, L+1)
    down: Tensor | None  #: downward, (pools, L+1)
    marginal: Tensor | None  #: marginal, (pools, L+1)


def leaf_sampler(noise: Noise, t: float) -> Sampler:
    """The evidence of leaves whose true symbol is named 0.

    Of a noise that does not say that it treats all symbols alike (see `hierlib.Noise`), the true symbol is drawn for
    each leaf, and all symbols are renamed at random so that it is 0: the rules, drawn afresh, do not mind.

    Args:
        noise: a noise process.
        t: its level; ε for the ε-process.

    Returns:
        A function (n, generator) → (n, v) float64 beliefs.

    Raises:
        ValueError: when it draws, if the noise is no `hierlib.Noise` or returns what is not as described there.
    """
    if isinstance(noise, EpsilonNoise):  # nothing is random, and all digits of the mean show
        noise = replace(noise, dtype=torch.float64)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        if treats_symbols_alike(noise):
            truth = torch.zeros(n, 1, dtype=torch.int64, device=generator.device)
            return evidence_of(noise, truth, t, generator=generator)[:, 0].to(torch.float64)
        names = torch.rand(n, noise.v, dtype=torch.float64, generator=generator, device=generator.device).argsort(1)
        evidence = evidence_of(noise, names[:, :1].contiguous(), t, generator=generator)[:, 0]
        return evidence.to(torch.float64).gather(1, names)

    return draw


def planted_rules(n: int, *, v: int, m: int, s: int, generator: torch.Generator) -> Tensor:
    """Draw n tables of rules, each conditioned on one rule of one symbol being (0, …, 0).

    The other v·m-1 tuples are uniform without replacement among the other v^s-1. This is the law of the rules
    around a node of a random grammar once its true symbol and those of its children are named 0.

    Args:
        n: number of tables.
        v, m, s: alphabet size, rules per symbol, branching factor.
        generator: source of randomness; the tables live on its device.

    Returns:
        int64 (n, v, m, s), the true rule at ``[:, 0, 0]``.

    Raises:
        ValueError: no such grammar exists.
    """
    check_parameters(v, m, s, 1, v)
    codes = _planted_codes(n, v, m, s, generator).reshape(v, m, n).permute(2, 0, 1)
    return torch.stack([_symbol(codes, i, v, s) for i in range(s)], -1)


def density_evolution(
    leaves: Sampler,
    *,
    m: int,
    s: int,
    L: int,
    size: int = 4096,
    pools: int = 4,
    downward: bool = True,
    weights: GivenWeights = None,
    generator: torch.Generator,
) -> Levels:
    """Population dynamics of (16-19) on a tree of L levels: every level's mean belief in the truth.

    Args:
        leaves: draws the evidence of leaves whose true symbol is 0, see `leaf_sampler`.
        m, s, L: rules per symbol, branching factor, levels; the classes are as many as the symbols.
        size: beliefs in a pool.
        pools: independent pools; the scatter of their means is the sampling error.
        downward: whether to go down again; without, `down` and `marginal` are None.
        weights: of the rules, (m,) for all levels or one (m,) for each; uniform if not given.
        generator: source of randomness; the pools live on its device.

    Returns:
        `Levels`, float64 on the CPU.

    Raises:
        ValueError: a parameter is out of range; beliefs are not finite or contradict each other, so that no symbol is
            left.

    >>> generator = torch.Generator().manual_seed(0)
    >>> run = density_evolution(leaf_sampler(EpsilonNoise(v=32), 0.5), m=8, s=2, L=3, size=500, generator=generator)
    >>> run.marginal.shape, bool((run.up.mean(0).diff() > 0).all())
    (torch.Size([4, 4]), True)
    """
    check_generator(generator)
    if min(L, size, pools) < 1:
        raise ValueError(f"expected L, size and pools ≥ 1, got {L}, {size} and {pools}")
    v = leaves(1, generator).shape[-1]
    check_parameters(v, m, s, 1, v)  # any depth will do: there is no tree
    laws: Sequence[Tensor | None] = [None] * L
    if weights is not None:
        laws = _laws(weights, L, generator.device)
        if any(len(law) != m for law in laws):
            raise ValueError(f"weights: expected ({m},), got {tuple(laws[0].shape)}")
        laws = [None] * L if all((law == 1 / m).all() for law in laws) else laws
    runs = [_one_pool(leaves, v, m, s, L, size, downward, laws, generator) for _ in range(pools)]
    up, down, marginal = ([x.cpu() for x in part if x is not None] for part in zip(*runs))
    return Levels(torch.stack(up), torch.stack(down) if down else None, torch.stack(marginal) if marginal else None)


def pool_of_beliefs(
    eps: Numbers,
    weights: GivenWeights,
    *,
    v: int,
    s: int,
    L: int,
    size: int = 2**16,
    generator: torch.Generator,
) -> Levels:
    """The mean field of the ε-process for rules of unequal weights: a pool of beliefs, of one number each.

    The rule that was used has weight w with probability w. Averaged over all else, the maps up and down are those of
    `hierlib.theory.meanfield` with 1/w in place of m: with P = Π p_i and u = (1-P)/(v^s-1),
    F_w = (wP + (1-w)u)/(wP + (v-w)u). A new w is drawn at every node, so beliefs have a distribution, which the pool
    holds. Where many rules are rare it is too low, and `density_evolution` with weights is needed.

    Args:
        eps: noise of the leaves, (T,) or a number, in [0, 1]; all share their random numbers.
        weights: (m,) as from `hierlib.zipf`, for all levels, or one (m,) for each of them.
        v, s, L: alphabet size, branching factor, levels; the classes are as many as the symbols.
        size: beliefs in the pool.
        generator: source of randomness, on whose device all is done.

    Returns:
        `Levels`, a row an ε, float64 on the CPU.

    Raises:
        ValueError: a parameter is out of range, or weights are no distributions.

    >>> from hierlib import zipf
    >>> rng = torch.Generator().manual_seed(0)
    >>> pool_of_beliefs([0.6, 0.9], zipf(8, 1.0), v=32, s=2, L=10, generator=rng).up[:, -1].round(decimals=1).tolist()
    [1.0, 0.0]
    """
    check_generator(generator)
    laws = _laws(weights, L, generator.device)
    for law in laws:
        check_parameters(v, len(law), s, 1, v)  # any depth will do: there is no tree
    device = generator.device
    noise = noise_levels(eps, "eps").to(device)
    if not ((noise >= 0) & (noise <= 1)).all() or size < 1:
        raise ValueError(f"expected eps in [0, 1] and size ≥ 1, got {noise.tolist()} and {size}")
    n, up, drawn = v**s - 1, [(1 - noise + noise / v)[:, None].expand(-1, size)], []

    def some(pool: Tensor) -> Tensor:
        return pool[:, torch.randint(size, (size,), generator=generator, device=device)]

    def used(law: Tensor) -> Tensor:
        return law[torch.multinomial(law, size, replacement=True, generator=generator)]

    for law in laws:
        P, w = product(some(up[-1]) for _ in range(s)), used(law)
        u = (1 - P) / n
        up.append((w * P + (1 - w) * u) / (w * P + (v - w) * u))
    down = [torch.full_like(up[-1], 1 / v)]
    for p, law in zip(up[-2::-1], laws[::-1], strict=True):
        q, w = some(down[0]), used(law)
        t = product(some(p) for _ in range(s - 1))
        c = (1 - q * w) / n
        down.insert(0, (q * w * t + c * (1 - t)) / (q * w * t + c * (v - t)))
    for p, q in zip(up, down, strict=True):
        p = some(p)
        drawn.append(p * q / (p * q + (1 - p) * (1 - q) / (v - 1)))
    return Levels(*(torch.stack([pool.mean(1) for pool in pools], 1).cpu() for pools in (up, down, drawn)))


def _laws(weights: GivenWeights, L: int, device: torch.device) -> list[Tensor]:
    """The weights of the rules of each level, (m,)."""
    if L < 1:
        raise ValueError(f"L: expected at least 1, got {L}")
    laws = each_level(weights, L, device)
    for level, law in enumerate(laws):
        if law.ndim != 1:
            raise ValueError(f"weights[{level}]: expected shape (m,), got {tuple(law.shape)}")
        refuse_no_law(f"weights[{level}]", law, law.shape, law.device)
    return laws


def _one_pool(
    leaves: Sampler,
    v: int,
    m: int,
    s: int,
    L: int,
    size: int,
    downward: bool,
    laws: Sequence[Tensor | None],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """One pool up and down the tree; pools are (v, size), and leaves are drawn afresh wherever they are used."""

    def draw(pool: Tensor) -> Tensor:
        return pool[:, torch.randint(pool.shape[1], (size,), generator=generator, device=pool.device)]

    def draw_up(level: int) -> Tensor:
        return draw(up[level - 1]) if level else leaves(size, generator).T

    up: list[Tensor] = []  # of the levels from 1 on
    for level in range(L):
        up.append(_step_up([draw_up(level) for _ in range(s)], m, laws[level], generator))
    mean_up = torch.stack([draw_up(0)[0].mean()] + [pool[0].mean() for pool in up])
    if not downward:
        return mean_up, None, None
    down = torch.full((v, size), 1 / v, dtype=torch.float64, device=mean_up.device)
    means = [(down[0].mean(), (up[-1] * down / _total(up[-1] * down))[0].mean())]
    for level in reversed(range(L)):
        down = _step_down(draw(down), [draw_up(level) for _ in range(s - 1)], m, laws[level], generator)
        both = draw_up(level) * down
        means.insert(0, (down[0].mean(), (both / _total(both))[0].mean()))
    mean_down, marginal = (torch.stack(x) for x in zip(*means))
    return mean_up, mean_down, marginal


def _step_up(children: list[Tensor], m: int, law: Tensor | None, generator: torch.Generator) -> Tensor:
    """Upward messages (16, 17) with fresh rules at every node: s pools (v, n) → (v, n)."""
    out = []
    for part in _parts(children, m):
        v, n = part[0].shape
        codes = _planted_codes(n, v, m, len(part), generator)
        weight = product(child.gather(0, _symbol(codes, i, v, len(part))) for i, child in enumerate(part))
        if law is not None:
            weight = weight * _planted_weights(n, v, law, generator)
        message = weight.reshape(v, m, n).sum(1)
        out.append(message / _total(message))
    return torch.cat(out, 1)


def _step_down(
    parent: Tensor, siblings: list[Tensor], m: int, law: Tensor | None, generator: torch.Generator
) -> Tensor:
    """Downward messages (18, 19) to a first child with fresh rules at every node: pools (v, n) → (v, n)."""
    s, out = len(siblings) + 1, []
    for part in _parts([parent, *siblings], m):
        v, n = part[0].shape
        codes = _planted_codes(n, v, m, s, generator)
        weight = part[0].repeat_interleave(m, 0)
        if law is not None:
            weight = weight * _planted_weights(n, v, law, generator)
        for i, sibling in enumerate(part[1:], start=1):
            weight = weight * sibling.gather(0, _symbol(codes, i, v, s))
        message = torch.zeros_like(part[0]).scatter_add_(0, _symbol(codes, 0, v, s), weight)
        out.append(message / _total(message))
    return torch.cat(out, 1)


def _planted_weights(n: int, v: int, law: Tensor, generator: torch.Generator) -> Tensor:
    """The weights of n planted tables, (v·m, n): that of the true rule is w with probability w."""
    table = law.repeat(v)[:, None].repeat(1, n)
    used, column = torch.multinomial(law, n, replacement=True, generator=generator), torch.arange(n, device=law.device)
    table[used, column] = law[0]
    table[0] = law[used]
    return table


def _parts(beliefs: list[Tensor], m: int) -> list[tuple[Tensor, ...]]:
    """Cut the pools into parts, so that the rule tables of a part stay below some 30 MB."""
    v, s = len(beliefs[0]), len(beliefs)
    width = max(v * m, v**s if _dense(v, m, s) else 0)
    return list(zip(*(belief.split(max(1, 2**22 // width), 1) for belief in beliefs)))


def _total(message: Tensor) -> Tensor:
    total = message.sum(0, keepdim=True)
    finite(total, "leaves, beliefs of a level", "draw finite evidence")
    if not (total >= least(total.dtype)).all():
        raise ValueError(
            "leaves: expected evidence that leaves some symbol possible, got beliefs that exclude all, or leave less "
            f"than {least(total.dtype):.0e}"
        )
    return total


def _symbol(codes: Tensor, i: int, v: int, s: int) -> Tensor:
    """Symbol i of the tuples with these codes in base v."""
    return codes // v ** (s - 1 - i) % v


def _dense(v: int, m: int, s: int) -> bool:
    return v**s <= 8 * v * m


def _planted_codes(n: int, v: int, m: int, s: int, generator: torch.Generator) -> Tensor:
    """The codes of n planted tables, (v·m, n): 0, then v·m-1 distinct ones of 1…v^s-1 in random order.

    Dense tables are shuffled (Fisher-Yates, all n at once); in sparse ones, duplicates are drawn again.
    Both treat all codes alike, so every ordered choice has the same probability.
    """
    k, codes_left, device = v * m - 1, v**s - 1, generator.device
    if not _dense(v, m, s):
        codes = torch.randint(1, codes_left + 1, (n, k), generator=generator, device=device)
        again = torch.arange(n, device=device)
        while len(again):
            sorted_, order = codes[again].sort(dim=1, stable=True)
            repeated = torch.zeros_like(order, dtype=torch.bool)
            repeated.scatter_(1, order[:, 1:], sorted_[:, 1:] == sorted_[:, :-1])
            again, repeated = again[repeated.any(1)], repeated[repeated.any(1)]
            fresh = torch.randint(1, codes_left + 1, repeated.shape, generator=generator, device=device)
            codes[again] = torch.where(repeated, fresh, codes[again])
        codes = codes.T
    else:
        table = torch.arange(1, codes_left + 1, device=device)[:, None].repeat(1, n)
        column = torch.arange(n, device=device)
        for i in range(k):
            j = torch.randint(i, codes_left, (n,), generator=generator, device=device)
            picked = table[j, column]
            table[j, column] = table[i].clone()
            table[i] = picked
        codes = table[:k]
    return torch.cat([torch.zeros(1, n, dtype=torch.int64, device=device), codes])
