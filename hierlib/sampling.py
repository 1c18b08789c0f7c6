"""Data of a grammar, drawn from the class down: at each node a rule."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import torch
from torch import Tensor

from hierlib._weights import draw
from hierlib.grammar import Grammar, check_device, check_generator, of_integers, whole


def sample(
    g: Grammar, n: int, *, generator: torch.Generator, classes: Tensor | Sequence[int] | None = None
) -> tuple[Tensor, ...]:
    """Draw data from a grammar: a class, then at each node one of the m rules of its symbol, by their weights.

    Args:
        g: the grammar.
        n: number of data, at least 1.
        generator: source of randomness, on the grammar's device.
        classes: the n classes; drawn from the grammar's prior, uniform if it has none, if not given.

    Returns:
        One int64 tensor a level, ``x[l]`` of shape (n, s^(L-l)), the leaves ``x[0]``, the class ``x[L]``.

    Raises:
        ValueError: n or the classes are out of range or no whole numbers, or the generator is on another device.
    """
    n = whole("n", n, 1)
    check_generator(generator)
    check_device("generator", generator.device, g)
    if classes is None and g.class_prior is not None:
        root = draw(g.class_prior[None], torch.zeros(n, 1, dtype=torch.int64, device=g.device), generator)
    elif classes is None:
        root = torch.randint(g.num_classes, (n, 1), generator=generator, device=g.device)
    else:
        root = torch.as_tensor(classes, device=g.device).reshape(-1, 1)
        if not of_integers(root) or len(root) != n or root.min() < 0 or root.max() >= g.num_classes:
            raise ValueError(f"classes: expected {n} whole numbers in 0…{g.num_classes - 1}, got {classes!r}")
        root = root.to(torch.int64)
    x = [root]
    if g.weights is not None and g.device.type == "cpu":
        descent = import_module("hierlib._kernels.descent")  # on demand: importing a compiler takes a second
        return descent.below(g, root, generator)
    for level in reversed(range(g.L)):
        if g.weights is None:
            which = torch.randint(g.m, x[-1].shape, generator=generator, device=g.device)
        else:
            which = draw(g.weights[level], x[-1], generator)
        x.append(g.rules[level][x[-1], which].flatten(1))
    return tuple(reversed(x))
