"""The GPU backend: Triton kernels, one a level and direction, for (nodes, symbols, batch) tensors, batch innermost.

A column is one node of one datum. A thread of the sums over rules holds a group of data: batches are padded to whole
groups.

With TRITON_INTERPRET=1 set before the import, the kernels run on the CPU, slowly: that is how they are tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import triton
from torch import Tensor

from hierlib._kernels import gpu_loops, memory, precision
from hierlib._kernels.torch import Inferred, Levels, or_impossible, outward
from hierlib.grammar import Grammar

COLUMNS, ROWS = 128, 8  # of a program: nodes of data, and symbols
GROUP = gpu_loops.GROUP.value
MANY = COLUMNS * GROUP  # columns of a program of sums over rules
MOST = 65535  # programs in the second direction of a grid


def infer(g: Grammar, evidence: Tensor, class_prior: Tensor, messages: bool) -> Inferred:
    """Once up and once down the tree; the contract is that of `hierlib._kernels.torch.infer`."""
    numbers, n = sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1)), evidence.shape[-1]
    memory.demand((2 + messages) * numbers * evidence.element_size(), n, 0, evidence.device)
    up, log_z, headroom = _upward(g, evidence)
    down = _root(class_prior)
    marginal, total = _settle(up[-1], down)
    log_evidence, headroom = log_z + total[0].double().log(), headroom * total[0]
    downs, marginals = [down], [marginal]
    for level in reversed(range(g.L)):
        down = _downward(g, level, up[level], down)
        in_place = level == 0 and not messages  # then nobody asks for the messages
        marginal, total = _settle(up[level], down, down if in_place else torch.empty_like(down), least=True)
        headroom = torch.minimum(headroom, total.amin(0))
        marginals.append(marginal)
        if messages:
            downs.append(down)
        else:
            del up[level:]
    all_marginals, log_evidence = _outward(marginals[::-1], n), or_impossible(log_evidence[:n], headroom[:n])
    if not messages:
        return None, None, all_marginals, log_evidence
    return _outward([evidence, *up[1:]], n), _outward(downs[::-1], n), all_marginals, log_evidence


def class_posterior(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """The marginal of the class, (batch, num_classes), and log evidence: the way up alone."""
    up, log_z, headroom = _upward(g, evidence, keep=False)
    marginal, total = _settle(up[-1], _root(class_prior))
    n, log_evidence = evidence.shape[-1], log_z + total[0].double().log()
    return marginal[0, :, :n].T, or_impossible(log_evidence[:n], (headroom * total[0])[:n])


def posterior_sample(
    g: Grammar, evidence: Tensor, class_prior: Tensor, num_samples: int, generator: torch.Generator
) -> tuple[list[Tensor] | None, Tensor]:
    """Draw whole trees from the posterior; the contract is that of `hierlib._kernels.torch.posterior_sample`."""
    up, log_z, headroom = _upward(g, evidence)
    root, total = _settle(up[-1], _root(class_prior))
    n, log_evidence = evidence.shape[-1], log_z + total[0].double().log()
    log_evidence = or_impossible(log_evidence[:n], (headroom * total[0])[:n])
    if not torch.isfinite(log_evidence).all():
        return None, log_evidence
    tables = _tables(g)
    y = [torch.multinomial(root[0, :, :n].T, num_samples, replacement=True, generator=generator)[None]]
    for level in reversed(range(g.L)):
        above, rules, weights = y[-1], tables.rules[level], tables.weights[evidence.dtype][level]
        below = above.new_empty(g.num_nodes(level), *above.shape[1:])
        random = torch.rand(above.shape, generator=generator, dtype=torch.float64, device=above.device)
        size, strides = above.numel(), up[level].stride()[:2]
        gpu_loops.sample[(triton.cdiv(size, COLUMNS),)](
            up[level], above, below, random, rules, weights, *strides, n, num_samples, size, g.m, g.s, COLUMNS
        )
        y.append(below)
    return [level.permute(1, 2, 0) for level in reversed(y)], log_evidence


def _padded(data: Tensor) -> Tensor:
    """Behind the data, the last dimension, ones, so that they are whole groups: evidence and priors that can be."""
    return torch.nn.functional.pad(data, (0, -data.shape[-1] % GROUP), value=1)


def _root(class_prior: Tensor) -> Tensor:
    """The message down to the root, a tensor of its own."""
    return _padded(class_prior)[None].clone(memory_format=torch.contiguous_format)


def _outward(levels: list[Tensor], n: int) -> Levels:
    """The same without the padding."""
    return outward([level[..., :n] for level in levels])


def _upward(g: Grammar, evidence: Tensor, keep: bool = True) -> tuple[list[Tensor], Tensor, Tensor]:
    """Upward messages, those of the leaves perhaps scaled; (batch,) the log of all that was divided out; headroom.

    All of the padded data.
    """
    evidence = _padded(evidence.resolve_neg())  # a view may stand for the negative of what is in memory
    if evidence.stride(2) != 1 or any(stride % GROUP for stride in evidence.stride()[:2]):
        evidence = evidence.contiguous()
    nodes, v, n = evidence.shape
    total = evidence.new_empty(nodes, n)
    gpu_loops.largest[(triton.cdiv(nodes * n, COLUMNS),)](
        evidence, total, *evidence.stride()[:2], n, nodes * n, v, COLUMNS
    )
    constant = -(g.d - 1) // (g.s - 1) * math.log(g.m) if g.weights is None else 0.0
    log_z, tables = evidence.new_full((n,), constant, dtype=torch.float64), _tables(g)
    near = 2.0 ** precision.spread(g.s)
    if not ((total > 1 / near) & (total < near)).all():  # products of evidence might leave the range of floats
        evidence = evidence / torch.where(total > 0, total, 1)[:, None]
        log_z += total.double().log().sum(0)
    up, headroom = [evidence], (total > 0).to(total.dtype)
    for level, pair in enumerate(zip(tables.rules, tables.weights[evidence.dtype], strict=True)):
        nodes, parents = g.num_nodes(level + 1), g.num_symbols(level + 1)
        message, total = evidence.new_empty(nodes, parents, n), evidence.new_empty(nodes, n)
        columns, strides = nodes * n, up[-1].stride()[:2]
        rows = _rows(parents)
        gpu_loops.up[(triton.cdiv(columns, MANY), triton.cdiv(parents, rows))](
            up[-1], message, *pair, *strides, n, nodes, parents, g.m, g.s, MANY, rows
        )
        gpu_loops.normalise[(triton.cdiv(columns, COLUMNS),)](message, total, n, columns, parents, COLUMNS)
        log_z += total.double().log().sum(0)
        headroom = (headroom.unflatten(0, (-1, g.s)).amin(1) * total).clamp_(max=1)
        if not keep:
            up.clear()
        up.append(message)
    return up, log_z, headroom[0]


def _downward(g: Grammar, level: int, up: Tensor, down: Tensor) -> Tensor:
    """Downward messages to the nodes of a level, as they come out of the sum over rules."""
    n, parents = up.shape[-1], g.num_symbols(level + 1)
    nodes, strides = g.num_nodes(level + 1), up.stride()[:2]
    message = up.new_empty(g.num_nodes(level), g.v, n)
    tables, rows = _tables(g), _rows(g.v)
    lists = tables.lists[level], tables.list_weights[up.dtype][level], tables.ends[level]
    gpu_loops.down[(triton.cdiv(nodes * n, MANY), triton.cdiv(g.v, rows), g.s)](
        up, down, message, *lists, *strides, n, nodes, parents, g.v, g.m, g.s, MANY, rows
    )
    return message


def _settle(up: Tensor, down: Tensor, marginal: Tensor | None = None, *, least: bool = False) -> tuple[Tensor, Tensor]:
    """Normalise ν↓ in place; returns ν↑·ν↓ normalised and (nodes, batch) what it was divided by.

    least: before ν↓ was normalised or after, whatever is less.
    """
    nodes, symbols, n = up.shape
    marginal = torch.empty_like(down) if marginal is None else marginal
    total = up.new_empty(nodes, n)
    grid = (triton.cdiv(nodes * n, COLUMNS),)
    gpu_loops.marginals[grid](up, down, marginal, total, *up.stride()[:2], n, nodes * n, symbols, least, COLUMNS)
    return marginal, total


def _rows(symbols: int) -> int:
    """Symbols of a program."""
    return max(ROWS, triton.cdiv(symbols, MOST))


Weights = dict[torch.dtype, list[Tensor | None]]  # of either floating type, per level; None where rules are uniform


class _Tables(NamedTuple):
    """What the kernels read of a grammar, per level; whole numbers are int32.

    Attributes:
        rules: (parents, m, s).
        weights: theirs, (parents, m).
        lists: for each child the rules by its symbol, (s, parents·m, s), the parent's symbol and the other children's.
        list_weights: theirs, (s, parents·m).
        ends: where each symbol's list ends, (s, v + 1).
        written: `Grammar.written` when they were made.
    """

    rules: list[Tensor]
    weights: Weights
    lists: list[Tensor]
    list_weights: Weights
    ends: list[Tensor]
    written: tuple[int, ...]


_cache: WeakKeyDictionary[Grammar, _Tables] = WeakKeyDictionary()


def _tables(g: Grammar) -> _Tables:
    """Made once a grammar, and again when it was written to."""
    if g not in _cache or _cache[g].written != g.written:
        g.to(g.device)  # checks the rules again: offsets are made of them
        if max(g.v, g.num_classes) * g.m >= 2**31:
            raise ValueError(f'backend "gpu": expected fewer than 2^31 rules a level, got {g}: use backend="torch"')
        weights, rules, lists, ends, list_weights = g.weights or [None] * g.L, [], [], [], []
        for rule, weight in zip(g.rules, weights, strict=True):
            tuples = rule.flatten(0, 1)
            parent = torch.arange(len(rule), device=g.device).repeat_interleave(g.m)[:, None]
            by_child, until, orders = [], [], []
            for i in range(g.s):
                others = torch.cat([parent, tuples[:, :i], tuples[:, i + 1 :]], 1)
                orders.append(tuples[:, i].argsort(stable=True))
                by_child.append(others[orders[i]])
                until.append(torch.nn.functional.pad(tuples[:, i].bincount(minlength=g.v).cumsum(0), (1, 0)))
            rules.append(rule.int().contiguous())
            lists.append(torch.stack(by_child).int())
            ends.append(torch.stack(until).int())
            list_weights.append(None if weight is None else weight.flatten()[torch.stack(orders)])
        _cache[g] = _Tables(rules, _typed(weights), lists, _typed(list_weights), ends, g.written)
    return _cache[g]


def _typed(weights: Sequence[Tensor | None]) -> Weights:
    return {
        kind: [None if weight is None else weight.to(kind).contiguous() for weight in weights]
        for kind in (torch.float32, torch.float64)
    }
