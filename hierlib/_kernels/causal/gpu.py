"""The GPU backend: the way up is that of `hierlib._kernels.gpu`, the way down one Triton kernel a level."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.gpu import COLUMNS, _root, _rows, _settle, _tables, _upward
from hierlib._kernels.gpu_loops import _place, _wide
from hierlib._kernels.torch import or_impossible
from hierlib.grammar import Grammar


def next_leaf(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """Each leaf given those to its left; the contract is that of `hierlib._kernels.causal.torch.next_leaf`."""
    numbers = sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1))
    memory.demand(2 * numbers * evidence.element_size(), evidence.shape[-1], 0, evidence.device)
    up, log_z, headroom = _upward(g, evidence)
    told = _root(class_prior)
    _, total = _settle(up[-1], told)
    log_evidence, headroom = log_z + total[0].double().log(), headroom * total[0]
    tables = _tables(g)
    lists, weights, ends = tables.lists, tables.list_weights[evidence.dtype], tables.ends
    for level in reversed(range(g.L)):
        n, parents, rows = up[level].shape[-1], g.num_symbols(level + 1), _rows(g.v)
        columns, strides = g.num_nodes(level + 1) * n, up[level].stride()[:2]
        below = up[level].new_empty(g.num_nodes(level), g.v, n)
        grid = (triton.cdiv(columns, COLUMNS), triton.cdiv(g.v, rows), g.s)
        sizes = (n, columns, parents, g.v, g.m, g.s, COLUMNS, rows)
        _told[grid](up[level], told, below, lists[level], weights[level], ends[level], *strides, *sizes)
        _, total = _settle(up[level], below, least=True)
        headroom, told = torch.minimum(headroom, total.amin(0)), below
        del up[level:]
    n = evidence.shape[-1]  # the rest are padding
    return told[..., :n].permute(2, 0, 1), or_impossible(log_evidence[:n], headroom[:n])


@triton.jit
def _told(
    up: tl.tensor,
    above: tl.tensor,
    below: tl.tensor,
    lists: tl.tensor,
    weights: tl.tensor | None,
    ends: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    columns: tl.tensor,
    parents: tl.tensor,
    v: tl.tensor,
    m: tl.tensor,
    S: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """What the i-th child is told by its parent and its left siblings, for ROWS of its symbols."""
    _, exists, node, datum = _place(n, columns, BLOCK)
    i, per_node, per_symbol, n = tl.program_id(2), _wide(per_node), _wide(per_symbol), _wide(n)
    children = up + node * S * per_node + datum
    parent = above + node * parents * n + datum
    first = tl.program_id(1) * ROWS
    for a in range(first, tl.minimum(first + ROWS, v)):
        total = tl.zeros([BLOCK], dtype=below.dtype.element_ty)
        end = ends + _wide(i) * (v + 1) + a
        for q in range(tl.load(end), tl.load(end + 1)):
            rule = lists + (_wide(i) * parents * m + q) * S
            product = tl.load(parent + tl.load(rule) * n, mask=exists, other=0)
            for k in range(1, i + 1):  # the others are listed from left to right: the first i are left ones
                product *= tl.load(children + (k - 1) * per_node + tl.load(rule + k) * per_symbol, mask=exists, other=0)
            if weights is not None:
                product *= tl.load(weights + _wide(i) * parents * m + q)
            total += product
        tl.store(below + ((node * S + i) * v + a) * n + datum, total, mask=exists)
