"""What is measured on data and posteriors: here, how much two leaves know about each other."""

from __future__ import annotations

import torch
from torch import Tensor

from hierlib.grammar import Grammar


def leaf_pairs(s: int, L: int, level: int) -> Tensor:
    """All pairs of leaves i < j whose lowest common ancestor is at this level, as (pairs, 2); siblings are level 1."""
    if not 1 <= level <= L:
        raise ValueError(f"level: expected 1…{L}, the level of the common ancestor, got {level}")
    i, j = torch.triu_indices(s**L, s**L, offset=1)
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
    prior = torch.full((g.num_classes,), 1 / g.num_classes, dtype=torch.float64, device=g.device)
    joint = None  # of the ancestors of i and j, once these are two
    for level in reversed(range(g.L)):
        a, b = (leaf // g.s**level % g.s for leaf in (i, j))
        if joint is not None:
            joint = _step(g, level, a).T @ joint @ _step(g, level, b)
        elif a == b:
            prior = prior @ _step(g, level, a)
        else:  # the common ancestor: one rule gives both children
            rule = g.rules[level]
            weight = (prior / g.m)[:, None].expand(-1, g.m).reshape(-1)
            code = (rule[..., a] * g.v + rule[..., b]).reshape(-1)
            joint = weight.new_zeros(g.v * g.v).index_add_(0, code, weight).reshape(g.v, g.v)
    return joint


def _step(g: Grammar, level: int, child: int) -> Tensor:
    """p(child is b | parent is a), (parent symbols, v), for one of the s children at this level."""
    rule = g.rules[level][..., child]
    out = torch.zeros(len(rule), g.v, dtype=torch.float64, device=g.device)
    return out.scatter_add_(1, rule, torch.full(rule.shape, 1 / g.m, dtype=torch.float64, device=g.device))


def leaf_pair_frequencies(leaves: Tensor, i: int, j: int, v: int) -> Tensor:
    """The same as `leaf_pair_distribution`, but counted in data: leaves (n, d) to (v, v), float64."""
    counts = torch.bincount(leaves[:, i] * v + leaves[:, j], minlength=v * v)
    return counts.reshape(v, v).double() / len(leaves)


def total_variation(joint: Tensor) -> Tensor:
    """Distance of a joint distribution, (…, v, w), from the product of its marginals: ½ Σ |p(a,b) - p(a)p(b)|."""
    return (joint - joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)).abs().sum((-1, -2)) / 2


def mutual_information(joint: Tensor) -> Tensor:
    """Mutual information of a joint distribution, (…, v, w), in nats; counted from n data it is biased upward by
    about (v-1)(w-1)/2n."""
    product = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    return torch.xlogy(joint, joint / product.clamp_min(torch.finfo(joint.dtype).tiny)).sum((-1, -2)).clamp_min(0)
