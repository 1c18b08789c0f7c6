"""How probable data and their symbols are before anything is seen: closed forms, for a datum has only one parse."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hierlib._weights import class_law, shared
from hierlib.grammar import Grammar, check_device, rules_of


def entropy(g: Grammar) -> float:
    """Entropy of a datum in nats, of the class and a rule at each node: ln C + (d-1)/(s-1)·ln m if they are uniform.

    With weights w it is H(class) + Σ over nodes and symbols y of p(y)·h(y), where h(y) = -Σ_k w_yk ln w_yk.

    Args:
        g: the grammar, with C = num_classes and d = s^L.

    >>> from hierlib import random_grammar
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(0))
    >>> round(entropy(g) / math.log(2), 6)  # 2 bits for the class, one for each of 7 rules
    9.0
    """
    if g.weights is None and g.class_prior is None:
        return math.log(g.num_classes) + (g.d - 1) // (g.s - 1) * math.log(g.m)
    return float(torch.special.entr(class_law(g)).sum()) + sum(rule_entropies(g))


def rule_entropies(g: Grammar) -> tuple[float, ...]:
    """Entropy of the rules that the nodes of each level use, together, given their symbols.

    Returns:
        L numbers in nats, of levels 1 … L.
    """
    if g.weights is None:
        return tuple(g.num_nodes(level) * math.log(g.m) for level in range(1, g.L + 1))
    priors = prior_marginals(g)[1:]
    found = [prior @ torch.special.entr(weight).sum(1) for prior, weight in zip(priors, g.weights, strict=True)]
    return tuple(float(nodes.sum()) for nodes in found)


def log_probability(g: Grammar, leaves: Tensor) -> Tensor:
    """ln p(x) of strings, in nats: minus the entropy for every datum, if rules and classes are uniform.

    Args:
        g: the grammar.
        leaves: (n, s^L) symbols 0…v-1, of any integer type and on the grammar's device.

    Returns:
        (n,) float64, -inf for what is no string of the grammar, or never occurs.

    Raises:
        ValueError: the shape, type or device is another, or a symbol is out of range.

    >>> from hierlib import random_grammar, sample
    >>> rng = torch.Generator().manual_seed(0)
    >>> g = random_grammar(v=4, m=2, s=2, L=2, generator=rng)
    >>> leaves = torch.cat([sample(g, 1, generator=rng)[0], torch.zeros(1, 4, dtype=torch.int64)])
    >>> (log_probability(g, leaves) / math.log(2)).round(decimals=9).tolist()
    [-5.0, -inf]
    """
    x = checked_leaves(g, leaves)
    legal = torch.ones(len(x), dtype=torch.bool, device=x.device)
    log_p = torch.zeros(legal.shape, dtype=torch.float64, device=x.device)
    for level in range(g.L):
        rules, there = rules_of(g, level, x)
        legal &= there.all(1)
        x = rules // g.m
        if g.weights is not None:
            log_p = log_p + g.weights[level].flatten().log()[rules].sum(1)
    if g.weights is None and g.class_prior is None:
        return torch.full_like(log_p, -torch.inf).masked_fill(legal, -entropy(g))
    if g.weights is None:
        log_p = log_p - sum(rule_entropies(g))
    return (log_p + class_law(g).log()[x[:, 0]]).masked_fill(~legal, -torch.inf)


def checked_leaves(g: Grammar, leaves: Tensor) -> Tensor:
    """Strings of symbols of the grammar, legal or not, as int64.

    Raises:
        ValueError: the shape, type or device is another, or a symbol is out of range.
    """
    whole = isinstance(leaves, Tensor) and not (leaves.is_floating_point() or leaves.is_complex())
    if not whole or leaves.dtype == torch.bool or leaves.ndim != 2 or leaves.shape[1] != g.d:
        got = f"{leaves.dtype} of shape {tuple(leaves.shape)}" if isinstance(leaves, Tensor) else type(leaves)
        raise ValueError(f"leaves: expected whole numbers of shape (n, {g.d}), got {got}")
    check_device("leaves", leaves.device, g)
    if leaves.numel() and not (leaves.min() >= 0 and leaves.max() < g.v):
        raise ValueError(f"leaves: expected symbols in 0…{g.v - 1}, got {leaves.min()}…{leaves.max()}")
    return leaves.long()


def prior_marginals(g: Grammar) -> tuple[Tensor, ...]:
    """Probability of each symbol at each node before anything is seen; inside the tree it is not uniform.

    Returns:
        One tensor a level, (s^(L-l), symbols), float64. A symbol that a place never has is exactly 0 there.
    """
    return tuple(level[0] for level in symbol_probabilities(g, class_law(g)[None]))


def symbol_probabilities(g: Grammar, root: Tensor) -> tuple[Tensor, ...]:
    """Probabilities of all symbols from those of the class; of one-hot rows, what is probable given each class.

    Args:
        g: the grammar.
        root: (k, num_classes), a distribution of the class in each row.

    Returns:
        One tensor a level, (k, s^(L-l), symbols), leaves first.
    """
    levels = [root[:, None]]
    for number in reversed(range(g.L)):
        rule, parent = g.rules[number], levels[-1]
        out = parent.new_zeros(len(root), parent.shape[1], g.s, g.v)
        weight = shared(g, number, parent).flatten(2)
        for i in range(g.s):
            out[:, :, i].index_add_(2, rule[..., i].flatten(), weight)
        levels.append(out.flatten(1, 2))
    return tuple(levels[::-1])
