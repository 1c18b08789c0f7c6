"""Drawn grammars with all corners: s = 2…5, m = 1, m = v^(s-1), L = 1, num_classes ≠ v."""

import dataclasses
import functools
import itertools
import math

import torch
from hypothesis import strategies as st

import hierlib as hl
from hierlib.enumeration import data_per_class


@st.composite
def grammars(draw, max_data=3000):
    """Small grammars, with few enough data that all can be listed."""
    s = draw(st.integers(2, 5))
    L = draw(st.integers(1, {2: 3, 3: 2, 4: 2, 5: 1}[s]))
    v = draw(st.integers(2, {2: 5, 3: 3, 4: 2, 5: 2}[s]))
    largest = max(m for m in range(1, v ** (s - 1) + 1) if v * data_per_class(m, s, L) <= max_data)
    m = draw(st.one_of(st.just(1), st.just(largest), st.integers(1, largest)))
    num_classes = draw(st.integers(1, min(v**s // m, v + 2)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=num_classes, generator=generator)


def uneven(g, seed, zeros=False):
    """The same rules with weights of their own for every symbol and level, and an uneven class prior."""
    generator = torch.Generator().manual_seed(seed)

    def law(*shape):
        p = torch.rand(*shape, dtype=torch.float64, generator=generator) ** 3 + 1e-3
        if zeros and shape[-1] > 1:
            p = p * (torch.rand(shape, generator=generator) < 0.6).scatter(-1, p.argmax(-1, keepdim=True), True)
        return p / p.sum(-1, keepdim=True)

    weights = tuple(law(*rule.shape[:2]) for rule in g.rules)
    return dataclasses.replace(g, weights=weights, class_prior=law(g.num_classes))


@st.composite
def uneven_grammars(draw, max_data=500, zeros=True):
    """`grammars` whose rules and classes are not equally probable; where zeros, some never occur."""
    return uneven(draw(grammars(max_data)), draw(st.integers(0, 2**31)), zeros and draw(st.booleans()))


def any_grammars(max_data=3000):
    """`grammars` and `uneven_grammars`."""
    return st.one_of(grammars(max_data), uneven_grammars(max_data))


def law_of(g):
    """Every derivation and its probability, by recursion over the rules as they are written: levels, leaves first."""

    @functools.cache
    def trees(level, symbol):
        if level == 0:
            return [(1.0, ((symbol,),))]
        found = []
        for k, children in enumerate(g.rules[level - 1][symbol].tolist()):
            weight = 1 / g.m if g.weights is None else float(g.weights[level - 1][symbol, k])
            for parts in itertools.product(*(trees(level - 1, child) for child in children)):
                below = tuple(sum(each, ()) for each in zip(*(tree for _, tree in parts), strict=True))
                found.append((weight * math.prod(p for p, _ in parts), (*below, (symbol,))))
        return found

    p, x = [], []
    for c in range(g.num_classes):
        own = 1 / g.num_classes if g.class_prior is None else float(g.class_prior[c])
        for weight, tree in trees(g.L, c):
            p.append(own * weight)
            x.append(tree)
    return [torch.tensor(level) for level in zip(*x, strict=True)], torch.tensor(p, dtype=torch.float64)
