"""Posterior sampling on one tile: up as in `_kernels.compiled.tile`, then from the root down a rule for each node."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hierlib._kernels.compiled.lanes import finish, read_leaf
from hierlib._kernels.compiled.layout import Data, Int, Tile, Tree, block, block_bytes, compiled, entry, name_of, table
from hierlib._kernels.compiled.simd import LANE_BYTES, get, int_at, itemsize, offset_at, prefetch, put
from hierlib._kernels.compiled.tile import evidence_of, go_up


class Draws(NamedTuple):
    """Where the randomness of samples comes from, and where they go."""

    keys: int  # address of uint64 (n, samples): for each draw of a datum; a node's name is added to make its own
    samples: int  # how many of each datum
    y: int  # addresses a level of int64 (nodes, n, samples)
    weights: int  # address of float64, room for m or num_classes numbers


@entry
def run_sampling(
    real: np.floating, begin: int, end: int, data: int, ws: int, tree: Tree, io: Data, draws: Draws
) -> None:
    """Upward, then from the root down a rule for each node, given its symbol: only m rules are looked at."""
    keys, samples, y, weights = draws
    for first in range(begin, end, data):
        tile = Tile(ws, tree, io, first, data)
        go_up(real, tile)
        finish(real, tile)
        for k in range(data):
            for draw in range((first + k) * samples, (first + k + 1) * samples):
                random = random_of(keys, draw, 0, tree.top + 1)
                draw_root(real, ws, tree, k * itemsize(real), random, weights, int_at(y, tree.top) + 8 * draw)
        for level in range(tree.top - 1, -1, -1):
            for node in range(int_at(tree.nodes, level + 1)):
                draw_family(real, tile, draws, level, node)


@compiled
def draw_family(real: np.floating, tile: Tile, draws: Draws, level: Int, node: Int) -> None:
    """Draw the children, at this level, of a node of each subtree or column."""
    (ws, tree, io, first, data), (keys, samples, y, weights) = tile, draws
    s, m, v, size = len(tree.family), tree.m, int_at(tree.symbols, 0), itemsize(real)
    here = ws + int_at(tree.split, level) if level >= tree.cut else ws + block(tree, level, node * s)
    ahead, per_child, per_symbol = here + s * block_bytes(tree, level), block_bytes(tree, level), LANE_BYTES
    if level == 0 and int_at(tree.slots, 0) < int_at(tree.nodes, 0):
        for leaf in range(node * s, node * s + s):
            read_leaf(real, tile, leaf)
        ahead, per_child, per_symbol = evidence_of(real, io, first, node * s + s), io.per_leaf, io.per_symbol
    for row in range(s * v if ahead != 0 else 0):  # the next family is fetched while this one is drawn
        prefetch(ahead + row // v * per_child + row % v * per_symbol)
    rules, above, below = table(tree, tree.rules, level, 1), int_at(y, level + 1), int_at(y, level)
    for column in range(int_at(tree.columns, level + 1)):
        name = name_of(tree, level + 1, column, node)
        for k in range(data):
            children = here + (column * data + k) * size
            for draw in range((first + k) * samples, (first + k + 1) * samples):
                rule = rules + 4 * int_at(above, name * io.n * samples + draw) * m * s
                total = 0.0
                for q in range(m):
                    p = np.float64(get(real, children + offset_at(rule, q * s)))
                    for i in range(1, s):
                        p *= get(real, children + offset_at(rule, q * s + i))
                    if len(tree.weighted) > 1:
                        p *= get(1.0, tree.weights + 2 * (rule + 4 * q * s))
                    total += p
                    put(weights + 8 * q, total)
                rule += 4 * s * choose(weights, m, random_of(keys, draw, name, level + 1))
                for i in range(s):
                    symbol = offset_at(rule, i) // LANE_BYTES - i * (v + 1)
                    put(below + 8 * ((name * s + i) * io.n * samples + draw), symbol)


@compiled
def draw_root(real: np.floating, ws: int, tree: Tree, lane: int, random: np.uint64, weights: int, there: int) -> None:
    symbols, total = int_at(tree.symbols, tree.top), 0.0
    for a in range(symbols):
        here = ws + a * LANE_BYTES + lane
        total += get(real, here + int_at(tree.down, tree.top)) * get(real, here + int_at(tree.up, tree.top))
        put(weights + 8 * a, total)
    put(there, choose(weights, symbols, random))


@compiled
def choose(cumulative: int, count: int, random: np.uint64) -> np.int64:
    """An index below count, given the running sums of the weights and 64 random bits."""
    level = (random >> np.uint64(11)) * 2.0**-53 * get(1.0, cumulative + 8 * (count - 1))
    chosen = np.int64(0)
    for i in range(count - 1):  # no early end: nothing could predict it
        chosen += get(1.0, cumulative + 8 * i) <= level
    return chosen


@compiled
def random_of(keys: int, draw: int, node: Int, level: Int) -> np.uint64:
    """64 bits that pass for random, of a draw at a node (SplitMix64; Steele, Lea & Flood 2014)."""
    x = np.uint64(int_at(keys, draw)) + np.uint64(node * 64 + level)
    x *= np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
