"""Data as a language: entropies of the next leaf, place by place and window by window, and their exponents.

Entropies are those of exact conditional distributions, in nats; their means over data are conditional entropies,
without the noise of drawing the leaf itself. The slopes of the upward map at its two trivial fixed points say how they
fall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hierlib._weights import GivenWeights, shared
from hierlib.autoregression import blocks_of, given_window, next_leaf
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import Grammar, random_grammar, whole
from hierlib.noise import epsilon_evidence
from hierlib.probability import checked_leaves, prior_marginals, rule_entropies
from hierlib.theory.meanfield import Array, upward_map_derivative


def place_entropies(g: Grammar, leaves: Tensor) -> Tensor:
    """Entropy of each leaf given all leaves before it, for data of the grammar.

    Args:
        g: the grammar.
        leaves: (n, s^L) data.

    Returns:
        (n, s^L) float64. The mean over data, summed over places, is the entropy of a datum.

    Raises:
        ValueError: leaves are no data of the grammar.
    """
    x = checked_leaves(g, leaves)
    return torch.special.entr(next_leaf(g, _certain(x, g.v))).sum(2)


def block_reader(g: Grammar, leaves: Tensor, levels: int) -> Tensor:
    """The probability of each leaf given all before it, for a reader that knows the rules of the lowest levels only.

    It knows the law of each block of s^levels leaves, exactly, and takes the blocks for independent: the world of
    `hierlib.filtered.infer_filtered` without a tie, read from left to right.

    Args:
        g: the grammar.
        leaves: (n, s^L) data.
        levels: how many levels of rules are known, 0 … L. With L it is exact: no reader has a smaller mean loss.

    Returns:
        (n, s^L, v) float64, rows sum to one.

    Raises:
        ValueError: leaves are no data of the grammar, or levels is out of range or no whole number.
    """
    x, levels = checked_leaves(g, leaves), whole("levels", levels, 0)
    if levels > g.L:
        raise ValueError(f"levels: expected at most L = {g.L}, got {levels}")
    blocks = blocks_of(g)
    block, prior = blocks.grammars[levels], blocks.priors[levels]
    if block is None:
        return prior.expand(len(x), g.d, g.v)
    seen = _certain(x.reshape(-1, block.d), g.v)
    return next_leaf(block, seen, class_prior=prior.repeat(len(x), 1)).reshape(len(x), g.d, g.v)


def window_entropies(g: Grammar, leaves: Tensor, places: Sequence[int], windows: Sequence[int]) -> Tensor:
    """Entropy of leaves given a few leaves before each, their places known: H_n(i) of windows of n leaves.

    Args:
        g: the grammar.
        leaves: (n, s^L) data.
        places: of the leaves, 0 … s^L - 1.
        windows: how many leaves are seen before each, at least 0; at the beginning of a datum there are fewer.

    Returns:
        (n, places, windows) float64.

    Raises:
        ValueError: leaves are no data of the grammar, or places or windows are out of range or no whole numbers.
    """
    return torch.special.entr(window_probabilities(g, leaves, places, windows)).sum(3)


def window_probabilities(g: Grammar, leaves: Tensor, places: Sequence[int], windows: Sequence[int]) -> Tensor:
    """The probability of leaves given a few leaves before each, their places known.

    Args:
        g, leaves, places, windows: as for `window_entropies`, which is the entropy of this.

    Returns:
        (n, places, windows, v) float64, rows sum to one.

    Raises:
        ValueError: as for `window_entropies`.
    """
    x, blocks = checked_leaves(g, leaves), blocks_of(g)
    where, sizes = [whole("places", place, 0) for place in places], [whole("windows", size, 0) for size in windows]
    if not where or not sizes or max(where) >= g.d:
        raise ValueError(f"places, windows: expected one or more of each, places below {g.d}, got {places}, {windows}")
    found = [torch.stack([given_window(blocks, x, place, size) for size in sizes], 1) for place in where]
    return torch.stack(found, 1)


def last_leaf_entropies(g: Grammar, leaves: Tensor) -> tuple[Tensor, ...]:
    """Entropy of the last leaf of each block of s^l leaves given the others of the block, and nothing beyond it.

    Linearised at certainty, the drop from a level to the next falls by F'(1)/s, see `exponents`. Compare levels at the
    same leaves, ``found[l][:, s - 1 :: s] - found[l + 1]``: the scatter between leaves is larger than the drop.

    Args:
        g: the grammar.
        leaves: (n, s^L) data.

    Returns:
        One tensor a level, l = 0 … L, (n, s^(L-l)) float64.

    Raises:
        ValueError: leaves are no data of the grammar.
    """
    x, blocks = checked_leaves(g, leaves), blocks_of(g)
    found = [torch.special.entr(blocks.priors[0]).sum(1).expand(len(x), g.d)]
    for block, prior in zip(blocks.grammars[1:], blocks.priors[1:], strict=True):
        assert block is not None
        seen = _certain(x.reshape(-1, block.d), g.v)
        p = next_leaf(block, seen, class_prior=prior.repeat(len(x), 1))[:, -1]
        found.append(torch.special.entr(p).sum(1).reshape(len(x), -1))
    return tuple(found)


def mean_place_entropies(g: Grammar) -> Tensor:
    """Entropy of a leaf at a random place of a block of s^l leaves given the block so far, in closed form.

    It is the entropy of the block over its length, [H(symbol) + (s^l - 1)/(s - 1)·ln m]/s^l with uniform rules: so the
    excess over its limit falls as 1/s^l, with exponent 1, in every grammar of this kind.

    Args:
        g: the grammar.

    Returns:
        (L+1,) float64, l = 0 … L, the mean over the blocks of a datum.
    """
    found, of_rules = [], rule_entropies(g)
    for level, prior in enumerate(prior_marginals(g)):
        inner = (g.s**level - 1) // (g.s - 1) * math.log(g.m)
        if g.weights is not None:
            inner = sum(of_rules[:level]) / g.num_nodes(level)
        found.append((torch.special.entr(prior).sum(1).mean() + inner) / g.s**level)
    return torch.stack(found).cpu()


def leaf_covariance(g: Grammar, level: int) -> Tensor:
    """Covariance of two one-hot leaves that meet at a level, exactly: the first leaves below the first two siblings.

    Its root mean square over grammars falls by F'(1/v)/s a level, see `exponents`.

    Args:
        g: the grammar.
        level: of the lowest node above both, 1 … L.

    Returns:
        (v, v) float64, p(x_i = a, x_j = b) - p(x_i = a)·p(x_j = b) for the first leaf i and leaf j = s^(level-1).

    Raises:
        ValueError: the level is out of range or no whole number.
    """
    level = whole("level", level, 1)
    if level > g.L:
        raise ValueError(f"level: expected at most L = {g.L}, got {level}")
    parent, rule = prior_marginals(g)[level][0], g.rules[level - 1]
    joint = parent.new_zeros(g.v, g.v)
    pairs = rule[..., 0].flatten(), rule[..., 1].flatten()
    joint.index_put_(pairs, shared(g, level - 1, parent).flatten(), accumulate=True)
    for number in reversed(range(level - 1)):
        shares = shared(g, number, joint.new_ones(g.v))
        step = joint.new_zeros(g.v, g.v).scatter_add_(1, g.rules[number][..., 0], shares)
        joint = step.T @ joint @ step
    return joint - joint.sum(1, keepdim=True) * joint.sum(0)


def last_leaf_drops(*, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator) -> np.ndarray:
    """Entropy of the last leaf of a block given the others, and how much less it is than in the block's last part.

    Args:
        v, m, s, L, draws, data, generator: of the grammars, and of the data from each.

    Returns:
        (draws, 2, L+1) float64, the entropies H_l of blocks of s^l leaves, and the drops to them from blocks of
        s^(l-1), at the same leaves (the first is nan).

    Raises:
        ValueError: as `hierlib.experiments.uturns.drawn_data` does.
    """
    out = []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        found = last_leaf_entropies(g, x[0])
        drops = [float((part[:, s - 1 :: s] - block).mean()) for part, block in pairwise(found)]
        out.append([[float(each.mean()) for each in found], [np.nan, *drops]])
    return np.array(out)


def squared_covariances(
    *, v: int, m: int, s: int, L: int, draws: int, weights: GivenWeights = None, generator: torch.Generator
) -> np.ndarray:
    """Mean squared covariance of two leaves, over their symbols, by the level at which they meet.

    Args:
        v, m, s, L, draws, weights, generator: of the grammars; exact, so that no data are drawn.

    Returns:
        (draws, L) float64, levels 1 … L; at level l the leaves are s^(l-1) apart.

    Raises:
        ValueError: as `hierlib.random_grammar` does.
    """
    many = range(whole("draws", draws, 1))
    grammars = [random_grammar(v=v, m=m, s=s, L=L, weights=weights, generator=generator) for _ in many]
    return np.array([[float(leaf_covariance(g, l).square().mean()) for l in range(1, L + 1)] for g in grammars])


def entropies_at_random_places(
    *, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Entropy of a leaf at a random place of a block given the block so far: in closed form, and by inference.

    Args:
        v, m, s, L, draws, data, generator: of the grammars, and of the data from each.

    Returns:
        (draws, L+1) float64, levels 0 … L, of `mean_place_entropies`; and (draws, s^L) float64, the
        mean over data of the entropy of each leaf given all before it.

    Raises:
        ValueError: as `hierlib.experiments.uturns.drawn_data` does.
    """
    closed, inferred = [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        closed.append(mean_place_entropies(g).numpy())
        inferred.append(place_entropies(g, x[0]).mean(0).cpu().numpy())
    return np.stack(closed), np.stack(inferred)


class Exponents(NamedTuple):
    """Exponents of a language, of the lengths of its blocks."""

    gamma: Array  #: how the entropy of the last leaf of a block of n comes down to its limit, n^-γ
    beta: Array  #: how the root mean square covariance of two leaves at distance n falls, n^-β
    alpha: Array  #: γ/(2β), of the loss in the number of examples by the argument of arXiv 2602.07488


def exponents(v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Exponents:
    """The exponents by the slopes of the upward map F, γ = 1 - ln F'(1)/ln s and β = 1 - ln F'(1/v)/ln s.

    They name the phase: the class is kept at any noise if β < 1 (Kesten-Stigum), at none if γ < 1, and below a
    threshold if both are above 1. They are annealed averages over grammars; F is the map of eq. (11).

    Args:
        v, m, s: as of `hierlib.theory.meanfield.upward_map`; all broadcast.

    Returns:
        `Exponents`, float64.

    Raises:
        ValueError: an argument is out of range.

    >>> [float(x.round(3)) for x in exponents(32, 8, 2)]
    [2.044, 3.044, 0.336]
    """
    at_certainty, at_chance = (upward_map_derivative(p, v, m, s) for p in (1.0, 1 / np.asarray(v, float)))
    gamma, beta = (1 - np.log(slope) / np.log(s) for slope in (at_certainty, at_chance))
    return Exponents(gamma, beta, gamma / (2 * beta))


def running_exponents(falling: ArrayLike, s: int) -> np.ndarray:
    """The exponent from each level to the next, -ln(y_{l+1}/y_l)/ln s, of what falls as a power of the block's length.

    Args:
        falling: (…, levels) positive, a value a level, of blocks of s, s², … leaves.
        s: branching factor.

    Returns:
        (…, levels - 1); nan where a value is not positive.

    >>> running_exponents([1.0, 0.25, 0.0625], 2).tolist()
    [2.0, 2.0]
    """
    y = np.asarray(falling, float)
    logs = np.log(np.where(y > 0, y, np.nan))
    return -np.diff(logs, axis=-1) / math.log(s)


def _certain(leaves: Tensor, v: int) -> Tensor:
    return epsilon_evidence(leaves, eps=0.0, v=v, dtype=torch.float64)
