"""The reference: plain torch, any device and dtype, twice differentiable in the evidence."""

from __future__ import annotations

import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.torch import or_impossible, rule_shares, upward
from hierlib.grammar import Grammar

BLOCK = 2**18  # numbers gathered at once, as in the reference of inference


def next_leaf(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Each leaf given the evidence of those to its left; see `hierlib.autoregression.next_leaf`.

    Args:
        g: the grammar.
        evidence: (leaves, v, batch).
        class_prior: (num_classes, batch), normalised.

    Returns:
        (batch, leaves, v), normalised, and (batch,) log evidence as from `hierlib._kernels.torch.infer`.
    """
    numbers = sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1))
    memory.demand(2 * numbers * evidence.element_size(), evidence.shape[-1], 0, evidence.device)
    up, log_z, headroom = upward(g, evidence)
    told = class_prior[None]
    total = (up[-1] * told).sum(1)[0]
    log_evidence, headroom = log_z + total.double().log(), headroom * total.detach()
    for level in reversed(range(g.L)):
        rule = g.rules[level]
        nodes = max(1, BLOCK // (rule.shape[0] * rule.shape[1] * evidence.shape[-1]))
        blocks = zip(up[level].split(nodes * g.s), told.split(nodes), strict=True)
        shares = rule_shares(g, level, evidence.dtype)
        told = torch.cat([_to_children(*block, rule, shares) for block in blocks])
        norm = told.sum(1, keepdim=True)
        told = told / torch.where(norm == 0, 1, norm)
        seen = (up[level] * told).sum(1, keepdim=True) * norm  # a product that vanished leaves nothing of this
        headroom = torch.minimum(headroom, seen.detach().amin((0, 1)))
    return told.permute(2, 0, 1), or_impossible(log_evidence, headroom)


def _to_children(children: Tensor, parent: Tensor, rule: Tensor, shares: Tensor | None) -> Tensor:
    """What children are told by their parent and their left siblings, unnormalised: (nodes·s, v, batch)."""
    siblings = children.unflatten(0, (-1, rule.shape[-1]))
    weight, out = parent.repeat_interleave(rule.shape[1], 1), []
    if shares is not None:
        weight = weight * shares
    for i in range(rule.shape[-1]):
        symbols = rule[..., i].flatten()
        zero = weight.new_zeros(len(weight), children.shape[1], weight.shape[-1])
        out.append(zero.index_add(1, symbols, weight))
        if i + 1 < rule.shape[-1]:
            weight = weight * siblings[:, i].index_select(1, symbols)
    return torch.stack(out, 1).flatten(0, 1)
