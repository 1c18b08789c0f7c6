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
    Vector,
    fma,
    get,
    int_at,
    itemsize,
    largest,
    load,
    load_anywhere,
    load_some,
    moderate,
    power_of_two,
    put,
    put_some,
    splat,
    stream,
)


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
        total, possible, valid = io.constant, True, True
        for lane in range(k, data * int_at(tree.columns, 0), data):
            total += math.log(get(1.0, ws + MANTISSA + 8 * lane)) + int_at(ws + EXPONENT, lane) * math.log(2.0)
            possible &= get(real, ws + LOW + lane * size) >= io.least
            high = get(real, ws + HIGH + lane * size)
            valid &= (high >= 0) & (high < math.inf)
        put(io.log_evidence + 8 * (first + k), (total if possible else -math.inf) if valid else math.nan)


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
    whole, together = data * size == LANE_BYTES, int_at(tree.columns, 0) == 1 and io.per_datum == size
    there, step = io.evidence + first * io.per_datum + leaf * io.per_leaf, io.per_symbol
    if io.evidence == 0 or not (whole and together):
        spare = load(real, ws + REST) if io.evidence == 0 else splat(real, 1)
        for a in range(v):
            row = load_some(real, there + a * step, data, spare) if together and io.evidence != 0 else spare
            put(into + a * LANE_BYTES, row)
        if io.evidence == 0 or not together:
            collect_leaf(real, tile, leaf, into)
        there, step = into, LANE_BYTES
    high = splat(real, 0)
    for a in range(v):
        x = load_anywhere(real, there + a * step) + splat(real, 0)  # makes -0 a zero
        high = largest(high, x)
        put(into + a * LANE_BYTES, x)
    scale = splat(real, 1) if moderate(tree.family, high) else power_of_two(high)
    close(real, tree.family, v, into, scale)
    return high, scale


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
    """Put the normalising factor below a block; if it is far from 1, so that products might underflow, use it now."""
    factor = splat(real, 1) / total
    if not moderate(family, total):
        for a in range(symbols):
            put(into + a * LANE_BYTES, load(real, into + a * LANE_BYTES) * factor)
        factor = splat(real, 1)
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
                put(sum_at, get(1.0, sum_at) + marginal)
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
        for column in range(columns):
            place = there + name_of(tree, level, column, node) * symbols * io.row
            for k in range(data):
                from_ = ws + PRODUCTS + (column * data + k) * size
                for a in range(symbols):
                    put(place + a * io.row + k * size, get(real, from_ + a * LANE_BYTES))
