"""Belief propagation on one tile: as many data as a vector has lanes, once up and once down the tree, in numba.

A message of one node is a block of rows in the workspace, one row a symbol, one lane a datum. A sum over rules is
then a chain of whole-vector multiply-adds, whose operands the rule table names by their offset in bytes. The
workspace holds the upward messages of a tile; the downward ones are needed only of one family a level, for the
tree is walked depth first: up when the last child is done, and down in the reverse order, so that what was written
last is read first.

Every field below that is not said to be a number is the address of an array of int64, one element a level.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from hierlib._kernels.simd import (
    LANE_BYTES,
    fma,
    get,
    int_at,
    itemsize,
    largest,
    load,
    load_anywhere,
    multiply_log,
    offset_at,
    power_of_two,
    put,
    put_as,
    smallest,
    splat,
    stream,
)


class Tree(NamedTuple):
    """The levels lowest … lowest + top of a grammar."""

    family: tuple[int, ...]  # s zeros: s is part of the type, so that loops over children are unrolled
    m: int
    lowest: int  # number: the grammar's level of the lowest nodes, not 0 for the top of a larger tree
    top: int  # number: levels above the lowest
    nodes: int
    symbols: int
    slots: int  # how many upward messages of the level the workspace holds
    up: int  # where in the workspace these stand, in bytes
    down: int  # where the downward messages of one family stand
    rules: int  # address of uint32 (parents, m, s): offsets of the children's rows, in bytes
    lists: int  # address of uint32, s times (parents·m, s): by symbol of the i-th child, the parent's row, the others'
    uses: int  # address of uint32 (s, v): how many rules have symbol a as their i-th child


class Lanes(NamedTuple):
    """What is known of the data. A lane is one datum, or a subtree of one where there are too few to fill a vector."""

    count: int  # number of lanes in use; lane j is subtree j // data of datum j % data
    data: int  # number
    subtrees: int  # number
    evidence: int  # address, and numbers of bytes to add per datum, leaf and symbol; 0: ε evidence of x
    per_datum: int
    per_leaf: int
    per_symbol: int
    eps: int  # address of float64 (data,)
    x: int  # addresses of int64 (data, nodes): true symbols; 0 where no overlap is wanted
    prior: int  # address of (tiles, symbols of the top, lanes of a tile)


class Out(NamedTuple):
    """Where results go. up, down, marginals: addresses of (nodes, symbols, data), 0 where not wanted."""

    row: int  # number of bytes from symbol to symbol
    up: int
    down: int
    marginals: int
    overlap: int  # addresses of float64 (lanes,): sums over the nodes
    mantissa: int  # address of float64 (lanes,): the product of all normalisers is mantissa·2^exponent
    exponent: int  # address of int64 (lanes,)
    low: int  # addresses of (lanes,): the smallest normaliser, the largest evidence: what may have gone wrong
    high: int


def compiled(function: Callable) -> Callable:
    """Compile, and keep the machine code on disk where a folder can be written."""
    options = dict(nogil=True, error_model="numpy", boundscheck=False)
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # no such folder
        return njit(**options)(function)


@compiled
def run(real, first_tile, last_tile, ws, tree, lanes, out, downward):
    """Once up the tree, and down if wanted, for tiles first_tile … last_tile - 1; ws: the workspace's address."""
    for tile in range(first_tile, last_tile):
        first = tile * (LANE_BYTES // itemsize(real))
        go_up(real, ws, tree, lanes, out, first)
        if downward:
            go_down(real, ws, tree, lanes, out, first)


@compiled
def go_up(real, ws, tree, lanes, out, first):
    """From the leaves to the root's marginal, depth first: a node as soon as its last child is done."""
    s, lane = len(tree.family), first * itemsize(real)
    low, high = splat(real, 1), splat(real, 0)
    for leaf in range(int_at(tree.nodes, 0)):
        seen, scale = read_leaf(real, ws, tree, lanes, first, leaf)
        high, low = largest(high, seen), smallest(low, scale)
        multiply_log(out.mantissa + first * 8, out.exponent + first * 8, scale)
        level, node = np.int64(0), leaf + 1
        while level < tree.top and node % s == 0:
            node //= s
            children = ws + block(tree, level, (node - 1) * s)
            total = up_node(real, tree, level, children, ws + block(tree, level + 1, node - 1))
            low = smallest(low, total)
            multiply_log(out.mantissa + first * 8, out.exponent + first * 8, total)
            level += 1
    symbols, root, down = (
        int_at(tree.symbols, tree.top),
        ws + int_at(tree.up, tree.top),
        ws + int_at(tree.down, tree.top),
    )
    evidence = splat(real, 0)
    for y in range(symbols):
        prior = load(real, lanes.prior + lane * symbols + y * LANE_BYTES)
        put(down + y * LANE_BYTES, prior)
        evidence = fma(prior, load(real, root + y * LANE_BYTES), evidence)
    multiply_log(out.mantissa + first * 8, out.exponent + first * 8, evidence)
    settle(real, ws, tree, lanes, out, first, tree.top, np.int64(0), down, splat(real, 1), evidence)
    put(out.low + lane, smallest(low, evidence))
    put(out.high + lane, high)


@compiled
def go_down(real, ws, tree, lanes, out, first):
    """From the root to the leaves, each node after its parent, in the reverse of the order of `go_up`."""
    s, lane = len(tree.family), first * itemsize(real)
    low = load(real, out.low + lane)
    for family in range(int_at(tree.nodes, 1) - 1, -1, -1):
        for leaf in range(family * s, family * s + s):
            read_leaf(real, ws, tree, lanes, first, leaf)
        level, node = np.int64(0), family + 1
        while level < tree.top - 1 and node % s == 0:
            level, node = level + 1, node // s
        while level >= 0:  # the children of this family's ancestors that come no later
            parent = ws + int_at(tree.down, level + 1)
            parent += (node - 1) % s * int_at(tree.symbols, level + 1) * LANE_BYTES
            children = ws + block(tree, level, (node - 1) * s)
            for i in range(s):
                into = ws + int_at(tree.down, level) + i * int_at(tree.symbols, level) * LANE_BYTES
                total, evidence = down_node(real, tree, level, i, parent, children, into)
                low = smallest(low, evidence)
                settle(real, ws, tree, lanes, out, first, level, (node - 1) * s + i, into, total, evidence)
            level, node = level - 1, node * s
    put(out.low + lane, low)


@compiled
def up_node(real, tree, level, children, into):
    """Eq. (7) = (16, 17): the message of a node at level + 1, normalised; returns what it was divided by."""
    s, symbols = len(tree.family), int_at(tree.symbols, level + 1)
    rule = table(tree, tree.rules, level, 1)
    total = splat(real, 0)
    for y in range(symbols):
        over_rules = splat(real, 0)
        for _ in range(tree.m):
            product = load(real, children + offset_at(rule, 0))
            for i in range(1, s - 1):
                product = product * load(real, children + offset_at(rule, i))
            over_rules = fma(product, load(real, children + offset_at(rule, s - 1)), over_rules)
            rule += 4 * s
        put(into + y * LANE_BYTES, over_rules)
        total = total + over_rules
    multiply(real, symbols, into, splat(real, 1) / total)
    return total


@compiled
def down_node(real, tree, level, i, parent, children, into):
    """Eq. (8) = (18, 19): the message to the i-th child, at this level; returns its sum, and its sum times ν↑.

    The rules are listed by the child's symbol, so this is the loop of `up_node` with the parent as one factor.
    """
    s, v = len(tree.family), int_at(tree.symbols, level)
    rule = table(tree, tree.lists, level, s) + 4 * i * int_at(tree.symbols, level + 1) * tree.m * s
    uses = tree.uses + 4 * ((tree.lowest + level) * s + i) * v
    total, evidence = splat(real, 0), splat(real, 0)
    for a in range(v):
        over_rules = splat(real, 0)
        for _ in range(offset_at(uses, a)):
            product = load(real, parent + offset_at(rule, 0))
            for j in range(1, s - 1):
                product = product * load(real, children + offset_at(rule, j))
            over_rules = fma(product, load(real, children + offset_at(rule, s - 1)), over_rules)
            rule += 4 * s
        put(into + a * LANE_BYTES, over_rules)
        total = total + over_rules
        evidence = fma(over_rules, load(real, children + (i * v + a) * LANE_BYTES), evidence)
    return total, evidence


@compiled
def settle(real, ws, tree, lanes, out, first, level, node, down, total, evidence):
    """Finish a node whose downward message is known: its marginal ∝ ν↑·ν↓, and all of it that is wanted."""
    v, up = int_at(tree.symbols, level), ws + block(tree, level, node)
    if int_at(out.marginals, level) != 0:
        factor = splat(real, 1) / evidence
        for a in range(v):
            row = a * LANE_BYTES
            put(ws + row, load(real, up + row) * load(real, down + row) * factor)
        write(real, tree, lanes, out.row, first, level, node, ws, int_at(out.marginals, level))
    if int_at(lanes.x, level) != 0:
        put(ws, evidence)
        for j in range(first, min(first + LANE_BYTES // itemsize(real), lanes.count)):
            lane = (j - first) * itemsize(real)
            row = symbol(tree, lanes, j, level, node) * LANE_BYTES + lane
            place = int_at(out.overlap, level) + 8 * j
            put(place, get(1.0, place) + get(real, up + row) * get(real, down + row) / get(real, ws + lane))
    if level > 0 or int_at(out.down, 0) != 0:
        multiply(real, v, down, splat(real, 1) / total)
    if int_at(out.down, level) != 0:
        write(real, tree, lanes, out.row, first, level, node, down, int_at(out.down, level))
    if int_at(out.up, level) != 0:
        write(real, tree, lanes, out.row, first, level, node, up, int_at(out.up, level))


@compiled
def read_leaf(real, ws, tree, lanes, first, leaf):
    """Copy in a leaf's evidence, divided by a power of two near its maximum; returns the maximum and the divisor."""
    W, v, into = LANE_BYTES // itemsize(real), int_at(tree.symbols, 0), ws + block(tree, 0, leaf)
    there, step = lanes.evidence + first * lanes.per_datum + leaf * lanes.per_leaf, lanes.per_symbol
    if lanes.evidence == 0:
        from_symbols(real, tree, lanes, first, leaf, into)
        there, step = into, LANE_BYTES
    elif first + W > lanes.count or lanes.subtrees > 1 or lanes.per_datum != itemsize(real):
        for lane in range(W):
            j = min(first + lane, lanes.count - 1)  # lanes past the end repeat the last
            there = lanes.evidence + j % lanes.data * lanes.per_datum
            there += (j // lanes.data * int_at(tree.nodes, 0) + leaf) * lanes.per_leaf
            for a in range(v):
                put(into + a * LANE_BYTES + lane * itemsize(real), get(real, there + a * step))
        there, step = into, LANE_BYTES
    high = splat(real, 0)
    for a in range(v):
        x = load_anywhere(real, there + a * step) + splat(real, 0)  # makes -0 a zero
        high = largest(high, x)
        put(into + a * LANE_BYTES, x)
    scale = power_of_two(high)
    multiply(real, v, into, splat(real, 1) / scale)
    return high, scale


@compiled
def from_symbols(real, tree, lanes, first, leaf, into):
    """The ε evidence of the true leaf: 1-ε+ε/v, and ε/v in every other symbol."""
    v = int_at(tree.symbols, 0)
    for lane in range(LANE_BYTES // itemsize(real)):
        j = min(first + lane, lanes.count - 1)
        eps, here = get(1.0, lanes.eps + 8 * (j % lanes.data)), into + lane * itemsize(real)
        for a in range(v):
            put_as(real, here + a * LANE_BYTES, eps / v)
        put_as(real, here + symbol(tree, lanes, j, np.int64(0), leaf) * LANE_BYTES, 1 - eps + eps / v)


@compiled
def write(real, tree, lanes, row, first, level, node, here, there):
    """Copy a block to its place in a result."""
    symbols, W = int_at(tree.symbols, level), LANE_BYTES // itemsize(real)
    if lanes.subtrees == 1 and first + W <= lanes.count:
        there += node * symbols * row + first * itemsize(real)
        for a in range(symbols):
            stream(there + a * row, load(real, here + a * LANE_BYTES))
        return
    for j in range(first, min(first + W, lanes.count)):
        place = there + (j // lanes.data * int_at(tree.nodes, level) + node) * symbols * row
        place += j % lanes.data * itemsize(real)
        for a in range(symbols):
            put(place + a * row, get(real, here + a * LANE_BYTES + (j - first) * itemsize(real)))


@compiled
def multiply(real, symbols, here, factor):
    for a in range(symbols):
        put(here + a * LANE_BYTES, load(real, here + a * LANE_BYTES) * factor)


@compiled
def block(tree, level, node):
    """Where in the workspace the upward message of a node stands."""
    return int_at(tree.up, level) + node % int_at(tree.slots, level) * int_at(tree.symbols, level) * LANE_BYTES


@compiled
def table(tree, address, level, copies):
    """Where a level's part of the rules begins; the root's rules are the last."""
    return address + 4 * (tree.lowest + level) * int_at(tree.symbols, 0) * tree.m * len(tree.family) * copies


@compiled
def symbol(tree, lanes, j, level, node):
    """The true symbol of a node of lane j."""
    row = (j % lanes.data * lanes.subtrees + j // lanes.data) * int_at(tree.nodes, level)
    return int_at(int_at(lanes.x, level), row + node)


@compiled
def run_sampling(real, first_tile, last_tile, ws, tree, lanes, out, seed, samples, given, y, weights):
    """Upward, then from the root down a rule for each node, given its symbol: only m rules are looked at.

    y: addresses a level of int64 (data, samples, nodes); the top's symbol is there already if given = 1.
    weights: address of float64 room for m or num_classes numbers. The random bits of a draw depend on the seed,
    the datum, the sample and the node, and on nothing else.
    """
    W, s, top, v = LANE_BYTES // itemsize(real), len(tree.family), tree.top, int_at(tree.symbols, 0)
    for tile in range(first_tile, last_tile):
        first = tile * W
        last = min(first + W, lanes.count)
        go_up(real, ws, tree, lanes, out, first)
        for level in range(top + 1 - given, 0, -1):
            for node in range(int_at(tree.nodes, min(level, top))):
                if level == 1:
                    for leaf in range(node * s, node * s + s):
                        read_leaf(real, ws, tree, lanes, first, leaf)
                for j in range(first, last):
                    lane, datum, subtree = (j - first) * itemsize(real), j % lanes.data, j // lanes.data
                    whole = subtree * int_at(tree.nodes, min(level, top)) + node
                    for k in range(samples):
                        row = datum * samples + k
                        random = mix(mix(seed + np.uint64(row)) + np.uint64(whole * 64 + tree.lowest + level))
                        row = row * lanes.subtrees + subtree
                        if level > top:
                            symbols = int_at(tree.symbols, top)
                            for a in range(symbols):
                                at = ws + a * LANE_BYTES + lane
                                p = get(real, at + int_at(tree.down, top)) * get(real, at + int_at(tree.up, top))
                                put(weights + 8 * a, np.float64(p))
                            put(int_at(y, top) + row * 8, draw(weights, symbols, random))
                            continue
                        parent = int_at(int_at(y, level), row * int_at(tree.nodes, level) + node)
                        rule = table(tree, tree.rules, level - 1, 1) + 4 * parent * tree.m * s
                        children = ws + block(tree, level - 1, node * s) + lane
                        for q in range(tree.m):
                            p = 1.0
                            for i in range(s):
                                p *= get(real, children + offset_at(rule, q * s + i))
                            put(weights + 8 * q, p)
                        rule += 4 * s * draw(weights, tree.m, random)
                        place = int_at(y, level - 1) + (row * int_at(tree.nodes, level - 1) + node * s) * 8
                        for i in range(s):
                            put(place + 8 * i, offset_at(rule, i) // LANE_BYTES - i * v)


@compiled
def draw(weights, count, random):
    """An index below count with the weights at this address, from 64 random bits."""
    total = 0.0
    for k in range(count):
        total += get(1.0, weights + 8 * k)
    left, chosen = (random >> np.uint64(11)) * 2.0**-53 * total, np.int64(0)
    for k in range(count):
        weight = get(1.0, weights + 8 * k)
        if weight > 0:
            chosen = k
            if left < weight:
                break
            left -= weight
    return chosen


@compiled
def mix(x):
    """The x-th of a sequence of 64-bit numbers that pass for random (SplitMix64; Steele, Lea & Flood 2014)."""
    x *= np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
