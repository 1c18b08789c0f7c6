"""The pieces into which changes of one leaf break the strings of a grammar, and how far such changes reach.

Two strings are neighbours if they differ in one leaf; the smallest U-turn, which erases one leaf, goes to neighbours
only. Where errors are repaired, legal strings are far from each other, and it is caught in a piece, a fragment.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._weights import refuse_excluded
from hierlib.enumeration import LIMIT, all_data
from hierlib.experiments.transitions import grouped
from hierlib.grammar import Grammar, parents_of, parse, whole

AT_ONCE = 2**18  # strings whose parse is looked for together


def fragments(g: Grammar, *, limit: int = LIMIT) -> Tensor:
    """Which strings of a small grammar changes of one leaf can turn into each other, whatever their class.

    Args:
        g: the grammar.
        limit: the largest number of strings, as for `hierlib.enumeration.all_data`.

    Returns:
        (N,) int64, the number of the piece of each string of `all_data`, 0 … pieces-1 in the order of their first ones.

    Raises:
        ValueError: there are more than ``limit`` strings.

    >>> from hierlib import random_grammar
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(0))
    >>> pieces = fragments(g)
    >>> len(pieces), int(pieces.max()) + 1
    (512, 3)
    """
    refuse_excluded(g, "fragments")
    leaves = all_data(g, limit=limit)[0]
    others = [grouped(torch.cat([leaves[:, :i], leaves[:, i + 1 :]], 1), g.v) for i in range(g.d)]
    piece = torch.arange(len(leaves), device=g.device)
    while True:
        before = piece
        for same in others:  # all strings that agree but for one leaf take the lowest number among them
            lowest = torch.full_like(piece, len(piece)).scatter_reduce_(0, same, piece, "amin")
            piece = lowest[same]
        piece = piece[piece]
        if (piece == before).all():
            return piece.unique(return_inverse=True)[1]


class Reach(NamedTuple):
    """How far single changes of a leaf go from each of n strings while the class stays."""

    fraction: Tensor  #: (n,) float64, of the other classes that are one more change away
    strings: Tensor  #: (n,) int64, strings of the class that were seen
    whole: Tensor  #: (n,) bool, whether nothing is left to be found, as all strings or all classes were seen


def reach(g: Grammar, leaves: Tensor, *, limit: int = 20_000) -> Reach:
    """Walk from strings through all that changes of one leaf make of them within their class; see `Reach`.

    Subtrees are strings of `hierlib.grammar.block_grammar`. `hierlib.theory.reach` averages the fraction over grammars.

    Args:
        g: the grammar, with two classes or more.
        leaves: (n, s^L) data.
        limit: of the strings seen from each, at least 1; beyond it the fraction is a lower bound.

    Returns:
        `Reach`, on the device of the strings.

    Raises:
        ValueError: a string is none of the grammar, there is one class only, or limit is out of range.

    >>> from hierlib import random_grammar
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(0))
    >>> reach(g, all_data(g)[0][:3]).fraction
    tensor([0.6667, 0.6667, 0.6667], dtype=torch.float64)
    """
    refuse_excluded(g, "reach")
    limit = whole("limit", limit, 1)
    if g.num_classes < 2:
        raise ValueError("g: expected two classes or more, so that there are others to reach, got one")
    x = parse(g, leaves)
    found = [_walked(g, one, int(own), limit) for one, own in zip(x[0], x[g.L][:, 0], strict=True)]
    shares, on = [(len(touched) - 1) / (g.num_classes - 1) for touched, _, _ in found], leaves.device
    return Reach(
        torch.tensor(shares, dtype=torch.float64, device=on),
        torch.tensor([strings for _, strings, _ in found], dtype=torch.int64, device=on),
        torch.tensor([done for _, _, done in found], dtype=torch.bool, device=on),
    )


def _walked(g: Grammar, start: Tensor, own: int, limit: int) -> tuple[set[int], int, bool]:
    """The classes touched, its own included; the strings seen; whether that is all."""
    seen, touched, waiting = set(_names(g, start[None])), {own}, [start[None]]
    at_once = max(1, AT_ONCE // (g.d * g.v))
    while waiting and len(seen) < limit and len(touched) < g.num_classes:
        front = waiting.pop()
        if len(front) > at_once:
            waiting.append(front[at_once:])
            front = front[:at_once]
        near, classes = _neighbours(g, front)
        touched.update(classes.unique().tolist())
        inside, new = near[classes == own], []
        for i, name in enumerate(_names(g, inside)):
            if name not in seen:
                seen.add(name)
                new.append(i)
        if new:
            waiting.append(inside[new])
    return touched, len(seen), not waiting or len(touched) == g.num_classes


def _names(g: Grammar, strings: Tensor) -> list[bytes]:
    """What tells strings (n, d) apart, to be looked up."""
    table = strings.to(torch.uint8 if g.v <= 256 else torch.int64).cpu().numpy()
    written, width = table.tobytes(), table.itemsize * g.d
    return [written[i : i + width] for i in range(0, len(written), width)]


def _neighbours(g: Grammar, front: Tensor) -> tuple[Tensor, Tensor]:
    """All strings of the grammar that differ in one leaf from one of (n, d), and their classes; these, too.

    Only the ancestors of the leaf change. What is no rule's tuple is dropped on the way up.
    """
    every = (torch.arange(size, device=front.device) for size in (len(front), g.d, g.v))
    string, leaf, symbol = torch.cartesian_prod(*every).T
    node, now = leaf, symbol
    for l, level in enumerate(parse(g, front)[:-1]):
        children = level.unflatten(1, (-1, g.s))[string, node // g.s]
        children.scatter_(1, (node % g.s)[:, None], now[:, None])
        above, legal = parents_of(g, l, children)
        kept = legal[:, 0]
        string, leaf, symbol, node, now = (y[kept] for y in (string, leaf, symbol, node // g.s, above[:, 0]))
    return front[string].scatter(1, leaf[:, None], symbol[:, None]), now
