"""What is left to say of a leaf, over drawn grammars: at the end of a block and anywhere; and how leaves covary."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from hierlib._weights import GivenWeights
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import random_grammar, whole
from hierlib.language import last_leaf_entropies, leaf_covariance, mean_place_entropies, place_entropies

Array = NDArray[np.float64]


def last_leaves(*, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator) -> Array:
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
) -> Array:
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


def random_places(
    *, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator
) -> tuple[Array, Array]:
    """Entropy of a leaf at a random place of a block given the block so far: in closed form, and by inference.

    Args:
        v, m, s, L, draws, data, generator: of the grammars, and of the data from each.

    Returns:
        (draws, L+1) float64, levels 0 … L, of `hierlib.language.mean_place_entropies`; and (draws, s^L) float64, the
        mean over data of the entropy of each leaf given all before it.

    Raises:
        ValueError: as `hierlib.experiments.uturns.drawn_data` does.
    """
    closed, inferred = [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        closed.append(mean_place_entropies(g).numpy())
        inferred.append(place_entropies(g, x[0]).mean(0).cpu().numpy())
    return np.stack(closed), np.stack(inferred)
