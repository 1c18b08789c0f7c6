"""Sums over every derivation of a small grammar: exact by exhaustion, the judge of all that is faster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._kernels.precision import computed_in, least
from hierlib.grammar import Grammar, rules_of
from hierlib.inference import check_evidence, normalised_prior, refuse_numbers

LIMIT = 2**20  # derivations; above this, enumeration is refused


def data_per_class(m: int, s: int, L: int) -> int:
    """Number of data of one class, m^((d-1)/(s-1)) with d = s^L, as an exact integer (section 3)."""
    return m ** ((s**L - 1) // (s - 1))


def all_data(g: Grammar, *, limit: int = LIMIT) -> tuple[Tensor, ...]:
    """Every derivation of a grammar, once each.

    Args:
        g: the grammar.
        limit: the largest number of derivations that is listed.

    Returns:
        One int64 tensor a level as from `sample`, ``x[l]`` of shape (N, s^(L-l)), where N is
        num_classes·m^((d-1)/(s-1)); derivations of one class stand together.

    Raises:
        ValueError: there are more than ``limit`` derivations.

    >>> from hierlib import random_grammar
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(0))
    >>> [tuple(x.shape) for x in all_data(g)]
    [(512, 8), (512, 4), (512, 2), (512, 1)]
    """
    total = g.num_classes * data_per_class(g.m, g.s, g.L)
    if total > limit:
        raise ValueError(f"expected at most {limit} derivations, got {total:.3e}: lower m, L or s, or use infer")
    x = [torch.arange(g.num_classes, device=g.device)[:, None]]
    for rule in reversed(g.rules):
        nodes = x[-1].shape[1]
        which = torch.arange(g.m**nodes, device=g.device)  # in base m, one digit a node: the rule that it uses
        which = torch.stack([which // g.m**i % g.m for i in range(nodes)], -1)
        below = rule[x[-1][:, None], which[None]].flatten(0, 1).flatten(1)
        x = [level.repeat_interleave(len(which), 0) for level in x] + [below]
    return tuple(reversed(x))


class AnotherRule(NamedTuple):
    """A datum of the first class, and the datum after one node has used its next rule."""

    number: int  #: of the datum among `all_data`
    before: tuple[Tensor, ...]  #: its symbols, 1-d, one tensor a level, leaves first
    after: tuple[Tensor, ...]
    level: int  #: of the node, the first one of its level, next to the class, or the class itself where L is 1
    changed: int  #: how many leaves are others


def another_rule(g: Grammar, *, limit: int = LIMIT) -> AnotherRule:
    """The first datum in which the next rule at the node changes half of the leaves, or as near to half as can be.

    Args:
        g: a small grammar.
        limit: the largest number of derivations that is listed.
    """
    x, top = all_data(g, limit=limit), max(1, g.L - 1)
    stride = g.m ** sum(g.num_nodes(level) for level in range(1, top))
    index = torch.arange(data_per_class(g.m, g.s, g.L), device=g.device)
    after = torch.where(index // stride % g.m == g.m - 1, index - (g.m - 1) * stride, index + stride)
    changed = (x[0][: len(index)] != x[0][after]).sum(1)
    first = int((2 * changed - g.d).abs().argmin())
    one, other = (tuple(level[i] for level in x) for i in (first, int(after[first])))
    return AnotherRule(first, one, other, top, int(changed[first]))


def brute_force(
    g: Grammar, evidence: Tensor, *, class_prior: Sequence[float] | Tensor | None = None, limit: int = LIMIT
) -> tuple[tuple[Tensor, ...], Tensor]:
    """What `infer` computes, by weighing every derivation: p(x) Π_i evidence_i(x_i).

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `infer`.
        class_prior: (num_classes,) or (batch, num_classes), non-negative; as for `infer` if not given.
        limit: the largest number of derivations that is listed.

    Returns:
        The marginals, one tensor a level of shape (batch, s^(L-l), symbols), and log_evidence, (batch,), in the
        evidence's floating type, or float32 if that is half. Where the weights leave its range, their logarithms are
        summed in float64.

    Raises:
        ValueError: there are more than ``limit`` derivations, none is possible, or what `infer` refuses.
    """
    x = all_data(g, limit=limit)
    weight = derivation_weights(g, evidence, class_prior=class_prior, x=x)
    total = weight.sum(1)
    posterior, log_evidence = weight / total[:, None], total.log()
    far = ((total < 2.0**30 * least(total.dtype)) | (total == torch.inf)).nonzero()[:, 0]
    if len(far):
        log_weight = _log_weights(g, evidence, class_prior, x)[far]
        log_total = log_weight.logsumexp(1)
        if torch.isneginf(log_total).any():
            raise ValueError("evidence: expected at least one possible derivation of each datum, got none")
        posterior = posterior.index_copy(0, far, (log_weight - log_total[:, None]).exp().to(posterior.dtype))
        log_evidence = log_evidence.index_copy(0, far, log_total.to(posterior.dtype))
    marginals = tuple(
        torch.einsum("bn,nia->bia", posterior, torch.nn.functional.one_hot(level, g.num_symbols(l)).to(weight.dtype))
        for l, level in enumerate(x)
    )
    return marginals, log_evidence


def derivation_weights(
    g: Grammar,
    evidence: Tensor,
    *,
    class_prior: Sequence[float] | Tensor | None = None,
    x: Sequence[Tensor] | None = None,
) -> Tensor:
    """p(x) Π_i evidence_i(x_i) of each derivation x of `all_data`, as (batch, N), of float32 at least.

    Raises:
        ValueError: evidence or class_prior are what `infer` refuses.
    """
    check_evidence(g, evidence)
    refuse_numbers(~((evidence >= 0) & (evidence < torch.inf)).flatten(1).all(1))
    x, evidence = all_data(g) if x is None else x, evidence.to(computed_in(evidence.dtype))
    weight = _prior(g, evidence, class_prior)[:, x[g.L][:, 0]]
    if g.weights is None:
        weight = weight / data_per_class(g.m, g.s, g.L)
    else:
        weight = weight * _of_rules(g, x).exp().to(weight.dtype)
    for i in range(g.d):  # leaf by leaf: the table of all of them need not be held
        weight = weight * evidence[:, i, x[0][:, i]]
    return weight


def _log_weights(
    g: Grammar, evidence: Tensor, class_prior: Sequence[float] | Tensor | None, x: Sequence[Tensor]
) -> Tensor:
    """The logarithms of `derivation_weights` in float64, -inf where these are 0."""
    evidence = evidence.double()
    rules = math.log(data_per_class(g.m, g.s, g.L)) if g.weights is None else -_of_rules(g, x)
    weight = _prior(g, evidence, class_prior).log()[:, x[g.L][:, 0]] - rules
    for i in range(g.d):
        weight = weight + evidence[:, i, x[0][:, i]].log()
    return weight


def _of_rules(g: Grammar, x: Sequence[Tensor]) -> Tensor:
    """ln of the weights of all rules of each derivation, multiplied, in a grammar that has weights: (N,) float64."""
    assert g.weights is not None
    each = [weight.flatten().log()[rules_of(g, level, x[level])[0]].sum(1) for level, weight in enumerate(g.weights)]
    return torch.stack(each).sum(0)


def _prior(g: Grammar, evidence: Tensor, class_prior: Sequence[float] | Tensor | None) -> Tensor:
    """The class prior, (batch, num_classes), normalised, in the evidence's type and place."""
    return normalised_prior(g, len(evidence), evidence.dtype, evidence.device, class_prior).T
