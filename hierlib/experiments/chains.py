"""Chains of U-turns: each starts from the end of the one before, and level after level forgets the beginning.

One U-turn takes x to y with K(x, y) = Σ_z q(z|x) p(y|z), where z is what noise leaves to be seen. As p(y|z) is Bayes'
rule, p(x) K(x, y) = Σ_z p(z) p(x|z) p(y|z): the chain is reversible with respect to the data, and positive, whatever
the noise. So every autocorrelation is Σ c_i λ_i^k with λ_i in [0, 1]: it falls, is convex, and C(k) ≥ C(1)^k. That of
a level after one turn is its level curve P_l above chance, (P_l - Σπ²)/(1 - Σπ²), `hierlib.experiments.uturns`.

The ε-process is no channel: its chain is reversible with respect to another law than that of the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hierlib._numbers import as_numbers
from hierlib.grammar import Grammar, check_device, check_generator, parse, whole
from hierlib.inference import posterior_sample
from hierlib.noise import Noise, evidence_of
from hierlib.probability import prior_marginals


def walk(
    g: Grammar,
    leaves: Tensor,
    noise: Noise,
    t: float | Tensor,
    steps: int,
    *,
    generator: torch.Generator,
    backend: str = "auto",
) -> Iterator[tuple[Tensor, ...]]:
    """The states of `chain`, one after the other, where all together need too much memory.

    Args:
        g, leaves, noise, t, steps, generator, backend: as for `chain`.

    Yields:
        steps + 1 states, the beginning first; of each one int64 tensor a level, (n, s^(L-l)).

    Raises:
        ValueError: as `chain` does, before the first state.
    """
    steps = whole("steps", steps, 0)
    check_generator(generator)
    check_device("generator", generator.device, g)
    state = parse(g, leaves)
    if not len(state[0]):
        raise ValueError("leaves: expected at least one datum to start from, got none")
    levels = as_numbers("t", t, torch.float64, g.device)
    if levels.ndim > 1 or (levels.ndim == 1 and len(levels) != len(state[0])):
        raise ValueError(
            f"t: expected a number or one a chain, ({len(state[0])},), got shape {tuple(levels.shape)}; "
            "for each of several noise levels repeat the leaves"
        )
    if getattr(noise, "v", g.v) != g.v:
        raise ValueError(f"noise: expected one of the {g.v} symbols of the grammar, got {noise}")
    return _turns(g, state, noise, levels if levels.ndim else float(levels), steps, generator, backend)


def _turns(
    g: Grammar,
    state: tuple[Tensor, ...],
    noise: Noise,
    t: float | Tensor,
    steps: int,
    generator: torch.Generator,
    backend: str,
) -> Iterator[tuple[Tensor, ...]]:
    yield state
    for _ in range(steps):
        evidence = evidence_of(noise, state[0], t, generator=generator)
        state = tuple(level[:, 0] for level in posterior_sample(g, evidence, generator=generator, backend=backend))
        yield state


def chain(
    g: Grammar,
    leaves: Tensor,
    noise: Noise,
    t: float | Tensor,
    steps: int,
    *,
    generator: torch.Generator,
    backend: str = "auto",
) -> tuple[Tensor, ...]:
    """U-turns in a row: corrupt the leaves to t, draw from the exact posterior, corrupt what was drawn, and so on.

    All chains advance together, a step costs one call of the noise and one of `posterior_sample`.

    Args:
        g: the grammar.
        leaves: (n, s^L), the string from which each of n chains starts. If they are data as from `sample`, the chains
            are stationary from the beginning.
        noise: any noise process of the grammar's symbols.
        t: its level, a number or one a chain, (n,); all noise levels at once cost no more than one after the other.
        steps: number of U-turns, 0 or more.
        generator: source of randomness, on the grammar's device.
        backend: see `infer`.

    Returns:
        One int64 tensor a level, ``y[l]`` of shape (steps+1, n, s^(L-l)), leaves first; ``y[l][0]`` is the beginning.

    Raises:
        ValueError: steps or t are out of range, a string is none of the grammar, the noise is for another v, or as
            `posterior_sample` does.

    >>> from hierlib import MaskNoise, random_grammar, sample
    >>> rng = torch.Generator().manual_seed(0)
    >>> g = random_grammar(v=8, m=2, s=2, L=3, generator=rng)
    >>> y = chain(g, sample(g, 5, generator=rng)[0], MaskNoise(v=8), 0.3, steps=10, generator=rng)
    >>> [tuple(level.shape) for level in y]
    [(11, 5, 8), (11, 5, 4), (11, 5, 2), (11, 5, 1)]
    """
    states = walk(g, leaves, noise, t, steps, generator=generator, backend=backend)
    for number, state in enumerate(states):
        if not number:
            out = tuple(torch.empty(steps + 1, *level.shape, dtype=level.dtype, device=level.device) for level in state)
        for all_of_it, level in zip(out, state, strict=True):
            all_of_it[number] = level
    return out


def autocorrelation(g: Grammar, y: Sequence[Tensor], *, lags: int | None = None) -> Tensor:
    """How much of each level is as it was k U-turns before, chance removed: C_l(k).

    C_l(k) = (P_l - Σπ²)/(1 - Σπ²), where P_l is the fraction of a level's nodes that have the same symbol in two states
    k turns apart, over all such pairs of a chain, and Σπ² that fraction in two data that know nothing of each other.
    It is linear in what is measured, so that means over chains, and their errors, are those of C.

    Args:
        g: the grammar.
        y: states of stationary chains, as from `chain`, ``y[l]`` of shape (steps+1, n, s^(L-l)).
        lags: the largest k, at most steps, which it is if not given.

    Returns:
        (lags+1, n, L+1) float64, a column a level, leaves first; C(0) = 1. A level that has only one symbol is never
        lost: 1.

    Raises:
        ValueError: y has other shapes, or lags is out of range.
    """
    if len(y) != g.L + 1:
        raise ValueError(f"y: expected {g.L + 1} levels, leaves first, got {len(y)}")
    for level, symbols in enumerate(y):
        if symbols.ndim != 3 or symbols.shape[:2] != y[0].shape[:2] or symbols.shape[2] != g.num_nodes(level):
            raise ValueError(
                f"y[{level}]: expected shape (steps+1, n, {g.num_nodes(level)}) as from chain, got "
                f"{tuple(symbols.shape)}"
            )
    steps = len(y[0]) - 1
    lags = steps if lags is None else whole("lags", lags, 0)
    if lags > steps:
        raise ValueError(f"lags: expected at most the {steps} steps of the chains, got {lags}")
    out = torch.empty(lags + 1, y[0].shape[1], g.L + 1, dtype=torch.float64, device=y[0].device)
    for level, (symbols, prior) in enumerate(zip(y, prior_marginals(g), strict=True)):
        small = symbols.to(torch.int32)  # half as much to read
        for k in range(lags + 1):
            out[k, :, level] = (small[k:] == small[: steps + 1 - k]).sum((0, 2)).double() / (steps + 1 - k)
        out[..., level] = above_chance(out[..., level] / g.num_nodes(level), float(prior.square().sum(1).mean()))
    return out


def above_chance(kept: Tensor, chance: float) -> Tensor:
    """(kept - chance)/(1 - chance), and 1 where chance is: what has one symbol only is never lost."""
    return (kept - chance) / (1 - chance) if chance < 1 - 1e-12 else torch.ones_like(kept)


def relaxation_times(correlation: Tensor) -> Tensor:
    """The number of U-turns after which an autocorrelation has fallen to 1/e, where it first does.

    Between two turns its logarithm is interpolated, so that λ^k gives -1/ln λ, below 1 too.

    Args:
        correlation: (lags+1, …), from C(0) = 1 on, as of `autocorrelation` and of
            `hierlib.experiments.transitions.correlations`; of several chains their mean, for it is not linear.

    Returns:
        (…) float64, in U-turns; inf where it has not fallen that far, k where C(k+1) ≤ 0 follows what is above 1/e.

    Raises:
        ValueError: it does not begin with 1, or holds what is not finite.

    >>> relaxation_times(torch.tensor([[1.0, 1.0], [0.5, 0.9], [0.25, 0.81]])).round(decimals=3)
    tensor([1.4430,    inf], dtype=torch.float64)
    """
    c = correlation.double()
    if not c.ndim or not c.isfinite().all() or not len(c) or not torch.allclose(c[0], torch.ones_like(c[0])):
        raise ValueError(
            "correlation: expected finite numbers (lags+1, …) that begin with C(0) = 1, got "
            f"{c[0].tolist() if c.ndim and len(c) else c.tolist()} of shape {tuple(c.shape)}"
        )
    if len(c) == 1:
        return torch.full(c.shape[1:], torch.inf, dtype=torch.float64, device=c.device)
    log = c.clamp_min(torch.finfo(torch.float64).tiny).log()
    before = log[:-1]
    low = log[1:] <= -1
    k = low.long().argmax(0)[None]  # the first
    start, end = before.gather(0, k)[0], log[1:].gather(0, k)[0]
    return torch.where(low.any(0), k[0] + (start + 1) / (start - end), torch.inf)


def least_times(first: Tensor) -> Tensor:
    """What one U-turn says of all: no relaxation time is below -1/ln C(1), since C(k) ≥ C(1)^k.

    Args:
        first: C(1), of any shape, at most 1.

    Returns:
        The bounds, float64, of that shape; inf at 1, and 0 where C(1) is not above 0.

    Raises:
        ValueError: a number is above 1 or none.

    >>> least_times(torch.tensor([1.0, 0.5, 0.0])).round(decimals=3)
    tensor([   inf, 1.4430, 0.0000], dtype=torch.float64)
    """
    first = first.double()
    if not (first <= 1).all():
        raise ValueError(f"first: expected autocorrelations after one U-turn, at most 1, got {first.tolist()}")
    return torch.where(first < 1, -1 / first.clamp(min=0, max=math.nextafter(1, 0)).log(), torch.inf)
