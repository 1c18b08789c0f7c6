"""What is measured on data and posteriors: how much two leaves know about each other, and whether beliefs come true."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from hierlib._devices import array
from hierlib._weights import class_law, shared
from hierlib.grammar import Grammar, random_grammar
from hierlib.sampling import sample


def leaf_pairs(s: int, L: int, level: int) -> Tensor:
    """All pairs of leaves i < j whose lowest common ancestor is at this level, as (pairs, 2); siblings are level 1."""
    if not 1 <= level <= L:
        raise ValueError(f"level: expected 1…{L}, the level of the common ancestor, got {level}")
    i, j = torch.triu_indices(s**L, s**L, offset=1, device="cpu")
    meet = (i // s**level == j // s**level) & (i // s ** (level - 1) != j // s ** (level - 1))
    return torch.stack([i[meet], j[meet]], -1)


def leaf_pair_distribution(g: Grammar, i: int, j: int) -> Tensor:
    """Joint distribution of two leaves of a datum, exactly: the prior pushed down the tree from the root.

    Args:
        g: the grammar.
        i, j: two different leaves, 0…s^L-1.

    Returns:
        (v, v), float64; entry (a, b) is the probability that leaf i is a and leaf j is b.

    Raises:
        ValueError: i and j are not two leaves.
    """
    if not (0 <= i < g.d and 0 <= j < g.d and i != j):
        raise ValueError(f"expected two different leaves 0…{g.d - 1}, got {i} and {j}")
    prior = class_law(g)
    fork = max(level for level in range(g.L) if i // g.s**level != j // g.s**level)  # one rule gives both ancestors
    for level in reversed(range(fork + 1, g.L)):
        prior = prior @ _step(g, level, i // g.s**level % g.s)
    rule, (a, b) = g.rules[fork], (leaf // g.s**fork % g.s for leaf in (i, j))
    weight = shared(g, fork, prior).reshape(-1)
    code = (rule[..., a] * g.v + rule[..., b]).reshape(-1)
    joint = weight.new_zeros(g.v * g.v).index_add_(0, code, weight).reshape(g.v, g.v)
    for level in reversed(range(fork)):
        a, b = (leaf // g.s**level % g.s for leaf in (i, j))
        joint = _step(g, level, a).T @ joint @ _step(g, level, b)
    return joint


def _step(g: Grammar, level: int, child: int) -> Tensor:
    """p(child is b | parent is a), (parent symbols, v), for one of the s children at this level."""
    rule = g.rules[level][..., child]
    out = torch.zeros(len(rule), g.v, dtype=torch.float64, device=g.device)
    return out.scatter_add_(1, rule, shared(g, level, out.new_ones(len(rule))))


def leaf_pair_frequencies(leaves: Tensor, others: Tensor, i: int, j: int, v: int) -> Tensor:
    """How often leaf i of one datum and leaf j of the other are each pair of symbols: two (n, d) to (v, v), float64.

    With the same data twice it is `leaf_pair_distribution`, counted.
    """
    counts = torch.bincount(leaves[:, i] * v + others[:, j], minlength=v * v)
    return counts.reshape(v, v).double() / len(leaves)


def mutual_information(joint: Tensor) -> Tensor:
    """Mutual information of a joint distribution, (…, v, w), in nats; counted from n data it is biased upward by
    about (v-1)(w-1)/2n."""
    product = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return torch.xlogy(joint, joint / product.clamp_min(torch.finfo(joint.dtype).tiny)).sum((-1, -2)).clamp_min(0)


def pair_information(g: Grammar, *, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Mutual information of two leaves by the level of their common ancestor, exact and counted in data.

    Args:
        g: a grammar of moderate size; all pairs of leaves are visited.
        n: number of data that are drawn, at least 2.
        generator: source of randomness.

    Returns:
        Three tensors (L,) in nats, entry l-1 for pairs that meet at level l, averaged over these pairs, on the CPU.
        They are the exact value, the value counted in n data, and its floor, counted in as many pairs whose leaves are
        of different data and so independent.

    Raises:
        ValueError: n is below 2.
    """
    if n < 2:
        raise ValueError(f"n: expected at least 2 data, got {n}")
    leaves = sample(g, n, generator=generator)[0]
    others = leaves.roll(1, 0)
    means = []
    for level in range(1, g.L + 1):
        joints = [
            (
                leaf_pair_distribution(g, i, j),
                leaf_pair_frequencies(leaves, leaves, i, j, g.v),
                leaf_pair_frequencies(leaves, others, i, j, g.v),
            )
            for i, j in leaf_pairs(g.s, g.L, level).tolist()
        ]
        means.append(torch.stack([mutual_information(torch.stack(kind)).mean() for kind in zip(*joints)]))
    return tuple(torch.stack(means, -1).cpu())


class PairInformation(NamedTuple):
    """Mutual information of two leaves by the level of their common ancestor, (draws, L) in nats."""

    exact: np.ndarray
    counted: np.ndarray  #: in drawn data
    floor: np.ndarray  #: counted as well, but of leaves of different data


def pair_informations(
    *, v: int, m: int, s: int, L: int, n: int, draws: int, generator: torch.Generator
) -> PairInformation:
    """`pair_information` of several drawn grammars; n data of each are counted."""
    runs = []
    for _ in range(draws):
        g = random_grammar(v=v, m=m, s=s, L=L, generator=generator)
        runs.append(pair_information(g, n=n, generator=generator))
    return PairInformation(*(torch.stack(kind).numpy() for kind in zip(*runs, strict=True)))


class Calibration(NamedTuple):
    """Beliefs in bins against how often they came true; bins with little to see are left out."""

    belief: np.ndarray  #: (bins,) mean belief
    frequency: np.ndarray  #: (bins,) how often it was true
    error: np.ndarray  #: (bins,) standard error of the frequency, if the beliefs are right

    @property
    def z(self) -> np.ndarray:
        """Frequency less belief, in standard errors."""
        return (self.frequency - self.belief) / self.error


def calibration(belief: Tensor, truth: Tensor, bins: int = 10) -> Calibration:
    """How often each belief came true: beliefs of all symbols, sorted into bins of equal width.

    Args:
        belief: (n, v), float64 for large n; each row sums to one.
        truth: (n,) the true symbols.
        bins: their number; one whose number of true symbols has an expected variance of at most 1 is left out.
    """
    happened = torch.nn.functional.one_hot(truth, belief.shape[-1]).to(belief)
    place = (belief * bins).long().clamp_(max=bins - 1).flatten()
    columns = torch.ones_like(belief), belief, happened, belief * (1 - belief)  # the last: a variance
    count, said, seen, variance = (array(torch.bincount(place, y.flatten(), bins)) for y in columns)
    few = variance <= 1
    count, said, seen, variance = (y[~few] for y in (count, said, seen, variance))
    return Calibration(said / count, seen / count, np.sqrt(variance) / count)


def pooled_chi_square(counts: Tensor, expected: Tensor, *, least: float = 10) -> tuple[float, int]:
    """χ² test of counts against what is expected, with all rare outcomes in one cell.

    Args:
        counts, expected: (outcomes,) of the same sum.
        least: what is expected in every cell at least.

    Returns:
        The p-value, and the number of cells; with one cell there is nothing to test, and p is 1.
    """
    rare = expected < least
    seen = np.append(array(counts[~rare].double()), float(counts[rare].sum()))
    wanted = np.append(array(expected[~rare].double()), float(expected[rare].sum()))
    if wanted[-1] < least:  # too few rare ones for a cell of their own
        seen, wanted = np.append(seen[:-2], seen[-2:].sum()), np.append(wanted[:-2], wanted[-2:].sum())
    if len(wanted) < 2:
        return 1.0, len(wanted)
    return float(stats.chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue), len(wanted)
