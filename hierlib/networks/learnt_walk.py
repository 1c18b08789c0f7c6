"""Chains of U-turns whose way back is a learnt denoiser: whether they stay in the grammar, and are reversible."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._denoiser import Denoiser
from hierlib.grammar import Grammar, parse, whole
from hierlib.networks.generation import Process, legal_nodes, turn

FEW = 10  # pairs of classes with fewer passages say little


class Walked(NamedTuple):
    """Where n chains have been."""

    legal: Tensor  #: (turns+1, n) bool, whether the string is one of the grammar
    classes: Tensor  #: (turns+1, n) int64, the class of each legal string, -1 of others


def learnt_walk(
    denoise: Denoiser, g: Grammar, how: Process, leaves: Tensor, t: float, turns: int, *, generator: torch.Generator
) -> Walked:
    """U-turns in a row, the way back by a denoiser, exact or learnt, step by step.

    Args:
        denoise: a denoiser. g: the grammar that judges its strings.
        how: the noise process, as from `hierlib.networks.generation.process`. t: its level.
        leaves: (n, s^L), the strings from which the chains start.
        turns: number of U-turns, 0 or more. generator: source of randomness, on the device of the leaves.

    Raises:
        ValueError: turns are out of range, or as `turn` and `legal_nodes` do.
    """
    x, legal, classes = leaves, [], []
    for number in range(whole("turns", turns, 0) + 1):
        if number:
            x = turn(denoise, how, x, [t], generator=generator)[0]
        fine = legal_nodes(g, x)[-1][:, 0]
        own = torch.full((len(x),), -1, dtype=torch.int64, device=x.device)
        if fine.any():
            own[fine] = parse(g, x[fine])[g.L][:, 0]
        legal.append(fine)
        classes.append(own)
    return Walked(torch.stack(legal), torch.stack(classes))


class Current(NamedTuple):
    """Passages from class to class against those back."""

    chi_square: float  #: Σ (n_ab - n_ba)²/(n_ab + n_ba), over pairs of classes between which chains have passed often
    pairs: int  #: of them; what the sum is on average, or more than it is, for a stationary reversible chain


def current(classes: Tensor) -> Current:
    """How far passages between classes are from being as many there as back.

    In a stationary chain that is reversible and positive, n_ab - n_ba has the mean 0, and its variance is at most that
    of independent passages: a step a → b is followed, now or later, rather by a way back.

    Args:
        classes: (turns, n) int64, -1 where there is none; steps from or to there do not count.

    Raises:
        ValueError: fewer than two turns, or no pair of classes has 10 passages.
    """
    if classes.ndim != 2 or len(classes) < 2:
        raise ValueError(f"classes: expected (turns, n) of two turns or more, got shape {tuple(classes.shape)}")
    start, end = classes[:-1].flatten(), classes[1:].flatten()
    there = (start >= 0) & (end >= 0)
    size = int(classes.max()) + 1
    counts = torch.bincount(start[there] * size + end[there], minlength=size**2).reshape(size, size).double()
    both, net = counts + counts.T, counts - counts.T
    often = (both >= FEW).triu(1)
    if not often.any():
        raise ValueError("classes: expected chains that pass between two classes 10 times or more: make them longer")
    return Current(float((net[often].square() / both[often]).sum()), int(often.sum()))
