"""Rules and classes that are not equally probable: what a grammar says of them, checked, and how it is used.

Where a grammar says nothing, all are equally probable; the sums are then those of uniform rules to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hierlib._numbers import as_numbers

if TYPE_CHECKING:
    from hierlib.grammar import Grammar

Given = Tensor | Sequence[float] | None  # one distribution
GivenWeights = Tensor | np.ndarray | Sequence[Any] | None  # of all levels, of each of them, or of each symbol of each
SUM = 1e-9  # how far from one a distribution may sum


def checked_weights(
    given: Sequence[Tensor] | None, shapes: Sequence[tuple[int, int]], device: torch.device
) -> tuple[Tensor, ...] | None:
    """The weights of a grammar's rules, one (symbols, m) tensor a level; None if all are exactly 1/m."""
    if given is None:
        return None
    if isinstance(given, Tensor) or len(given) != len(shapes):
        got = f"a tensor of shape {tuple(given.shape)}" if isinstance(given, Tensor) else str(len(given))
        raise ValueError(f"weights: expected a tuple of one tensor a level, L = {len(shapes)}, got {got}")
    for level, (weight, shape) in enumerate(zip(given, shapes, strict=True)):
        refuse_no_law(f"weights[{level}]", weight, shape, device)
    if all(bool((weight == 1 / m).all()) for weight, (_, m) in zip(given, shapes, strict=True)):
        return None
    return tuple(given)


def checked_prior(given: Tensor | None, num_classes: int, device: torch.device) -> Tensor | None:
    """The class prior of a grammar, (num_classes,); None if all are exactly 1/num_classes."""
    if given is None:
        return None
    refuse_no_law("class_prior", given, (num_classes,), device)
    return None if bool((given == 1 / num_classes).all()) else given


def refuse_no_law(name: str, given: Tensor, shape: tuple[int, ...], device: torch.device) -> None:
    """Raise a ValueError unless these are distributions in the last axis, of a shape, float64 and on a device."""
    if not isinstance(given, Tensor) or tuple(given.shape) != shape or given.dtype != torch.float64:
        got = f"{given.dtype} of shape {tuple(given.shape)}" if isinstance(given, Tensor) else repr(given)
        raise ValueError(f"{name}: expected float64 of shape {shape}, got {got}")
    if given.device != device or given.requires_grad:
        got = "one that needs a gradient: detach it" if given.requires_grad else str(given.device)
        raise ValueError(f"{name}: expected a constant on the device of the rules, {device}, got {got}")
    bad = ~((given >= 0) & (given <= 1 + SUM))
    if bad.any():
        raise ValueError(f"{name}: expected probabilities in [0, 1], got {float(given[bad][0]):g}")
    sums = given.sum(-1).reshape(-1)
    bad = (sums - 1).abs() > SUM
    if bad.any():
        row = f" in row {int(bad.nonzero()[0, 0])}" if given.ndim > 1 else ""
        raise ValueError(
            f"{name}: expected probabilities that sum to one within {SUM:g}, got {float(sums[bad][0]):.10g}"
            f"{row}: divide them by their sum, in float64"
        )


def full_weights(
    given: GivenWeights, shapes: Sequence[tuple[int, int]], device: torch.device
) -> tuple[Tensor, ...] | None:
    """Weights of each symbol of each level from those of all rules, (m,), of each level, L of (m,), or from these.

    Raises:
        ValueError: they have none of these shapes, or are no numbers.
    """
    if given is None:
        return None
    found = []
    for level, (one, shape) in enumerate(zip(each_level(given, len(shapes), device), shapes, strict=True)):
        if tuple(one.shape) not in (shape[1:], shape):
            raise ValueError(f"weights[{level}]: expected shape {shape[1:]} or {shape}, got {tuple(one.shape)}")
        found.append(one.expand(shape).clone())
    return tuple(found)


def each_level(given: GivenWeights, L: int, device: torch.device) -> list[Tensor]:
    """What is given for all levels, or for each of L, as L float64 tensors."""
    given = torch.as_tensor(given, device=device) if isinstance(given, np.ndarray) else given
    if isinstance(given, str) or not isinstance(given, Tensor | Sequence) or not (rows := _rows(given)):
        raise ValueError(f"weights: expected numbers for each rule, got {given!r}: see hierlib.zipf")
    apart = any(isinstance(one, Tensor | Sequence) and not (isinstance(one, Tensor) and not one.ndim) for one in rows)
    levels = rows if apart else [given] * L
    if len(levels) != L:
        raise ValueError(
            f"weights: expected (m,), for all levels, or one of (m,) or (symbols, m) for each of L = {L}, got "
            f"{len(levels)}"
        )
    return [as_numbers(f"weights[{level}]", one, torch.float64, device) for level, one in enumerate(levels)]


def _rows(given: Tensor | Sequence[Any]) -> list[Any]:
    return [] if isinstance(given, Tensor) and not given.ndim else list(given)


def class_law(g: Grammar) -> Tensor:
    """The probability of each class, (num_classes,) float64."""
    if g.class_prior is not None:
        return g.class_prior
    return torch.full((g.num_classes,), 1 / g.num_classes, dtype=torch.float64, device=g.device)


def mean_over_classes(g: Grammar, x: Tensor) -> Tensor:
    """The mean of what belongs to each class, (num_classes, …)."""
    return x.mean(0) if g.class_prior is None else torch.tensordot(g.class_prior, x, 1)


def shared(g: Grammar, level: int, x: Tensor) -> Tensor:
    """What symbols of level + 1 have, (…, symbols), shared out among their rules: (…, symbols, m)."""
    if g.weights is None:
        return (x / g.m)[..., None].expand(*x.shape, g.m)
    return x[..., None] * g.weights[level]


def mean_over_rules(g: Grammar, level: int, x: Tensor) -> Tensor:
    """The mean of what the rules of each symbol of level + 1 have: (…, symbols, m) to (…, symbols)."""
    return x.mean(-1) if g.weights is None else (x * g.weights[level]).sum(-1)


def draw(law: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from rows, of any shape, of a table of distributions (k, n): int64 of that shape, none of weight zero."""
    below = law.cumsum(1)
    below = below / below[:, -1:]  # the last of weight zero or more is exactly one, above all that is drawn
    at = torch.rand(rows.shape, dtype=torch.float64, generator=generator, device=law.device)
    found = torch.zeros_like(rows)
    for k in range(law.shape[1] - 1):
        found += at >= below[:, k][rows]
    return found


def refuse_uneven(g: Grammar, what: str, instead: str) -> None:
    """Raise a ValueError if the rules or classes of a grammar are not equally probable, where that is not provided for.

    Args:
        g: the grammar.
        what: the name of what can't do it.
        instead: what to do.
    """
    if g.weights is not None or g.class_prior is not None:
        raise ValueError(f"g: {what} expected rules and classes that are equally probable, got {g}: {instead}")


def refuse_excluded(g: Grammar, what: str) -> None:
    """Raise a ValueError if a rule or a class of a grammar never occurs, where all that can be written is asked for."""
    given = [x for x in (*(g.weights or ()), g.class_prior) if x is not None]
    if any(bool((x == 0).any()) for x in given):
        raise ValueError(f"g: {what} expected rules and classes that all occur, got weights of 0: leave these out")
