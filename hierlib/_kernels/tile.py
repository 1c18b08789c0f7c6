"""Belief propagation on one tile: as many data as a vector has lanes, once up and once down the tree, in numba.

A message of one node is a block of rows in the workspace, one row a symbol, one lane a datum, and a last row with
the factor that normalises the others. A sum over rules is then a chain of whole-vector multiply-adds, whose operands
the rule table names by their offset in bytes. The workspace holds the upward messages of a tile; the downward ones
are needed only of one family a level, for the tree is walked depth first: up when the last child is done, and down
in the reverse order, so that what was written last is read first.

Every field below that is not said to be a number is the address of an array of int64, one element a level.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
from numba import njit

from hierlib._kernels import simd
from hierlib._kernels.simd import (
    LANE_BYTES,
    fma,
    get,
    int_at,
    itemsize,
    largest,
    load,
    load_anywhere,
    load_some,
    moderate,
    multiply_log,
    offset_at,
    power_of_two,
    put,
    put_some,
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
    rest: int  # addresses of (lanes,): ε/v and 1-ε+ε/v
    truth: int
    x: int  # addresses of int64 (nodes, data): true symbols; 0 where no overlap is wanted
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
    """Compile, and keep the machine code on disk where a folder can be written.

    numba renews stored code when the file of the function changes, but not when `hierlib._kernels.simd` does, which
    is compiled into it: code that was made from other sources would corrupt memory. So each state of the sources
    has a folder of its own.
    """
    inner = not function.__name__.startswith("run")  # called by no Python
    options = dict(nogil=True, error_model="numpy", no_cfunc_wrapper=True, no_cpython_wrapper=inner)
    before = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(_code_folder())
        return njit(cache=True, **options)(function)
    except (RuntimeError, OSError):  # no such folder
        return njit(**options)(function)
    finally:
        numba.config.CACHE_DIR = before


def _code_folder() -> Path:
    """Under $NUMBA_CACHE_DIR or the user's cache folder, named by the sources and all else that is compiled in."""
    sources = b"".join(Path(file).read_bytes() for file in (__file__, simd.__file__))
    digest = hashlib.sha256(sources + f"{LANE_BYTES} {numba.__version__}".encode()).hexdigest()[:16]
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(numba.config.CACHE_DIR or user / "hierlib") / f"kernels-{digest}"


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
    mantissa, exponent = out.mantissa + first * 8, out.exponent + first * 8
    low, high = splat(real, 1), splat(real, 0)
    for leaf in range(int_at(tree.nodes, 0)):
        seen, scale = read_leaf(real, ws, tree, lanes, first, leaf)
        high, low = largest(high, seen), smallest(low, scale)
        if not moderate(seen):
            multiply_log(mantissa, exponent, scale)
        level, node = np.int64(0), leaf + 1
        while level < tree.top and node % s == 0:
            node //= s
            children = ws + block(tree, level, (node - 1) * s)
            total = up_node(real, tree, level, children, ws + block(tree, level + 1, node - 1))
            low = smallest(low, total)
            multiply_log(mantissa, exponent, total)
            level += 1
    symbols = int_at(tree.symbols, tree.top)
    root, down = ws + int_at(tree.up, tree.top), ws + int_at(tree.down, tree.top)
    evidence = splat(real, 0)
    for y in range(symbols):
        prior = load(real, lanes.prior + lane * symbols + y * LANE_BYTES)
        put(down + y * LANE_BYTES, prior)
        evidence = fma(prior, load(real, root + y * LANE_BYTES), evidence)
    put(down + symbols * LANE_BYTES, splat(real, 1))
    settle(real, ws, tree, lanes, out, first, tree.top, np.int64(0), down, evidence)
    evidence = evidence * load(real, root + symbols * LANE_BYTES)
    multiply_log(mantissa, exponent, evidence)
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
            parent = ws + int_at(tree.down, level + 1) + (node - 1) % s * block_bytes(tree, level + 1)
            children = ws + block(tree, level, (node - 1) * s)
            for i in range(s):
                into = ws + int_at(tree.down, level) + i * block_bytes(tree, level)
                evidence = down_node(real, tree, level, i, parent, children, into)
                low = smallest(low, evidence)
                settle(real, ws, tree, lanes, out, first, level, (node - 1) * s + i, into, evidence)
            level, node = level - 1, node * s
    put(out.low + lane, low)


@compiled
def up_node(real, tree, level, children, into):
    """Eq. (7) = (16, 17): the message of a node at level + 1; returns the sum of it for normalised children."""
    s, symbols, child = len(tree.family), int_at(tree.symbols, level + 1), block_bytes(tree, level)
    rule = table(tree, tree.rules, level, 1)
    factor = load(real, children + child - LANE_BYTES)
    for i in range(1, s):
        factor = factor * load(real, children + (i + 1) * child - LANE_BYTES)
    total = splat(real, 0)
    for y in range(symbols):
        over_rules = splat(real, 0)
        for _ in range(tree.m):
            product = load(real, children + offset_at(rule, 0))
            for i in range(1, s - 1):
                product = product * load(real, children + offset_at(rule, i))
            over_rules = fma(product, load(real, children + offset_at(rule, s - 1)), over_rules)
            rule += 4 * s
        over_rules = over_rules * factor
        put(into + y * LANE_BYTES, over_rules)
        total = total + over_rules
    close(real, symbols, into, total)
    return total


@compiled
def down_node(real, tree, level, i, parent, children, into):
    """Eq. (8) = (18, 19): the message to the i-th child, at this level; returns the sum of its product with ν↑.

    The rules are listed by the child's symbol, so this is the loop of `up_node` with the parent as one factor.
    """
    s, v, child = len(tree.family), int_at(tree.symbols, level), block_bytes(tree, level)
    rule = table(tree, tree.lists, level, s) + 4 * i * int_at(tree.symbols, level + 1) * tree.m * s
    uses = tree.uses + 4 * ((tree.lowest + level) * s + i) * v
    factor = load(real, parent + block_bytes(tree, level + 1) - LANE_BYTES)
    for j in range(s):
        if j != i:
            factor = factor * load(real, children + (j + 1) * child - LANE_BYTES)
    total, evidence = splat(real, 0), splat(real, 0)
    for a in range(v):
        over_rules = splat(real, 0)
        for _ in range(offset_at(uses, a)):
            product = load(real, parent + offset_at(rule, 0))
            for j in range(1, s - 1):
                product = product * load(real, children + offset_at(rule, j))
            over_rules = fma(product, load(real, children + offset_at(rule, s - 1)), over_rules)
            rule += 4 * s
        over_rules = over_rules * factor
        put(into + a * LANE_BYTES, over_rules)
        total = total + over_rules
        evidence = fma(over_rules, load(real, children + i * child + a * LANE_BYTES), evidence)
    close(real, v, into, total)
    return evidence if moderate(total) else evidence / total


@compiled
def close(real, symbols, into, total):
    """Put the normalising factor below a block; if it is far from 1, so that products might underflow, use it now."""
    factor = splat(real, 1) / total
    if not moderate(total):
        for a in range(symbols):
            put(into + a * LANE_BYTES, load(real, into + a * LANE_BYTES) * factor)
        factor = splat(real, 1)
    put(into + symbols * LANE_BYTES, factor)


@compiled
def settle(real, ws, tree, lanes, out, first, level, node, down, evidence):
    """Write what is wanted of a node whose downward message is known: its marginal is ν↑·ν↓ / evidence."""
    up, last = ws + block(tree, level, node), int_at(tree.symbols, level) * LANE_BYTES
    if int_at(out.marginals, level) != 0:
        there = int_at(out.marginals, level)
        write(real, tree, lanes, out, first, level, node, up, down, LANE_BYTES, splat(real, 1) / evidence, there)
    if int_at(out.up, level) != 0:
        write(real, tree, lanes, out, first, level, node, up, up + last, 0, splat(real, 1), int_at(out.up, level))
    if int_at(out.down, level) != 0:
        write(real, tree, lanes, out, first, level, node, down, down + last, 0, splat(real, 1), int_at(out.down, level))
    if int_at(lanes.x, level) != 0:
        put(ws, evidence)
        for j in range(first, min(first + LANE_BYTES // itemsize(real), lanes.count)):
            lane = (j - first) * itemsize(real)
            row = int_at(int_at(lanes.x, level), place_of(tree, lanes, j, level, node)) * LANE_BYTES + lane
            sum_at = int_at(out.overlap, level) + 8 * j
            put(sum_at, get(1.0, sum_at) + get(real, up + row) * get(real, down + row) / get(real, ws + lane))


@compiled
def write(real, tree, lanes, out, first, level, node, here, other, step, factor, there):
    """Write a block, times another (of which step = 0 takes one row only), times a factor, to its place in a result."""
    symbols, W = int_at(tree.symbols, level), LANE_BYTES // itemsize(real)
    if lanes.subtrees == 1 and first + W <= lanes.count:
        there += node * symbols * out.row + first * itemsize(real)
        for a in range(symbols):
            stream(there + a * out.row, load(real, here + a * LANE_BYTES) * load(real, other + a * step) * factor)
        return
    j, last = first, min(first + W, lanes.count)
    while j < last:  # the data of one subtree at a time
        subtree = j // lanes.data
        end = min(last, (subtree + 1) * lanes.data)
        place = there + (subtree * int_at(tree.nodes, level) + node) * symbols * out.row
        place += (first - subtree * lanes.data) * itemsize(real)
        for a in range(symbols):
            x = load(real, here + a * LANE_BYTES) * load(real, other + a * step) * factor
            put_some(place + a * out.row, x, j - first, end - first)
        j = end


@compiled
def read_leaf(real, ws, tree, lanes, first, leaf):
    """Copy in a leaf's evidence; returns its maximum, and the power of two that it was divided by if far from 1."""
    W, v, into = LANE_BYTES // itemsize(real), int_at(tree.symbols, 0), ws + block(tree, 0, leaf)
    there, step = lanes.evidence + first * lanes.per_datum + leaf * lanes.per_leaf, lanes.per_symbol
    if lanes.evidence == 0 or lanes.subtrees > 1 or first + W > lanes.count or lanes.per_datum != itemsize(real):
        collect_leaf(real, tree, lanes, first, leaf, into)
        there, step = into, LANE_BYTES
    high = splat(real, 0)
    for a in range(v):
        x = load_anywhere(real, there + a * step) + splat(real, 0)  # makes -0 a zero
        high = largest(high, x)
        put(into + a * LANE_BYTES, x)
    scale = splat(real, 1) if moderate(high) else power_of_two(high)
    close(real, v, into, scale)
    return high, scale


@compiled
def collect_leaf(real, tree, lanes, first, leaf, into):
    """Lane by lane, or run by run: evidence that does not stand in whole vectors, or is made of true symbols."""
    v, size, per_leaf = int_at(tree.symbols, 0), itemsize(real), lanes.per_leaf
    last = min(first + LANE_BYTES // size, lanes.count)
    rest = splat(real, 1)  # for the lanes past the end
    if lanes.evidence == 0:
        rest = load(real, lanes.rest + first * size)
    for a in range(v):
        put(into + a * LANE_BYTES, rest)
    j = first
    while j < last:
        subtree, end = 0 if lanes.subtrees == 1 else j // lanes.data, j + 1
        there = lanes.evidence + (subtree * int_at(tree.nodes, 0) + leaf) * per_leaf
        if lanes.evidence == 0:
            symbol = int_at(int_at(lanes.x, 0), place_of(tree, lanes, j, np.int64(0), leaf))
            put(into + symbol * LANE_BYTES + (j - first) * size, get(real, lanes.truth + j * size))
        elif lanes.per_datum == size:
            end = min(last, (subtree + 1) * lanes.data)
            there += (first - subtree * lanes.data) * size
            for a in range(v):
                row = load(real, into + a * LANE_BYTES)
                put(into + a * LANE_BYTES, load_some(real, there + a * lanes.per_symbol, j - first, end - first, row))
        else:
            here = into + (j - first) * size
            there += j % lanes.data * lanes.per_datum
            for a in range(v):
                put(here + a * LANE_BYTES, get(real, there + a * lanes.per_symbol))
        j = end


@compiled
def block_bytes(tree, level):
    return (int_at(tree.symbols, level) + 1) * LANE_BYTES


@compiled
def block(tree, level, node):
    """Where in the workspace the upward message of a node stands."""
    return int_at(tree.up, level) + node % int_at(tree.slots, level) * block_bytes(tree, level)


@compiled
def table(tree, address, level, copies):
    """Where a level's part of the rules begins; the root's rules are the last."""
    return address + 4 * (tree.lowest + level) * int_at(tree.symbols, 0) * tree.m * len(tree.family) * copies


@compiled
def place_of(tree, lanes, j, level, node):
    """Where lane j stands in (nodes, data)."""
    if lanes.subtrees == 1:
        return node * lanes.data + j
    return (j // lanes.data * int_at(tree.nodes, level) + node) * lanes.data + j % lanes.data


@compiled
def run_sampling(real, first_tile, last_tile, ws, tree, lanes, out, keys, samples, given, y, weights):
    """Upward, then from the root down a rule for each node, given its symbol: only m rules are looked at.

    keys: address of uint64 (data, samples), a random number for each draw of a datum, to which a node's name is
    added to make its own; y: addresses a level of int64 (nodes, data, samples), in which the top's symbol stands
    already if given = 1; weights: address of float64 room for m or num_classes numbers.
    """
    W, s, top, v = LANE_BYTES // itemsize(real), len(tree.family), tree.top, int_at(tree.symbols, 0)
    for tile in range(first_tile, last_tile):
        first = tile * W
        go_up(real, ws, tree, lanes, out, first)
        for level in range(top + 1 - given, 0, -1):
            for node in range(int_at(tree.nodes, min(level, top))):
                if level == 1:
                    for leaf in range(node * s, node * s + s):
                        read_leaf(real, ws, tree, lanes, first, leaf)
                for j in range(first, min(first + W, lanes.count)):
                    lane = (j - first) * itemsize(real)
                    place = place_of(tree, lanes, j, min(level, top), node)
                    name = np.uint64(place // lanes.data * 64 + tree.lowest + level)
                    for k in range(place * samples, place * samples + samples):
                        key = int_at(keys, k - (place // lanes.data) * lanes.data * samples)
                        random = mix(np.uint64(key) + name)
                        if level > top:
                            draw_root(real, ws, tree, lane, random, weights, int_at(y, top) + 8 * k)
                            continue
                        parent = int_at(int_at(y, level), k)
                        rule = table(tree, tree.rules, level - 1, 1) + 4 * parent * tree.m * s
                        children = ws + block(tree, level - 1, node * s) + lane
                        total = 0.0
                        for q in range(tree.m):
                            p = np.float64(get(real, children + offset_at(rule, q * s)))
                            for i in range(1, s):
                                p *= get(real, children + offset_at(rule, q * s + i))
                            total += p
                            put(weights + 8 * q, total)
                        rule += 4 * s * draw(weights, tree.m, random)
                        below = place_of(tree, lanes, j, level - 1, node * s) * samples + k - place * samples
                        for i in range(s):
                            symbol = (offset_at(rule, i) - i * (v + 1) * LANE_BYTES) // LANE_BYTES
                            put(int_at(y, level - 1) + 8 * (below + i * lanes.data * samples), symbol)


@compiled
def draw_root(real, ws, tree, lane, random, weights, there):
    symbols, total = int_at(tree.symbols, tree.top), 0.0
    for a in range(symbols):
        here = ws + a * LANE_BYTES + lane
        total += get(real, here + int_at(tree.down, tree.top)) * get(real, here + int_at(tree.up, tree.top))
        put(weights + 8 * a, total)
    put(there, draw(weights, symbols, random))


@compiled
def draw(cumulative, count, random):
    """An index below count, given the running sums of the weights and 64 random bits."""
    level = (random >> np.uint64(11)) * 2.0**-53 * get(1.0, cumulative + 8 * (count - 1))
    below = np.int64(0)
    for k in range(count - 1):
        below += get(1.0, cumulative + 8 * k) <= level
    return below


@compiled
def mix(x):
    """The x-th of a sequence of 64-bit numbers that pass for random (SplitMix64; Steele, Lea & Flood 2014)."""
    x *= np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
