"""The GPU backend: Triton kernels, one a level and direction, for (nodes, symbols, batch) tensors, batch innermost.

A column is one node of one datum; neighbouring threads hold neighbouring data, so that every load is coalesced.
The rules are an input, looped over inside: a new grammar needs no new compilation. Triton takes integers below 2^31
for 32 bits wide, and their products too: all that is a distance in memory is made `_wide` before it is multiplied.

With TRITON_INTERPRET=1 set before the import, the kernels run on the CPU, slowly: that is how they are tested.
"""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import torch
import triton
import triton.language as tl
from torch import Tensor

from hierlib._kernels import memory, precision
from hierlib._kernels.torch import Inferred, or_impossible, outward
from hierlib.grammar import Grammar

COLUMNS, ROWS = 128, 8  # of a program: nodes of data, and symbols
MOST = 65535  # programs in the second direction of a grid


def infer(g: Grammar, evidence: Tensor, class_prior: Tensor, messages: bool) -> Inferred:
    """Once up and once down the tree; the contract is that of `hierlib._kernels.torch.infer`."""
    numbers = sum(g.num_nodes(level) * g.num_symbols(level) for level in range(g.L + 1))
    memory.demand((2 + messages) * numbers * evidence.element_size(), evidence.shape[-1], 0, evidence.device)
    up, log_z, headroom = _upward(g, evidence)
    down = class_prior[None].clone(memory_format=torch.contiguous_format)
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
    all_marginals, log_evidence = outward(marginals[::-1]), or_impossible(log_evidence, headroom)
    if not messages:
        return None, None, all_marginals, log_evidence
    return outward([evidence, *up[1:]]), outward(downs[::-1]), all_marginals, log_evidence


def class_posterior(g: Grammar, evidence: Tensor, class_prior: Tensor) -> tuple[Tensor, Tensor]:
    """The marginal of the class, (batch, num_classes), and log evidence: the way up alone."""
    up, log_z, headroom = _upward(g, evidence, keep=False)
    marginal, total = _settle(up[-1], class_prior[None].clone(memory_format=torch.contiguous_format))
    return marginal[0].T, or_impossible(log_z + total[0].double().log(), headroom * total[0])


def posterior_sample(
    g: Grammar, evidence: Tensor, class_prior: Tensor, num_samples: int, generator: torch.Generator
) -> tuple[list[Tensor] | None, Tensor]:
    """Draw whole trees from the posterior; the contract is that of `hierlib._kernels.torch.posterior_sample`."""
    up, log_z, headroom = _upward(g, evidence)
    root, total = _settle(up[-1], class_prior[None].clone(memory_format=torch.contiguous_format))
    log_evidence = or_impossible(log_z + total[0].double().log(), headroom * total[0])
    if not torch.isfinite(log_evidence).all():
        return None, log_evidence
    y = [torch.multinomial(root[0].T, num_samples, replacement=True, generator=generator)[None]]
    for level in reversed(range(g.L)):
        above, rules = y[-1], _tables(g)[0][level]
        below = above.new_empty(g.num_nodes(level), *above.shape[1:])
        random = torch.rand(above.shape, generator=generator, dtype=torch.float64, device=above.device)
        size, n = above.numel(), above.shape[1]
        _sample[(triton.cdiv(size, COLUMNS),)](
            up[level], above, below, random, rules, *up[level].stride()[:2], n, num_samples, size, g.m, g.s, COLUMNS
        )
        y.append(below)
    return [level.permute(1, 2, 0) for level in reversed(y)], log_evidence


def _upward(g: Grammar, evidence: Tensor, keep: bool = True) -> tuple[list[Tensor], Tensor, Tensor]:
    """Upward messages, those of the leaves perhaps scaled; (batch,) the log of all that was divided out; headroom."""
    nodes, v, n = evidence.shape
    evidence = evidence.resolve_neg()  # a view may stand for the negative of what is in memory
    if evidence.stride(2) != 1:
        evidence = evidence.contiguous()
    total = evidence.new_empty(nodes, n)
    _largest[(triton.cdiv(nodes * n, COLUMNS),)](evidence, total, *evidence.stride()[:2], n, nodes * n, v, COLUMNS)
    log_z = evidence.new_full((n,), -(g.d - 1) // (g.s - 1) * math.log(g.m), dtype=torch.float64)
    near = 2.0 ** precision.spread(g.s)
    if not ((total > 1 / near) & (total < near)).all():  # products of evidence might leave the range of floats
        evidence = evidence / torch.where(total > 0, total, 1)[:, None]
        log_z += total.double().log().sum(0)
    up, headroom = [evidence], (total > 0).to(total.dtype)
    for level, rules in enumerate(_tables(g)[0]):
        nodes, parents = g.num_nodes(level + 1), g.num_symbols(level + 1)
        message, total = evidence.new_empty(nodes, parents, n), evidence.new_empty(nodes, n)
        columns, strides = nodes * n, up[-1].stride()[:2]
        rows = _rows(parents)
        _up[(triton.cdiv(columns, COLUMNS), triton.cdiv(parents, rows))](
            up[-1], message, rules, *strides, n, columns, parents, g.m, g.s, COLUMNS, rows
        )
        _normalise[(triton.cdiv(columns, COLUMNS),)](message, total, n, columns, parents, COLUMNS)
        log_z += total.double().log().sum(0)
        headroom = (headroom.unflatten(0, (-1, g.s)).amin(1) * total).clamp_(max=1)
        if not keep:
            up.clear()
        up.append(message)
    return up, log_z, headroom[0]


def _downward(g: Grammar, level: int, up: Tensor, down: Tensor) -> Tensor:
    """Downward messages to the nodes of a level, as they come out of the sum over rules."""
    n, parents = up.shape[-1], g.num_symbols(level + 1)
    columns, strides = g.num_nodes(level + 1) * n, up.stride()[:2]
    message = up.new_empty(g.num_nodes(level), g.v, n)
    (_, lists, ends), rows = _tables(g), _rows(g.v)
    _down[(triton.cdiv(columns, COLUMNS), triton.cdiv(g.v, rows), g.s)](
        up, down, message, lists[level], ends[level], *strides, n, columns, parents, g.v, g.m, g.s, COLUMNS, rows
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
    _marginals[grid](up, down, marginal, total, *up.stride()[:2], n, nodes * n, symbols, least, COLUMNS)
    return marginal, total


def _rows(symbols: int) -> int:
    """Symbols of a program."""
    return max(ROWS, triton.cdiv(symbols, MOST))


_cache: WeakKeyDictionary[Grammar, tuple[list[Tensor], list[Tensor], list[Tensor], object]] = WeakKeyDictionary()


def _tables(g: Grammar) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Per level: the rules (parents, m, s); for each child the rules by its symbol, (s, parents·m, s), the parent's
    symbol and the other children's; and where each symbol's list ends, (s, v + 1). int32."""
    if g not in _cache or _cache[g][-1] != g.written:
        g.to(g.device)  # checks the rules again: offsets are made of them
        if max(g.v, g.num_classes) * g.m >= 2**31:
            raise ValueError(f'backend "gpu": expected fewer than 2^31 rules a level, got {g}: use backend="torch"')
        rules, lists, ends = [], [], []
        for rule in g.rules:
            tuples = rule.flatten(0, 1)
            parent = torch.arange(len(rule), device=g.device).repeat_interleave(g.m)[:, None]
            by_child, until = [], []
            for i in range(g.s):
                others = torch.cat([parent, tuples[:, :i], tuples[:, i + 1 :]], 1)
                by_child.append(others[tuples[:, i].argsort(stable=True)])
                until.append(torch.nn.functional.pad(tuples[:, i].bincount(minlength=g.v).cumsum(0), (1, 0)))
            rules.append(rule.int().contiguous())
            lists.append(torch.stack(by_child).int())
            ends.append(torch.stack(until).int())
        _cache[g] = rules, lists, ends, g.written
    return _cache[g][:3]


@triton.jit
def _wide(number: tl.tensor) -> tl.tensor:
    """An integer, 64 bits wide."""
    return tl.cast(number, tl.int64)


@triton.jit
def _place(n: tl.tensor, columns: tl.tensor, BLOCK: tl.constexpr) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """The columns of this program, which of them exist, their nodes and their data."""
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    return column, column < columns, column // n, column % n


@triton.jit
def _largest(
    evidence: tl.tensor,
    largest: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    columns: tl.tensor,
    v: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """The maximum of each leaf's evidence; NaN where a number is negative or not finite."""
    column, exists, node, datum = _place(n, columns, BLOCK)
    here, per_symbol = evidence + node * per_node + datum, _wide(per_symbol)
    high = tl.zeros([BLOCK], dtype=evidence.dtype.element_ty)
    bad = high != high
    for a in range(v):
        x = tl.load(here + a * per_symbol, mask=exists, other=0)
        bad = bad | ~((x >= 0) & (x < float("inf")))
        high = tl.maximum(high, x)
    tl.store(largest + column, tl.where(bad, float("nan"), high), mask=exists)


@triton.jit
def _up(
    below: tl.tensor,
    above: tl.tensor,
    rules: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    columns: tl.tensor,
    parents: tl.tensor,
    m: tl.tensor,
    S: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Eq. (7): the message of a node from those of its children, for ROWS of its symbols."""
    _, exists, node, datum = _place(n, columns, BLOCK)
    per_node, per_symbol = _wide(per_node), _wide(per_symbol)
    children = below + node * S * per_node + datum
    first = tl.program_id(1) * ROWS
    for y in range(first, tl.minimum(first + ROWS, parents)):
        total = tl.zeros([BLOCK], dtype=above.dtype.element_ty)
        for r in range(m):
            rule = rules + (_wide(y) * m + r) * S
            product = tl.load(children + tl.load(rule) * per_symbol, mask=exists, other=0)
            for i in tl.static_range(1, S):
                product *= tl.load(children + i * per_node + tl.load(rule + i) * per_symbol, mask=exists, other=0)
            total += product
        tl.store(above + (node * parents + y) * n + datum, total, mask=exists)


@triton.jit
def _down(
    up: tl.tensor,
    above: tl.tensor,
    below: tl.tensor,
    lists: tl.tensor,
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
    """Eq. (8): the message to the i-th child from its parent and its siblings, for ROWS of its symbols."""
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
            for k in tl.static_range(1, S):
                j = tl.where(k <= i, k - 1, k)  # the k-th of the other children
                product *= tl.load(children + j * per_node + tl.load(rule + k) * per_symbol, mask=exists, other=0)
            total += product
        tl.store(below + ((node * S + i) * v + a) * n + datum, total, mask=exists)


@triton.jit
def _normalise(
    message: tl.tensor, totals: tl.tensor, n: tl.tensor, columns: tl.tensor, symbols: tl.tensor, BLOCK: tl.constexpr
) -> None:
    """Divide a message by its sum, in place."""
    column, exists, node, datum = _place(n, columns, BLOCK)
    here, n = message + node * symbols * n + datum, _wide(n)
    total = tl.zeros([BLOCK], dtype=message.dtype.element_ty)
    for a in range(symbols):
        total += tl.load(here + a * n, mask=exists, other=0)
    divisor = tl.where(total > 0, total, 1)
    for a in range(symbols):
        tl.store(here + a * n, tl.load(here + a * n, mask=exists, other=0) / divisor, mask=exists)
    tl.store(totals + column, total, mask=exists)


@triton.jit
def _marginals(
    up: tl.tensor,
    down: tl.tensor,
    marginals: tl.tensor,
    totals: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    columns: tl.tensor,
    symbols: tl.tensor,
    LEAST: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """ν↓ divided by its sum, in place, and ν↑·ν↓ by its sum; where both go to one place, the marginal stays."""
    column, exists, node, datum = _place(n, columns, BLOCK)
    from_below, per_symbol = up + node * per_node + datum, _wide(per_symbol)
    here, n = node * symbols * n + datum, _wide(n)
    total = tl.zeros([BLOCK], dtype=down.dtype.element_ty)
    both = tl.zeros([BLOCK], dtype=down.dtype.element_ty)
    for a in range(symbols):
        x = tl.load(down + here + a * n, mask=exists, other=0)
        total += x
        both += x * tl.load(from_below + a * per_symbol, mask=exists, other=0)
    total = tl.where(total > 0, total, 1)
    divisor = tl.where(both > 0, both, 1)
    for a in range(symbols):
        x = tl.load(down + here + a * n, mask=exists, other=0)
        y = x * tl.load(from_below + a * per_symbol, mask=exists, other=0)
        tl.store(down + here + a * n, x / total, mask=exists)
        tl.store(marginals + here + a * n, y / divisor, mask=exists)
    evidence = both / total
    tl.store(totals + column, tl.minimum(both, evidence) if LEAST else evidence, mask=exists)


@triton.jit
def _sample(
    up: tl.tensor,
    above: tl.tensor,
    below: tl.tensor,
    random: tl.tensor,
    rules: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    samples: tl.tensor,
    size: tl.tensor,
    m: tl.tensor,
    S: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Draw a rule of each node's symbol: looks only at the m rules of that symbol."""
    n, per_node, per_symbol = _wide(n), _wide(per_node), _wide(per_symbol)
    place, exists, node, draw = _place(n * samples, size, BLOCK)
    children = up + node * S * per_node + draw // samples
    rule = rules + tl.load(above + place, mask=exists, other=0) * m * S
    total = tl.zeros([BLOCK], dtype=tl.float64)
    for r in range(m):
        total += _weight(children, rule + _wide(r) * S, per_node, per_symbol, exists, S)
    level = tl.load(random + place, mask=exists, other=0) * total
    running = tl.zeros([BLOCK], dtype=tl.float64)
    chosen = tl.zeros([BLOCK], dtype=tl.int64)
    for r in range(m - 1):
        running += _weight(children, rule + _wide(r) * S, per_node, per_symbol, exists, S)
        chosen += (running <= level).to(tl.int64)
    for i in tl.static_range(S):
        symbol = tl.load(rule + chosen * S + i, mask=exists, other=0)
        tl.store(below + (node * S + i) * n * samples + draw, symbol.to(tl.int64), mask=exists)


@triton.jit
def _weight(
    children: tl.tensor, rule: tl.tensor, per_node: tl.tensor, per_symbol: tl.tensor, exists: tl.tensor, S: tl.constexpr
) -> tl.tensor:
    """What the children believe in a rule."""
    weight = tl.load(children + tl.load(rule, mask=exists, other=0) * per_symbol, mask=exists, other=0).to(tl.float64)
    for i in tl.static_range(1, S):
        symbol = tl.load(rule + i, mask=exists, other=0)
        weight *= tl.load(children + i * per_node + symbol * per_symbol, mask=exists, other=0)
    return weight
