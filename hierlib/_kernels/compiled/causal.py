"""What each leaf is expected to be given those to its left, on one tile: up as in `tile`, then down in half the work.

The way down differs from that of `hierlib._kernels.compiled.tile` in the sum over rules alone: a child hears its parent
and its left siblings. The rules listed by a child's symbol name the parent first and the siblings from left to right,
so the first of them are all that is read.
"""

from __future__ import annotations

import numpy as np

from hierlib._kernels.compiled.lanes import NOTHING, Pending, close, finish, read_leaf, settle, write_row
from hierlib._kernels.compiled.layout import (
    LOW,
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
    load,
    moderate,
    offset_at,
    prefetch,
    put,
    put_some,
    smallest,
    splat,
    two_offsets_at,
    where_moderate,
)
from hierlib._kernels.compiled.tile import NO_ROWS, Family, evidence_of, go_up


@entry
def run_causal(real: np.floating, begin: int, end: int, data: int, ws: int, tree: Tree, io: Data) -> None:
    """Up the tree and down, for data begin … end - 1, so many a tile; ws: the workspace's address."""
    for first in range(begin, end, data):
        tile = Tile(ws, tree, io, first, data)
        go_up(real, tile)
        go_down_left(real, tile)
        finish(real, tile)


@compiled
def go_down_left(real: np.floating, tile: Tile) -> None:
    """From the root to the leaves, each node after its parent; only what leaves are told is written."""
    ws, tree, io, first, data = tile
    s, pending = len(tree.family), NOTHING
    level: Int
    for level in range(tree.top - 1, tree.cut - 1, -1):
        parents = data * int_at(tree.columns, level + 1)
        children, into = ws + int_at(tree.split, level), ws + int_at(tree.down, level)
        message = children + s * block_bytes(tree, level)
        for place in range(into, into + block_bytes(tree, level), LANE_BYTES):
            put(place, splat(real, 1))
        for i in range(s):
            shift = i * parents * itemsize(real)
            family = Family(level, ws + int_at(tree.down, level + 1), children)
            told_node(real, tile, family, i, message, NO_ROWS, pending)
            for row in range(0, block_bytes(tree, level), LANE_BYTES):
                put_some(into + row + shift, load(real, message + row), parents)
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
            family = Family(level, parent, ws + block(tree, level, (node - 1) * s))
            for i in range(s):
                into = ws + int_at(tree.down, level) + i * block_bytes(tree, level)
                ahead = Rows(family.children + (i - s) * block_bytes(tree, level), LANE_BYTES)
                if level == 0 and read_again:
                    ahead = Rows(evidence_of(real, io, first, (number - 1) * s + i), io.per_symbol)
                told_node(real, tile, family, i, into, ahead, pending)
                if level == 0:
                    pending = settle(real, tile, level, (node - 1) * s + i, into, splat(real, 1))
                elif pending.any:
                    pending = NOTHING
            level, node = level - 1, node * s
    for a in range(int_at(tree.symbols, 0) if pending.any else 0):
        write_row(real, ws, io, pending, a)


@compiled
def told_node(real: np.floating, tile: Tile, family: Family, i: int, into: int, ahead: Rows, pending: Pending) -> None:
    """What the i-th child, at this level, is told by its parent and its left siblings.

    ahead: rows that are needed next, and are fetched meanwhile.
    pending: what of the node before is written to the results meanwhile.
    """
    (ws, tree, io, _, _), (level, parent, children) = tile, family
    s, v, child = len(tree.family), int_at(tree.symbols, level), block_bytes(tree, level)
    rule = table(tree, tree.lists, level, s) + 4 * i * int_at(tree.symbols, level + 1) * tree.m * s
    uses = tree.uses + 4 * (level * s + i) * v
    factor = load(real, parent + block_bytes(tree, level + 1) - LANE_BYTES)
    for j in range(i):
        factor = factor * load(real, children + (j + 1) * child - LANE_BYTES)
    total, evidence = splat(real, 0), splat(real, 0)
    for a in range(v):
        over_rules = splat(real, 0)
        for _ in range(offset_at(uses, a)):
            if len(tree.weighted) > 1:
                over_rules = add_weighted_left(real, i, parent, children, rule, tree.list_weights, over_rules)
            else:
                over_rules = add_left(real, i, parent, children, rule, over_rules)
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


@compiled
def add_left(real: np.floating, i: int, parent: int, children: int, rule: int, total: Vector) -> Vector:
    """The total plus a rule's product: of the parent, and of the i siblings that come before."""
    if i == 0:
        return total + load(real, parent + offset_at(rule, 0))
    one, two = two_offsets_at(rule)
    x, y = load(real, parent + one), load(real, children + two)
    for j in range(2, i + 1):
        x, y = x * y, load(real, children + offset_at(rule, j))
    return fma(x, y, total)


@compiled
def add_weighted_left(
    real: np.floating, i: int, parent: int, children: int, rule: int, weights: int, total: Vector
) -> Vector:
    """The same with a rule's weight, see `Tree.list_weights`, as one factor more."""
    weight = splat(real, get(1.0, weights + 2 * rule))
    if i == 0:
        return fma(load(real, parent + offset_at(rule, 0)), weight, total)
    one, two = two_offsets_at(rule)
    x, y = load(real, parent + one) * weight, load(real, children + two)
    for j in range(2, i + 1):
        x, y = x * y, load(real, children + offset_at(rule, j))
    return fma(x, y, total)
