"""The reference backend: plain torch, any device and dtype, twice differentiable in the evidence.

Work is cut into blocks of nodes, so that the gathered messages of a block stay in cache and the memory needed
beyond the result does not grow with the tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import reduce

import torch
from torch import Tensor

from hierlib._kernels import memory, precision
from hierlib.grammar import Grammar

Levels = tuple[Tensor, ...]  # one a level, (batch, nodes, symbols)
Inferred = tuple[Levels | None, Levels | None, Levels, Tensor]  # up, down, marginals; log evidence, (batch,)
BLOCK = 2**18  # numbers gathered at once; 1 MiB in float32


def upward(g: Grammar, evidence: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Upward messages, eqs. (7) = (16, 17), and the log of all that was divided out on the way.

    Args:
        g: the grammar.
        evidence: (leaves, v, batch).

    Returns:
        up: ``up[l]`` of shape (nodes, symbols, batch); normalised over the symbols, the leaves to maximum one
            (so that no product of evidence over- or underflows).
        log_z: (batch,) float64, with the weights of the rules or 1/m; -inf where no datum of the grammar has evidence,
            NaN where the evidence is negative or not finite.
        headroom: (batch,), see `hierlib._kernels.precision`.
    """
    valid = ((evidence >= 0) & (evidence < torch.inf)).all(0).all(0)
    leaves, total = _scale(evidence, evidence.amax(1, keepdim=True))
    constant = (g.d - 1) // (g.s - 1) * math.log(g.m) if g.weights is None else 0.0
    up, log_z = [leaves], total.double().log().sum((0, 1)) - constant
    headroom = (total[:, 0] > 0).to(total.dtype)
    for level, rule in enumerate(g.rules):
        shares = rule_shares(g, level, evidence.dtype)
        message = torch.cat([_to_parents(children, rule, shares) for children in _blocks(up[-1], rule)])
        message, total = _scale(message, message.sum(1, keepdim=True))
        log_z = log_z + total.double().log().sum((0, 1))
        headroom = (headroom.unflatten(0, (-1, g.s)).amin(1) * total[:, 0].detach()).clamp(max=1)
        up.append(message)
    return up, torch.where(valid, log_z, torch.nan), headroom[0]


def infer(g: Grammar, evidence: Tensor, class_prior: Tensor, messages: bool) -> Inferred:
    """Once up and once down the tree, eqs. (7, 8) = (16–19); see `hierlib.inference.infer`.

    Args:
        g: the grammar.
        evidence: (leaves, v, batch).
        class_prior: (num_classes, batch), normalised.
        messages: whether up and down are wanted.

    Returns:
        up, down, marginals: tuples over levels of (batch, nodes, symbols); up and down are None without messages.
        log_evidence: (batch,), -inf where the evidence is impossible, NaN where it is negative or not finite.
    """
    numbers = sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1))
    memory.demand((2 + 2 * messages) * numbers * evidence.element_size(), evidence.shape[-1], 0, evidence.device)
    up, log_z, headroom = upward(g, evidence)
    down = class_prior[None]
    marginal, total = _normalise(up[-1] * down)
    log_evidence, headroom = log_z + total[0, 0].double().log(), headroom * total[0, 0].detach()
    downs, marginals = [down], [marginal]
    for level in reversed(range(g.L)):
        blocks, shares = _blocks(up[level], g.rules[level]), rule_shares(g, level, evidence.dtype)
        parents = down.split([len(children) // g.s for children in blocks])
        down, norm = _normalise(
            torch.cat([_to_children(*pair, g.rules[level], shares) for pair in zip(blocks, parents, strict=True)])
        )
        marginal, total = _normalise(up[level] * down)
        headroom = torch.minimum(headroom, (norm * total).detach().amin((0, 1)))
        if messages:
            downs.append(down)
        marginals.append(marginal)
    all_marginals, log_evidence = outward(marginals[::-1]), or_impossible(log_evidence, headroom)
    if not messages:
        return None, None, all_marginals, log_evidence
    return outward([evidence, *up[1:]]), outward(downs[::-1]), all_marginals, log_evidence


def or_impossible(log_evidence: Tensor, headroom: Tensor) -> Tensor:
    """The log evidence in the type of the headroom, -inf where numbers left the range of that; NaN stays NaN."""
    outside = (headroom < precision.least(headroom.dtype)) & ~log_evidence.isnan()
    return torch.where(outside, -torch.inf, log_evidence).to(headroom.dtype)


def outward(levels: list[Tensor]) -> Levels:
    """Beliefs as users see them: (batch, nodes, symbols) rather than (nodes, symbols, batch), the same memory."""
    return tuple(x.permute(2, 0, 1) for x in levels)


def class_posterior(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """The marginal of the class, (batch, num_classes), and log evidence, (batch,): the way up alone."""
    up, log_z, headroom = upward(g, evidence)
    marginal, total = _normalise(up[-1] * class_prior[None])
    return marginal[0].T, or_impossible(log_z + total[0, 0].double().log(), headroom * total[0, 0].detach())


def posterior_sample(
    g: Grammar, evidence: Tensor, class_prior: Tensor, num_samples: int, generator: torch.Generator
) -> tuple[list[Tensor] | None, Tensor]:
    """Draw whole trees from the posterior, from the root down; see `hierlib.inference.posterior_sample`.

    Args:
        g: the grammar.
        evidence: (leaves, v, batch).
        class_prior: (num_classes, batch), normalised.
        num_samples: draws a datum.
        generator: source of randomness.

    Returns:
        y: list over levels of (batch, num_samples, nodes) int64; (batch,) log evidence as from `infer`.
    """
    up, log_z, headroom = upward(g, evidence)
    root, total = _normalise(up[-1] * class_prior[None])
    log_evidence = or_impossible(log_z + total[0, 0].double().log(), headroom * total[0, 0])
    if not torch.isfinite(log_evidence).all():
        return None, log_evidence
    batch = evidence.shape[-1]
    y = [torch.multinomial(root[0].T, num_samples, replacement=True, generator=generator)[..., None]]
    datum = torch.arange(batch, device=evidence.device)[:, None, None]
    for level in reversed(range(g.L)):
        below, rule = up[level], g.rules[level]
        tuples = rule[y[-1]]  # (batch, samples, nodes, m, s): only the m rules of the symbol drawn
        node = torch.arange(0, len(below), g.s, device=below.device)
        weight = product(below[node + i, tuples[..., i].movedim(-1, 0), datum] for i in range(g.s)).movedim(0, -1)
        if g.weights is not None:
            weight = weight * g.weights[level][y[-1]].to(weight.dtype)
        which = torch.multinomial(weight.reshape(-1, g.m), 1, generator=generator).reshape(*y[-1].shape, 1, 1)
        y.append(tuples.gather(-2, which.expand(*which.shape[:-1], g.s)).flatten(2))
    return y[::-1], log_evidence


def rule_shares(g: Grammar, level: int, dtype: torch.dtype) -> Tensor | None:
    """The weights of the rules of a level as a factor of messages, (symbols·m, 1); None where rules are uniform."""
    return None if g.weights is None else g.weights[level].flatten()[:, None].to(dtype)


def product(factors: Iterable[Tensor]) -> Tensor:
    """The product of one tensor or more, from the first to the last."""
    return reduce(torch.mul, factors)


def _to_parents(children: Tensor, rule: Tensor, shares: Tensor | None) -> Tensor:
    """Unnormalised upward messages of the parents of a block of children, eq. (7): (nodes, symbols, batch)."""
    parents, m, s = rule.shape
    weight = product(_gather(children, rule, i) for i in range(s))
    if shares is not None:
        weight = weight * shares
    return weight.unflatten(1, (parents, m)).sum(2)


def _to_children(children: Tensor, parent: Tensor, rule: Tensor, shares: Tensor | None) -> Tensor:
    """Unnormalised downward messages to the children of a block of parents, eq. (8): (nodes·s, v, batch)."""
    _, m, s = rule.shape
    v = children.shape[1]
    gathered = [_gather(children, rule, i) for i in range(s)]
    above = parent.repeat_interleave(m, 1)
    if shares is not None:
        above = above * shares
    out = []
    for i in range(s):
        weight = product([above, *(g for j, g in enumerate(gathered) if j != i)])
        zero = weight.new_zeros(len(weight), v, weight.shape[-1])
        out.append(zero.index_add(1, rule[..., i].flatten(), weight))
    return torch.stack(out, 1).flatten(0, 1)


def _gather(children: Tensor, rule: Tensor, i: int) -> Tensor:
    """What the i-th child of each node believes in the i-th symbol of each rule: (nodes, symbols·m, batch)."""
    return children.unflatten(0, (-1, rule.shape[-1]))[:, i].index_select(1, rule[..., i].flatten())


def _blocks(children: Tensor, rule: Tensor) -> tuple[Tensor, ...]:
    """Cut the children into blocks of whole sibling groups."""
    parents, m, s = rule.shape
    nodes = max(1, BLOCK // (parents * m * children.shape[-1]))
    return children.split(nodes * s)


def _scale(x: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """x / total, and total; where total is zero, x stays zero rather than become NaN."""
    return x / torch.where(total == 0, 1, total), total


def _normalise(x: Tensor) -> tuple[Tensor, Tensor]:
    return _scale(x, x.sum(1, keepdim=True))
