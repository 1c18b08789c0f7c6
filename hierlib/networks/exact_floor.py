"""Language models beside exact inference: their loss place by place, and how many levels of rules it is worth.

All losses are cross-entropies to the exact law of a leaf given all leaves before it, so that the leaf itself is not
drawn: what a model has above the exact reader is a divergence, at each place of each string, and never negative.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hierlib.filtered import effective_level
from hierlib.grammar import Grammar
from hierlib.language import block_reader, window_probabilities
from hierlib.networks.language_model import CausalTransformer


def place_losses(nets: list[CausalTransformer], g: Grammar, leaves: Tensor) -> tuple[Tensor, Tensor]:
    """Loss at each place, of networks and of exact readers that know the rules of the lowest levels only.

    Args:
        nets: trained on this grammar; each is moved to the leaves' device.
        g: the grammar, there too.
        leaves: (n, s^L) data.

    Returns:
        (networks, n, s^L) and (L+1, n, s^L) float64, in nats. The last reader knows all, and its loss is the floor.

    Raises:
        ValueError: leaves are no data of the grammar, or a network is of another size.
    """
    readers = [block_reader(g, leaves, levels) for levels in range(g.L + 1)]
    exact = readers[-1]
    learnt = [_cross(exact, net.to(leaves.device).log_probabilities(leaves).double()) for net in nets]
    return torch.stack(learnt), torch.stack([_cross(exact, p.log()) for p in readers])


def last_leaf_losses(net: CausalTransformer, g: Grammar, leaves: Tensor) -> tuple[Tensor, Tensor]:
    """Loss at the last leaf of a string of which the last s^l - 1 leaves before it are seen, l = 0 … L.

    Args:
        net, g, leaves: as for `place_losses`; the network has been trained on windows as well.

    Returns:
        (n, L+1) float64 twice, in nats, of the network and of exact inference.

    Raises:
        ValueError: as for `place_losses`.
    """
    windows = [g.s**level - 1 for level in range(g.L + 1)]
    exact = window_probabilities(g, leaves, [g.d - 1], windows)[:, 0]  # (n, L+1, v)
    net, whole = net.to(leaves.device), exact[:, -1]
    learnt = [net.log_probabilities(leaves, g.d - 1 - n)[:, -1].double() for n in windows]
    return torch.stack([_cross(whole, q) for q in learnt], 1), _cross(whole[:, None], exact.log())


class Standing(NamedTuple):
    """Where a loss by places stands among exact readers of the lowest levels."""

    level: float  #: how many levels its mean is worth, linear between two readers
    apart: float  #: root mean square over places, from the loss to that of the reader of as many levels
    short: float  #: the same to the exact loss


def standing(loss: ArrayLike, readers: ArrayLike) -> Standing:
    """`Standing` of a loss by places.

    Args:
        loss: (d,) mean loss at each place, in nats.
        readers: (L+1, d) that of exact readers of 0 … L levels, on the same strings.

    Raises:
        ValueError: the readers' mean losses do not fall with the level.

    >>> found = standing([1.0, 0.5], [[1.0, 1.0], [1.0, 0.0]])
    >>> found.level, found.apart, round(found.short, 4)
    (0.5, 0.0, 0.3536)
    """
    y, rungs = np.asarray(loss, float), np.asarray(readers, float)
    level = float(effective_level(y.mean(), rungs.mean(1)))
    of_as_many = np.array([np.interp(level, np.arange(len(rungs)), each) for each in rungs.T])

    def far(other: np.ndarray) -> float:
        return float(np.sqrt(np.square(y - other).mean()))

    return Standing(level, far(of_as_many), far(rungs[-1]))


def share_of_openings(missing: ArrayLike, length: int) -> float:
    """Of what is missing over all places, the share at the first places of blocks of this length.

    Args:
        missing: (d,) nats above the exact loss, at each place.
        length: of the blocks, from 1 to d.

    >>> share_of_openings([1.0, 2.0, 3.0, 2.0], 2)
    0.5
    """
    y = np.asarray(missing, float)
    return float(y[::length].sum() / y.sum())


def means_of_beginnings(losses: ArrayLike, s: int) -> np.ndarray:
    """Mean over the first s^l places, l = 0 … L: (…, s^L) to (…, L+1).

    >>> means_of_beginnings([4.0, 2.0, 1.0, 1.0], 2).tolist()
    [4.0, 3.0, 2.0]
    """
    y = np.asarray(losses, float)
    lengths = [s**level for level in range(y.shape[-1].bit_length()) if s**level <= y.shape[-1]]
    return np.stack([y[..., :n].mean(-1) for n in lengths], -1)


def _cross(p: Tensor, log_q: Tensor) -> Tensor:
    """-Σ p ln q over the last axis; where p is 0 nothing is paid, and where both are."""
    return -torch.where(p > 0, p * log_q, p.new_zeros(())).sum(-1)
