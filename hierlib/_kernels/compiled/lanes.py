"""Data on their way into the lanes of the workspace and out of them: the edges of `hierlib._kernels.compiled.tile`.

Lane c·data + k holds column c of datum first + k, where data is how many data the tile has.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hierlib._kernels.compiled.layout import (
    EVIDENCE,
    EXPONENT,
    HIGH,
    LOW,
    MANTISSA,
    PRODUCTS,
    REST,
    SCRATCH,
    TRUTH,
    Data,
    Int,
    Rows,
    Tile,
    block,
    block_bytes,
    compiled,
    name_of,
)
from hierlib._kernels.compiled.simd import (
    LANE_BYTES,
    LINE,
    Vector,
    fma,
    get,
    int_at,
    itemsize,
    largest,
    load,
    load_anywhere,
    load_doubles,
    load_line,
    load_some,
    moderate,
    multiplied,
    power_of_two,
    put,
    put_some,
    rounded,
    splat,
    splat_line,
    stream,
    where_moderate,
)
from hierlib._kernels.compiled.transpose import gather_transposed, scatter_transposed


@compiled
def begin(real: np.floating, tile: Tile) -> None:
    """Set up the tile: running products, the class prior, the two values of ε evidence. Spare lanes are one."""
    ws, tree, io, first, data = tile
    size, one = itemsize(real), splat(real, 1)
    for half in range(0, 2 * LANE_BYTES, LANE_BYTES):
        put(ws + MANTISSA + half, splat(1.0, 1))
        put(ws + EXPONENT + half, splat(1.0, 0))  # the bits of an integer zero
    for level in range(tree.top + 1):
        put(ws + tree.headroom + level * LANE_BYTES, one)
    for y in range(int_at(tree.symbols, tree.top)):
        row = ws + int_at(tree.down, tree.top) + y * LANE_BYTES
        there = io.prior + y * io.prior_per_symbol + first * io.prior_per_datum
        put(row, one)
        for k in range(data):
            put(row + k * size, get(real, there + k * io.prior_per_datum))
    if io.evidence == 0:
        put(ws + REST, one)
        for lane in range(data * int_at(tree.columns, 0)):
            put(ws + REST + lane * size, get(real, io.eps + (first + lane % data) * size))
        eps = load(real, ws + REST)
        rest = eps / splat(real, int_at(tree.symbols, 0))
        put(ws + REST, rest)
        put(ws + TRUTH, fma(eps, splat(real, -1), one) + rest)


@compiled
def finish(real: np.floating, tile: Tile) -> None:
    """Log evidence: -inf where numbers (nearly) vanished, NaN where the evidence is negative or not finite."""
    ws, tree, io, first, data = tile
    size = itemsize(real)
    for k in range(data):
        possible, valid = True, True
        total = io.constant + (math.log(get(1.0, ws + MANTISSA + 8 * k)) + int_at(ws + EXPONENT, k) * math.log(2.0))
        for lane in range(k, data * int_at(tree.columns, 0), data):
            possible &= get(real, ws + LOW + lane * size) >= io.least
            high = get(real, ws + HIGH + lane * size)
            valid &= (high >= 0) & (high < math.inf)
        found = (total if possible else -math.inf) if valid else math.nan
        put(io.log_evidence + size * (first + k), rounded(real, found))


@compiled
def first_lanes(real: np.floating, ws: int, x: Vector, count: int) -> Vector:
    """The first lanes of a vector, and ones."""
    put(ws + SCRATCH, x)
    return load_some(real, ws + SCRATCH, count, splat(real, 1))


@compiled
def read_leaf(real: np.floating, tile: Tile, leaf: int) -> tuple[Vector, Vector]:
    """Copy in a leaf's evidence; returns its maximum, and the power of two that it was divided by if far from 1."""
    ws, tree, io, first, data = tile
    v, size, into = int_at(tree.symbols, 0), itemsize(real), ws + block(tree, 0, leaf)
    columns, together = int_at(tree.columns, 0), io.per_datum == size
    there, step = io.evidence + first * io.per_datum + leaf * io.per_leaf, io.per_symbol
    if io.evidence == 0 or not (together and columns == 1 and data * size == LANE_BYTES):
        spare = load(real, ws + REST) if io.evidence == 0 else splat(real, 1)
        for a in range(v if io.evidence == 0 or columns * data * size < LANE_BYTES else 0):
            put(into + a * LANE_BYTES, spare)
        if io.evidence != 0 and together:
            gather_leaf(real, tile, leaf, into)
        else:
            collect_leaf(real, tile, leaf, into)
        there, step = into, LANE_BYTES
    high = splat(real, 0)
    for a in range(v):
        x = load_anywhere(real, there + a * step) + splat(real, 0)  # makes -0 a zero
        high = largest(high, x)
        put(into + a * LANE_BYTES, x)
    scale = splat(real, 1)
    if not moderate(tree.family, high):
        scale = where_moderate(tree.family, high, scale, power_of_two(high))
    close(real, tree.family, v, into, scale)
    return high, scale


@compiled
def gather_leaf(real: np.floating, tile: Tile, leaf: int, into: int) -> None:
    """Evidence that stands in vectors of all the data, but not of all the lanes: one such vector a column."""
    _ws, tree, io, first, data = tile
    size, v, columns = itemsize(real), int_at(tree.symbols, 0), int_at(tree.columns, 0)
    line, nodes = LINE // size, int_at(tree.nodes, 0)
    column, squares = 0, v - v % line if data == 1 and io.per_symbol == size else 0
    while squares and column + line <= columns:
        rows, order = io.evidence + first * size + leaf * io.per_leaf, int_at(tree.order, 0) + 8 * column
        for a in range(0, squares, line):
            block = into + a * LANE_BYTES + column * size
            gather_transposed(real, rows + a * size, order, nodes * io.per_leaf, block, LANE_BYTES)
        for a in range(squares, v):
            for c in range(column, column + line):
                x = get(real, rows + int_at(int_at(tree.order, 0), c) * nodes * io.per_leaf + a * size)
                put(into + a * LANE_BYTES + c * size, x)
        column += line
    for c in range(column, columns):
        there = io.evidence + first * size + name_of(tree, 0, c, leaf) * io.per_leaf
        move(real, v, there, io.per_symbol, into + c * data * size, LANE_BYTES, data)


@compiled
def move(real: np.floating, rows: int, there: int, step: int, into: int, into_step: int, count: int) -> None:
    """Copy some numbers of each of several rows."""
    size, one = itemsize(real), splat_line(real, 1)
    for k in range(0, count, LINE // size):
        for a in range(rows):
            x = load_some(real, there + a * step + k * size, count - k, one)
            put_some(into + a * into_step + k * size, x, count - k)


@compiled
def collect_leaf(real: np.floating, tile: Tile, leaf: int, into: int) -> None:
    """Lane by lane: evidence that does not stand in whole vectors, or is made of true symbols."""
    ws, tree, io, first, data = tile
    size = itemsize(real)
    for column in range(int_at(tree.columns, 0)):
        node = name_of(tree, 0, column, leaf)
        for k in range(data):
            lane = (column * data + k) * size
            if io.evidence == 0:
                symbol = int_at(int_at(io.x, 0), node * io.n + first + k)
                put(into + symbol * LANE_BYTES + lane, get(real, ws + TRUTH + lane))
            else:
                there = io.evidence + (first + k) * io.per_datum + node * io.per_leaf
                for a in range(int_at(tree.symbols, 0)):
                    put(into + lane + a * LANE_BYTES, get(real, there + a * io.per_symbol))


@compiled
def close(real: np.floating, family: tuple[int, ...], symbols: int, into: int, total: Vector) -> None:
    """Put the normalising factor below a block; where it is far from 1, and products might underflow, use it now."""
    one = splat(real, 1)
    factor = one / total
    if not moderate(family, total):
        now = where_moderate(family, total, one, factor)
        for a in range(symbols):
            put(into + a * LANE_BYTES, load(real, into + a * LANE_BYTES) * now)
        factor = where_moderate(family, total, factor, one)
    put(into + symbols * LANE_BYTES, factor)


class Pending(NamedTuple):
    """A node whose results are written row by row while the next node is computed, for memory is slow."""

    any: bool
    marginal: int  # where they go; 0 where not wanted
    to_up: int
    to_down: int
    up: int  # where the messages stand
    down: int
    last: int  # from there to the row with the factor, in bytes


NOTHING = Pending(False, 0, 0, 0, 0, 0, 0)


@compiled
def settle(real: np.floating, tile: Tile, level: Int, node: Int, down: int, evidence: Vector) -> Pending:
    """Write what is wanted of a node whose downward message is known: its marginal is ν↑·ν↓ / evidence.

    Where all messages are wanted, and are whole vectors, they are left for `write_row`, and returned.
    """
    ws, tree, io, first, data = tile
    up, last = ws + block(tree, level, node), block_bytes(tree, level) - LANE_BYTES
    one, size = splat(real, 1), itemsize(real)
    if int_at(io.x, level) != 0:
        put(ws + SCRATCH, evidence)
        for column in range(int_at(tree.columns, level)):
            place = name_of(tree, level, column, node) * io.n + first
            for k in range(data):
                lane = (column * data + k) * size
                row = int_at(int_at(io.x, level), place + k) * LANE_BYTES + lane
                sum_at = int_at(io.overlap, level) + 8 * (first + k)
                marginal = get(real, up + row) * get(real, down + row) / get(real, ws + SCRATCH + lane)
                if tree.cut == tree.top or level == tree.top:
                    put(sum_at, get(1.0, sum_at) + marginal)
                else:
                    put(ws + int_at(tree.truths, level) + node * LANE_BYTES + lane, marginal)
    m, u, d = int_at(io.marginals, level), int_at(io.up, level), int_at(io.down, level)
    if m == 0 and u == 0 and d == 0:
        return NOTHING
    whole = data * size == LANE_BYTES and int_at(tree.columns, level) == 1
    if whole and level < tree.top and (u != 0 or d != 0):
        put(ws + EVIDENCE, one / evidence)
        at = node * int_at(tree.symbols, level) * io.row + first * size
        return Pending(True, m + at if m != 0 else 0, u + at if u != 0 else 0, d + at if d != 0 else 0, up, down, last)
    if m != 0:
        write(real, tile, level, node, up, Rows(down, LANE_BYTES), one / evidence, m)
    if u != 0:
        write(real, tile, level, node, up, Rows(up + last, 0), one, u)
    if d != 0:
        write(real, tile, level, node, down, Rows(down + last, 0), one, d)
    return NOTHING


@compiled
def write_row(real: np.floating, ws: int, io: Data, pending: Pending, a: int) -> None:
    """Write the numbers of one symbol of a node."""
    up, down = load(real, pending.up + a * LANE_BYTES), load(real, pending.down + a * LANE_BYTES)
    if pending.marginal != 0:
        stream(pending.marginal + a * io.row, up * down * load(real, ws + EVIDENCE))
    if pending.to_up != 0:
        stream(pending.to_up + a * io.row, up * load(real, pending.up + pending.last))
    if pending.to_down != 0:
        stream(pending.to_down + a * io.row, down * load(real, pending.down + pending.last))


@compiled
def write(
    real: np.floating, tile: Tile, level: Int, node: Int, here: int, others: Rows, factor: Vector, there: int
) -> None:
    """Write a block, times other rows (at step 0 always the same), times a factor, to its place in a result."""
    ws, tree, io, first, data = tile
    symbols, columns, size = int_at(tree.symbols, level), int_at(tree.columns, level), itemsize(real)
    into = there + node * symbols * io.row + first * size
    for a in range(symbols):
        x = load(real, here + a * LANE_BYTES) * load(real, others.address + a * others.step) * factor
        if columns > 1:
            put(ws + PRODUCTS + a * LANE_BYTES, x)
        elif data * size == LANE_BYTES:
            stream(into + a * io.row, x)
        else:
            put_some(into + a * io.row, x, data)
    if columns > 1:
        scatter(real, tile, level, node, there + first * size)


@compiled
def scatter(real: np.floating, tile: Tile, level: Int, node: Int, there: int) -> None:
    """Write the products of a block of columns, each to its node's place in a result."""
    ws, tree, io, _first, data = tile
    size, symbols, columns = itemsize(real), int_at(tree.symbols, level), int_at(tree.columns, level)
    line, nodes, bytes_ = LINE // size, int_at(tree.nodes, level), symbols * io.row
    column, squares = 0, symbols - symbols % line if data == 1 and io.row == size else 0
    while squares and column + line <= columns:
        order = int_at(tree.order, level) + 8 * column
        for a in range(0, squares, line):
            block = ws + PRODUCTS + a * LANE_BYTES + column * size
            scatter_transposed(real, there + node * bytes_ + a * size, order, nodes * bytes_, block, LANE_BYTES)
        for a in range(squares, symbols):
            for c in range(column, column + line):
                x = get(real, ws + PRODUCTS + a * LANE_BYTES + c * size)
                put(there + name_of(tree, level, c, node) * bytes_ + a * size, x)
        column += line
    whole = (data * size | there | io.row) % LINE == 0
    for c in range(column, columns):
        from_, into = ws + PRODUCTS + c * data * size, there + name_of(tree, level, c, node) * bytes_
        if not whole:
            move(real, symbols, from_, LANE_BYTES, into, io.row, data)
            continue
        for k in range(0, data * size, LINE):
            for a in range(symbols):
                stream(into + a * io.row + k, load_line(real, from_ + a * LANE_BYTES + k))


@compiled
def multiply_totals(real: np.floating, tile: Tile) -> None:
    """The running products of data that have several lanes each, in the order in which whole trees are walked."""
    ws, tree, _, _, data = tile
    size, one, s, line = itemsize(real), splat_line(real, 1), len(tree.family), LINE // itemsize(real)
    lanes = data * int_at(tree.columns, 0)
    for lane in range(data, lanes):  # of scales, which are powers of two: the order does not matter
        put(ws + EXPONENT + 8 * (lane % data), int_at(ws + EXPONENT, lane % data) + int_at(ws + EXPONENT, lane))
        put(ws + EXPONENT + 8 * lane, np.int64(0))
    below = (int_at(tree.nodes, 0) - 1) // (s - 1)
    for k in range(0, data, line):
        m, e = load_doubles(real, ws + MANTISSA + 8 * k), load_doubles(real, ws + EXPONENT + 8 * k)
        for subtree in range(int_at(tree.columns, tree.cut)):
            at = ws + tree.totals + (int_at(int_at(tree.order, tree.cut), subtree) * data + k) * size
            for row in range(below):
                m, e = multiplied(m, e, load_some(real, at + row * LANE_BYTES, data - k, one))
            level, node = tree.cut, subtree + 1
            while level < tree.top and node % s == 0:
                level, node = level + 1, node // s
                at = ws + tree.totals + (below + level - tree.cut - 1) * LANE_BYTES
                at += (int_at(int_at(tree.order, level), node - 1) * data + k) * size
                m, e = multiplied(m, e, load_some(real, at, data - k, one))
        put(ws + MANTISSA + 8 * k, m)
        put(ws + EXPONENT + 8 * k, e)


@compiled
def add_truths(real: np.floating, tile: Tile) -> None:
    """Sums over the nodes of data that have several lanes each, in the order in which whole trees are walked."""
    ws, tree, io, first, data = tile
    s, size = len(tree.family), itemsize(real)
    for level in range(tree.top):
        nodes, order = int_at(tree.nodes, level), int_at(tree.order, level)
        there, sums = ws + int_at(tree.truths, level), int_at(io.overlap, level) + 8 * first
        for parent in range(nodes * int_at(tree.columns, level) // s - 1, -1, -1):
            for node in range(parent * s, parent * s + s):
                row = there + node % nodes * LANE_BYTES + int_at(order, node // nodes) * data * size
                for k in range(data):
                    put(sums + 8 * k, get(1.0, sums + 8 * k) + get(real, row + k * size))
