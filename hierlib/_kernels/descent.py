"""Data drawn on the CPU by rules that have weights: the draws of `hierlib.sampling.sample`, to the last bit."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierlib._kernels.compiled.descent import choose_rules
from hierlib.grammar import Grammar

Tables = list[tuple[NDArray[np.float64], NDArray[np.int64]]]
_tables: WeakKeyDictionary[Grammar, tuple[object, Tables]] = WeakKeyDictionary()


def below(g: Grammar, root: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """All levels below the classes (n, 1), from the leaves up, the classes last; one random number a node."""
    n = len(root)
    chance = torch.rand(n * (g.d - 1) // (g.s - 1), dtype=torch.float64, generator=generator, device="cpu").numpy()
    x, begin = [root.contiguous()], 0
    for level, (sums, rule) in zip(reversed(range(g.L)), reversed(_running_sums(g)), strict=True):
        children = torch.empty((n, g.num_nodes(level)), dtype=torch.int64, device="cpu")
        end = begin + x[-1].numel()
        choose_rules(x[-1].numpy().ravel(), chance[begin:end], sums, rule, children.numpy().reshape(-1, g.s))
        x.append(children)
        begin = end
    return tuple(reversed(x))


def _running_sums(g: Grammar) -> Tables:
    """Of each level, the running sums of the weights of each symbol's rules, which end at one, and the rules."""
    found = _tables.get(g)
    if found is None or found[0] != g.written:
        assert g.weights is not None
        sums = [weight.cumsum(1) for weight in g.weights]
        tables = [((a / a[:, -1:]).numpy(), rule.contiguous().numpy()) for a, rule in zip(sums, g.rules, strict=True)]
        found = _tables[g] = g.written, tables
    return found[1]
