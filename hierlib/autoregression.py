"""Data as a language, read from left to right: what the next leaf is, exactly, and data drawn leaf by leaf."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._weights import class_law
from hierlib.grammar import Grammar, block_grammar, check_device, check_generator, whole
from hierlib.inference import solve
from hierlib.probability import prior_marginals


def next_leaf(
    g: Grammar,
    evidence: Tensor,
    *,
    class_prior: Tensor | Sequence[float] | None = None,
    backend: str = "auto",
) -> Tensor:
    """The probability of each leaf given what is seen to its left, p(x_n | evidence of all leaves before n), for all n.

    One pass does all prefixes: on the way down of belief propagation a child hears its parent and its left siblings
    alone, ν(x_i) = Σ_{y → x} ν(y) Π_{j<i} ν↑(x_j) / m (or times its rule's weight), as what is not seen yet sums out.
    What is seen may be clean, noisy or masked; row n does not depend on the evidence of leaf n nor of later ones, row 0
    is the prior of leaf 0.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`. All of it must be possible, though not all of it is used.
        class_prior: as for `hierlib.infer`.
        backend: as for `hierlib.infer`.

    Returns:
        (batch, s^L, v), rows sum to one, in the evidence's floating type and on its device.

    Raises:
        ValueError: as for `hierlib.infer`.

    >>> from hierlib import epsilon_evidence, log_probability, random_grammar, sample
    >>> rng = torch.Generator().manual_seed(0)
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    >>> x = sample(g, 5, generator=rng)[0]
    >>> p = next_leaf(g, epsilon_evidence(x, eps=0.0, v=g.v, dtype=torch.float64))
    >>> chain = p.gather(2, x[..., None])[..., 0].log().sum(1)  # Σ ln p(x_n | x_<n) is ln p(x)
    >>> bool((chain - log_probability(g, x)).abs().max() < 1e-12)
    True
    """

    def run(kernel: ModuleType, seen: Tensor, prior: Tensor) -> list[Tensor]:
        causal = import_module(f"hierlib._kernels.causal.{kernel.__name__.rpartition('.')[2]}")
        return list(causal.next_leaf(g, seen, prior))

    return solve(run, g, evidence, class_prior, backend)[0]


def sample_left_to_right(g: Grammar, n: int, *, window: int | None = None, generator: torch.Generator) -> Tensor:
    """Draw strings leaf by leaf, each from its distribution given those before it, or the last few of them.

    Without a window this is exact: the strings are data of the grammar, drawn with the memory of one message for each
    level and left sibling, O(L·s·v) numbers a string. With a window each leaf knows its place and the leaves of its
    window, no more: the exact sampler of (window + 1)-grams. Blocks of s^l leaves are legal for certain from
    window = s^l - 1 on.

    Args:
        g: the grammar.
        n: number of strings, at least 1.
        window: how many leaves before it each leaf sees, at least 0; all of them if not given.
        generator: source of randomness, on the grammar's device.

    Returns:
        (n, s^L) int64 symbols.

    Raises:
        ValueError: n or the window is out of range or no whole number, or the generator is on another device.

    >>> from hierlib import parse, random_grammar
    >>> rng = torch.Generator().manual_seed(0)
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    >>> [tuple(level.shape) for level in parse(g, sample_left_to_right(g, 5, generator=rng))]
    [(5, 8), (5, 4), (5, 2), (5, 1)]
    """
    n = whole("n", n, 1)
    check_generator(generator)
    check_device("generator", generator.device, g)
    if window is not None and (window := whole("window", window, 0)) < g.d - 1:
        return _with_window(g, n, window, generator)
    leaves: list[Tensor] = []
    _visit(g, g.L, class_law(g).repeat(n, 1), leaves, generator)
    return torch.stack(leaves, 1)


def _visit(g: Grammar, level: int, told: Tensor, leaves: list[Tensor], generator: torch.Generator) -> Tensor:
    """Draw the leaves below a node that is told a distribution of its symbol, (n, symbols); returns its message ν↑."""
    if level == 0:
        x = torch.multinomial(told, 1, generator=generator)
        leaves.append(x[:, 0])
        return torch.zeros_like(told).scatter_(1, x, 1)
    rule = g.rules[level - 1].flatten(0, 1)
    weight, likely = told.repeat_interleave(g.m, 1), torch.ones((), dtype=told.dtype, device=told.device)
    if g.weights is not None:
        likely = g.weights[level - 1].flatten()
        weight = weight * likely
    for i in range(g.s):
        below = weight.new_zeros(len(told), g.v).index_add_(1, rule[:, i], weight)
        up = _visit(g, level - 1, _normalised(below), leaves, generator)[:, rule[:, i]]
        weight, likely = _normalised(weight * up), likely * up
    return _normalised(likely.unflatten(1, (-1, g.m)).sum(2))


def _with_window(g: Grammar, n: int, window: int, generator: torch.Generator) -> Tensor:
    blocks, x = blocks_of(g), torch.empty(n, g.d, dtype=torch.int64, device=g.device)
    for place in range(g.d):
        told = given_window(blocks, x, place, window)
        x[:, place] = torch.multinomial(told, 1, generator=generator)[:, 0]
    return x


class Blocks(NamedTuple):
    """A grammar by the blocks below the nodes of each level, 0 … L."""

    whole: Grammar
    grammars: tuple[Grammar | None, ...]  #: of a block; None of a leaf
    priors: tuple[Tensor, ...]  #: as from `hierlib.probability.prior_marginals`


def blocks_of(g: Grammar) -> Blocks:
    """`Blocks` of a grammar, made once for many windows."""
    return Blocks(g, (None, *(block_grammar(g, level) for level in range(1, g.L + 1))), prior_marginals(g))


def given_window(blocks: Blocks, leaves: Tensor, place: int, window: int) -> Tensor:
    """The probability of a leaf given a few leaves before it, its place known: nothing else is seen.

    Only the smallest block that holds the leaf and its window is looked at; its prior is all that the rest tells.

    Args:
        blocks: of the grammar.
        leaves: (n, s^L) symbols; only those of the window are read.
        place: of the leaf, 0 … s^L - 1.
        window: how many leaves are seen before it, at least 0; at the beginning there are fewer.

    Returns:
        (n, v) float64.
    """
    g, begin, level = blocks.whole, max(0, place - window), 0
    while begin // g.s**level != place // g.s**level:
        level += 1
    node, block = place // g.s**level, blocks.grammars[level]
    if block is None:
        return blocks.priors[0][place].expand(len(leaves), g.v)
    first = node * block.d
    seen = torch.ones(len(leaves), block.d, g.v, dtype=torch.float64, device=g.device)
    seen[:, begin - first : place - first] = torch.nn.functional.one_hot(leaves[:, begin:place], g.v).double()
    return next_leaf(block, seen, class_prior=blocks.priors[level][node])[:, place - first]


def _normalised(x: Tensor) -> Tensor:
    return x / x.sum(1, keepdim=True)
