"""Belief propagation on one tile: as many data as a vector has lanes, once up and once down the tree, in numba.

A message of one node is a block of rows in the workspace, one row a symbol, one lane a datum, and a last row with
the factor that normalises the others. A sum over rules is then a chain of whole-vector multiply-adds, whose operands
the rule table names by their offset in bytes. The workspace holds the upward messages of a tile; the downward ones
are needed only of one family a level, for the tree is walked depth first: up when the last child is done, and down
in the reverse order, so that what was written last is read first.

Where there are fewer data than lanes, the trees are cut: a lane is a subtree of a datum. Up to the cut all is as
above. From the cut on a block holds all the nodes of its level side by side, so ordered that child i of column c is
column i·(number of parents) + c: shifting lanes takes a block apart into one for each child, or puts it together.

What a datum comes to does not depend on the data beside it or on the cut, to the last bit: what is done for some lanes
alone is chosen lane by lane, and what is added or multiplied up over the nodes is so in the order of whole trees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hierlib._kernels.compiled.lanes import (
    NOTHING,
    Pending,
    add_truths,
    begin,
    close,
    finish,
    first_lanes,
    multiply_totals,
    read_leaf,
    settle,
    write_row,
)
from hierlib._kernels.compiled.layout import (
    EXPONENT,
    HIGH,
    LOW,
    MANTISSA,
    SCRATCH,
    Data,
    Int,
    Rows,
    Tile,
    Tree,
    block,
    block_bytes,
    compiled,
    entry,
    table,
)
from hierlib._kernels.compiled.simd import (
    LANE_BYTES,
    Vector,
    fma,
    get,
    int_at,
    inverse_power,
    itemsize,
    largest,
    load,
    load_some,
    moderate,
    multiply_log,
    offset_at,
    prefetch,
    put,
    put_some,
    smallest,
    splat,
    two_offsets_at,
    where_moderate,
)


class Family(NamedTuple):
    """A parent and its children: addresses of its downward message and of the first of their upward ones."""

    level: Int  # of the children
    parent: int
    children: int


NO_ROWS = Rows(0, 0)


@entry
def run(real: np.floating, begin: int, end: int, data: int, ws: int, tree: Tree, io: Data, downward: bool) -> None:
    """Once up the tree, and down if wanted, for data begin … end - 1, so many a tile; ws: the workspace's address."""
    for first in range(begin, end, data):
        tile = Tile(ws, tree, io, first, data)
        go_up(real, tile)
        if downward:
            go_down(real, tile)
        finish(real, tile)


@compiled
def go_up(real: np.floating, tile: Tile) -> None:
    """From the leaves to the root's marginal, depth first: a node as soon as its last child is done."""
    ws, tree, io, first, data = tile
    begin(real, tile)
    s, mantissa, exponent, nowhere = len(tree.family), ws + MANTISSA, ws + EXPONENT, np.int64(0)
    low, high, sums = splat(real, 1), splat(real, 0), ws + tree.totals
    for leaf in range(int_at(tree.nodes, 0)):
        seen, scale = read_leaf(real, tile, leaf)
        high, low = largest(high, seen), smallest(low, scale * inverse_power(scale))  # zero where the scale is
        if not moderate(tree.family, seen):
            multiply_log(mantissa, exponent, scale)
        level, node = np.int64(0), leaf + 1
        while level < tree.top and (node % s == 0 or level >= tree.cut):
            node, parents = node // s, data * int_at(tree.columns, level + 1)
            children, into = ws + block(tree, level, (node - 1) * s), ws + block(tree, level + 1, node - 1)
            if level >= tree.cut:
                children, joined = ws + int_at(tree.split, level), children
                split(real, tree, level, joined, children, parents)
            ahead = evidence_of(real, io, first, leaf + 1) if level == 0 else nowhere
            factor = factor_of(real, tree, level, children)
            total = up_node(real, tree, level, children, factor, into, io, ahead)
            if level >= tree.cut:
                total = first_lanes(real, ws, total, parents)
            low = smallest(low, total)
            follow(real, ws, tree, level, parents, total, factor)
            if tree.cut == tree.top:
                multiply_log(mantissa, exponent, total)
            else:
                put(sums, total)
                sums += LANE_BYTES
            level += 1
    if tree.cut < tree.top:
        multiply_totals(real, tile)
    symbols = int_at(tree.symbols, tree.top)
    root, down = ws + int_at(tree.up, tree.top), ws + int_at(tree.down, tree.top)
    evidence = splat(real, 0)
    for y in range(symbols):
        evidence = fma(load(real, down + y * LANE_BYTES), load(real, root + y * LANE_BYTES), evidence)
    put(down + symbols * LANE_BYTES, splat(real, 1))
    settle(real, tile, tree.top, np.int64(0), down, evidence)
    evidence = first_lanes(real, ws, evidence * load(real, root + symbols * LANE_BYTES), data)
    multiply_log(mantissa, exponent, evidence)
    low = smallest(low, evidence * load(real, ws + tree.headroom + tree.top * LANE_BYTES))
    put(ws + LOW, smallest(low, evidence))
    put(ws + HIGH, high)


@compiled
def go_down(real: np.floating, tile: Tile) -> None:
    """From the root to the leaves, each node after its parent, in the reverse of the order of `go_up`."""
    ws, tree, io, first, data = tile
    s, nowhere, pending = len(tree.family), np.int64(0), NOTHING
    level: Int
    for level in range(tree.top - 1, tree.cut - 1, -1):
        parents = data * int_at(tree.columns, level + 1)
        children, into = ws + int_at(tree.split, level), ws + int_at(tree.down, level)
        message = children + s * block_bytes(tree, level)
        for place in range(into, into + block_bytes(tree, level), LANE_BYTES):
            put(place, splat(real, 1))
        put(ws + SCRATCH, splat(real, 1))
        for i in range(s):
            shift = i * parents * itemsize(real)
            family = Family(level, ws + int_at(tree.down, level + 1), children)
            evidence = down_node(real, tile, family, i, message, NO_ROWS, pending)
            put_some(ws + SCRATCH + shift, evidence, parents)
            for row in range(0, block_bytes(tree, level), LANE_BYTES):
                put_some(into + row + shift, load(real, message + row), parents)
        evidence = load(real, ws + SCRATCH)
        settle(real, tile, level, nowhere, into, evidence)
    read_again = int_at(tree.slots, 0) < int_at(tree.nodes, 0)
    for number in range(int_at(tree.nodes, 1) - 1, -1, -1):
        if read_again:
            for leaf in range(number * s, number * s + s):
                read_leaf(real, tile, leaf)
        level, node = np.int64(0), number + 1
        while level < tree.cut - 1 and node % s == 0:
            level, node = level + 1, node // s
        while level >= 0:  # the children of this family's ancestors that come no later
            parent = ws + int_at(tree.down, level + 1) + (node - 1) % s * block_bytes(tree, level + 1)
            children = ws + block(tree, level, (node - 1) * s)
            for i in range(s):
                into = ws + int_at(tree.down, level) + i * block_bytes(tree, level)
                ahead = Rows(children + (i - s) * block_bytes(tree, level), LANE_BYTES)
                if level == 0 and read_again:
                    ahead = Rows(evidence_of(real, io, first, (number - 1) * s + i), io.per_symbol)
                evidence = down_node(real, tile, Family(level, parent, children), i, into, ahead, pending)
                pending = settle(real, tile, level, (node - 1) * s + i, into, evidence)
            level, node = level - 1, node * s
    for a in range(int_at(tree.symbols, 0) if pending.any else 0):
        write_row(real, ws, io, pending, a)
    if tree.cut < tree.top and int_at(io.x, 0) != 0:
        add_truths(real, tile)


@compiled
def factor_of(real: np.floating, tree: Tree, level: Int, children: int) -> Vector:
    """What normalises a product of the messages of a family."""
    child = block_bytes(tree, level)
    factor = load(real, children + child - LANE_BYTES)
    for i in range(1, len(tree.family)):
        factor = factor * load(real, children + (i + 1) * child - LANE_BYTES)
    return factor


@compiled
def follow(real: np.floating, ws: int, tree: Tree, level: Int, parents: int, total: Vector, factor: Vector) -> None:
    """The headroom of a node at level + 1, of which total / factor is the sum as it was computed, joins its siblings'.

    See `hierlib._kernels.precision`.
    """
    row, one = ws + tree.headroom + level * LANE_BYTES, splat(real, 1)
    below = load(real, row)
    for i in range(1, len(tree.family) if level >= tree.cut else 1):
        below = smallest(below, load_some(real, row + i * parents * itemsize(real), parents, one))
    put(row, one)
    above = row + LANE_BYTES
    put(above, smallest(load(real, above), smallest(total * below, total * inverse_power(factor))))


@compiled
def up_node(
    real: np.floating, tree: Tree, level: Int, children: int, factor: Vector, into: int, io: Data, ahead: Int
) -> Vector:
    """Eq. (7) = (16, 17): the message of a node at level + 1; returns the sum of it for normalised children.

    factor: see `factor_of`.
    ahead: where the evidence of leaves stands that is needed next, and is fetched meanwhile; or 0.
    """
    s, symbols = len(tree.family), int_at(tree.symbols, level + 1)
    rule = table(tree, tree.rules, level, 1)
    total = splat(real, 0)
    for y in range(symbols):
        over_rules = splat(real, 0)
        for _ in range(tree.m):
            if len(tree.weighted) > 1:
                over_rules = add_weighted(real, tree.family, children, children, rule, tree.weights, over_rules)
            else:
                over_rules = add_product(real, tree.family, children, children, rule, over_rules)
            rule += 4 * s
        over_rules = over_rules * factor
        put(into + y * LANE_BYTES, over_rules)
        total = total + over_rules
        if ahead != 0:
            for i in range(s):
                prefetch(ahead + i * io.per_leaf + y * io.per_symbol)
    close(real, tree.family, symbols, into, total)
    return total


@compiled
def down_node(
    real: np.floating, tile: Tile, family: Family, i: int, into: int, ahead: Rows, pending: Pending
) -> Vector:
    """Eq. (8) = (18, 19): the message to the i-th child, at this level; returns the sum of its product with ν↑.

    The rules are listed by the child's symbol, so this is the loop of `up_node` with the parent as one factor.
    ahead: rows that are needed next, and are fetched meanwhile.
    pending: what of the node before is written to the results meanwhile.
    """
    (ws, tree, io, _, _), (level, parent, children) = tile, family
    s, v, child = len(tree.family), int_at(tree.symbols, level), block_bytes(tree, level)
    rule = table(tree, tree.lists, level, s) + 4 * i * int_at(tree.symbols, level + 1) * tree.m * s
    uses = tree.uses + 4 * (level * s + i) * v
    factor = load(real, parent + block_bytes(tree, level + 1) - LANE_BYTES)
    for j in range(s):
        if j != i:
            factor = factor * load(real, children + (j + 1) * child - LANE_BYTES)
    total, evidence = splat(real, 0), splat(real, 0)
    for a in range(v):
        over_rules = splat(real, 0)
        for _ in range(offset_at(uses, a)):
            if len(tree.weighted) > 1:
                over_rules = add_weighted(real, tree.family, parent, children, rule, tree.list_weights, over_rules)
            else:
                over_rules = add_product(real, tree.family, parent, children, rule, over_rules)
            rule += 4 * s
        over_rules = over_rules * factor
        put(into + a * LANE_BYTES, over_rules)
        total = total + over_rules
        evidence = fma(over_rules, load(real, children + i * child + a * LANE_BYTES), evidence)
        if ahead.address != 0:
            prefetch(ahead.address + a * ahead.step)
        if pending.any:
            write_row(real, ws, io, pending, a)
    close(real, tree.family, v, into, total)
    headroom = evidence * load(real, children + (i + 1) * child - LANE_BYTES) * inverse_power(factor)
    if not moderate(tree.family, total):
        evidence = evidence / where_moderate(tree.family, total, splat(real, 1), total)
    put(ws + LOW, smallest(load(real, ws + LOW), smallest(evidence, headroom)))
    return evidence


@compiled
def add_product(
    real: np.floating, family: tuple[int, ...], first: int, others: int, rule: int, total: Vector
) -> Vector:
    """The total plus the product of s rows: the first counted from one address, the others from another."""
    s, (one, two) = len(family), two_offsets_at(rule)
    x, y = load(real, first + one), load(real, others + two)
    for i in range(2, s):
        x, y = x * y, load(real, others + offset_at(rule, i))
    return fma(x, y, total)


@compiled
def add_weighted(
    real: np.floating, family: tuple[int, ...], first: int, others: int, rule: int, weights: int, total: Vector
) -> Vector:
    """The same with a rule's weight, see `Tree.weights`, as one factor more."""
    s, (one, two), weight = len(family), two_offsets_at(rule), splat(real, get(1.0, weights + 2 * rule))
    x, y = load(real, first + one) * weight, load(real, others + two)
    for i in range(2, s):
        x, y = x * y, load(real, others + offset_at(rule, i))
    return fma(x, y, total)


@compiled
def split(real: np.floating, tree: Tree, level: Int, block: int, children: int, parents: int) -> None:
    """Copy the lanes of each child to a block of its own; the other lanes there are one."""
    child = block_bytes(tree, level)
    for i in range(len(tree.family)):
        for row in range(0, child, LANE_BYTES):
            x = load_some(real, block + row + i * parents * itemsize(real), parents, splat(real, 1))
            put(children + i * child + row, x)


@compiled
def evidence_of(real: np.floating, io: Data, first: int, leaf: Int) -> Int:
    """Where a leaf's evidence stands, if it stands in vectors."""
    return io.evidence + leaf * io.per_leaf + first * io.per_datum if io.per_datum == itemsize(real) else 0
