"""The loops of the GPU backend, Triton kernels: see `hierlib._kernels.gpu`, which starts them.

Neighbouring threads hold neighbouring data, so that every load is coalesced. In the sums over rules, `up` and `down`, a
thread holds GROUP data side by side, loads them at once, and looks once at a rule for all of them. The rules are an
input, looped over inside: a new grammar needs no new compilation. Where their weights are None, Triton compiles code
that knows of none. Triton takes integers below 2^31 for 32 bits wide, and their products too: all that is a distance
in memory is made `_wide` before it is multiplied, or a `_distance`.
"""

import triton
import triton.language as tl

GROUP = tl.constexpr(4)  # in float32 what one instruction loads, 16 bytes


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
def _distance(number: tl.tensor, MULTIPLE: tl.constexpr) -> tl.tensor:
    """A multiple of this that is not negative, 64 bits wide: told so, the compiler loads whole groups, and leaves out
    the upper half where 32 bits hold it."""
    if number.dtype == tl.int32:
        number = number.to(tl.uint32, bitcast=True)
    return tl.multiple_of(number.to(tl.int64), MULTIPLE)


@triton.jit
def _groups(n: tl.tensor, nodes: tl.tensor, BLOCK: tl.constexpr) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """As _place; columns that do not exist are some of the last node, so that no load need ask whether it may."""
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    node = column // n
    return node < nodes, tl.minimum(node, _wide(nodes) - 1), column % n


@triton.jit
def largest(
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


@triton.jit(do_not_specialize=["per_node", "per_symbol", "n", "nodes"])
def up(
    below: tl.tensor,
    above: tl.tensor,
    rules: tl.tensor,
    weights: tl.tensor | None,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    nodes: tl.tensor,
    parents: tl.tensor,
    m: tl.tensor,
    S: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Eq. (7): the message of a node from those of its children, for ROWS of its symbols."""
    per_node, per_symbol, n = _distance(per_node, GROUP), _distance(per_symbol, GROUP), _distance(n, GROUP)
    exists, node, datum = _groups(n, nodes, BLOCK)
    children, message = below + node * S * per_node + datum, above + node * parents * n + datum
    first = tl.program_id(1) * ROWS
    for y in range(first, tl.minimum(first + ROWS, parents)):
        total = tl.zeros([BLOCK], dtype=above.dtype.element_ty)
        for r in range(m):
            rule = rules + (_wide(y) * m + r) * S
            product = tl.load(children + _distance(tl.load(rule), 1) * per_symbol)
            for i in tl.static_range(1, S):
                product *= tl.load(children + i * per_node + _distance(tl.load(rule + i), 1) * per_symbol)
            if weights is not None:
                product *= tl.load(weights + _wide(y) * m + r)
            total += product
        tl.store(message + y * n, total, mask=exists)


@triton.jit(do_not_specialize=["per_node", "per_symbol", "n", "nodes"])
def down(
    up: tl.tensor,
    above: tl.tensor,
    below: tl.tensor,
    lists: tl.tensor,
    weights: tl.tensor | None,
    ends: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    n: tl.tensor,
    nodes: tl.tensor,
    parents: tl.tensor,
    v: tl.tensor,
    m: tl.tensor,
    S: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Eq. (8): the message to the i-th child from its parent and its siblings, for ROWS of its symbols."""
    per_node, per_symbol, n = _distance(per_node, GROUP), _distance(per_symbol, GROUP), _distance(n, GROUP)
    exists, node, datum = _groups(n, nodes, BLOCK)
    i = tl.program_id(2)
    children = up + node * S * per_node + datum
    parent, message = above + node * parents * n + datum, below + (node * S + i) * v * n + datum
    first = tl.program_id(1) * ROWS
    for a in range(first, tl.minimum(first + ROWS, v)):
        total = tl.zeros([BLOCK], dtype=below.dtype.element_ty)
        end = ends + _wide(i) * (v + 1) + a
        for q in range(tl.load(end), tl.load(end + 1)):
            rule = lists + (_wide(i) * parents * m + q) * S
            product = tl.load(parent + _distance(tl.load(rule), 1) * n)
            for k in tl.static_range(1, S):
                j = tl.where(k <= i, k - 1, k)  # the k-th of the other children
                product *= tl.load(children + j * per_node + _distance(tl.load(rule + k), 1) * per_symbol)
            if weights is not None:
                product *= tl.load(weights + _wide(i) * parents * m + q)
            total += product
        tl.store(message + a * n, total, mask=exists)


@triton.jit
def normalise(
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
def marginals(
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
def sample(
    up: tl.tensor,
    above: tl.tensor,
    below: tl.tensor,
    random: tl.tensor,
    rules: tl.tensor,
    weights: tl.tensor | None,
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
    first = tl.load(above + place, mask=exists, other=0) * m
    rule = rules + first * S
    if weights is not None:
        weights += first
    total = tl.zeros([BLOCK], dtype=tl.float64)
    for r in range(m):
        total += _weight(children, rule + _wide(r) * S, weights, r, per_node, per_symbol, exists, S)
    level = tl.load(random + place, mask=exists, other=0) * total
    running = tl.zeros([BLOCK], dtype=tl.float64)
    chosen = tl.zeros([BLOCK], dtype=tl.int64)
    for r in range(m - 1):
        running += _weight(children, rule + _wide(r) * S, weights, r, per_node, per_symbol, exists, S)
        chosen += (running <= level).to(tl.int64)
    for i in tl.static_range(S):
        symbol = tl.load(rule + chosen * S + i, mask=exists, other=0)
        tl.store(below + (node * S + i) * n * samples + draw, symbol.to(tl.int64), mask=exists)


@triton.jit
def _weight(
    children: tl.tensor,
    rule: tl.tensor,
    weights: tl.tensor | None,
    r: tl.tensor,
    per_node: tl.tensor,
    per_symbol: tl.tensor,
    exists: tl.tensor,
    S: tl.constexpr,
) -> tl.tensor:
    """What the children believe in a rule, the r-th of its symbol, times the weight of that."""
    weight = tl.load(children + tl.load(rule, mask=exists, other=0) * per_symbol, mask=exists, other=0).to(tl.float64)
    for i in tl.static_range(1, S):
        symbol = tl.load(rule + i, mask=exists, other=0)
        weight *= tl.load(children + i * per_node + symbol * per_symbol, mask=exists, other=0)
    if weights is not None:
        weight *= tl.load(weights + r, mask=exists, other=0)
    return weight
