"""Moments of how many leaves change: upward messages that are polynomials in h, cut after h², of a weight e^h a change.

A polynomial is three numbers side by side: the weight of a symbol, that times the mean number of changes below it, and
that times half of their mean square. Changes are counted from the mean of the node, so that no small variance is the
difference of large squares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierlib._kernels.compiled.layout import compiled, entry

Polynomials = NDArray[np.float64]  # (nodes, batch, symbols, 3)


@entry
def leaves_of(evidence: NDArray[np.float64], x0: NDArray[np.int64], out: Polynomials) -> None:
    """Messages of the leaves from evidence (batch, leaves, v), and x0 (batch, leaves), from which a change is one."""
    batch, leaves, v = evidence.shape
    for leaf in range(leaves):
        for k in range(batch):
            for a in range(v):
                weight = evidence[k, leaf, a]
                change = weight if a != x0[k, leaf] else 0.0
                out[leaf, k, a, 0], out[leaf, k, a, 1], out[leaf, k, a, 2] = weight, change, change / 2
            centre(out, leaf, k)


@entry
def parents_of(below: Polynomials, rule: NDArray[np.int64], weights: NDArray[np.float64], out: Polynomials) -> None:
    """Messages of the parents from those of their children and rules (symbols, m, s) of some weights, eq. (7)."""
    symbols, m, s = rule.shape
    nodes, batch = out.shape[:2]
    for node in range(nodes):
        for k in range(batch):
            for a in range(symbols):
                t0, t1, t2 = 0.0, 0.0, 0.0
                for r in range(m):
                    x0, x1, x2 = weights[a, r], 0.0, 0.0
                    for i in range(s):
                        child, b = node * s + i, rule[a, r, i]
                        y0, y1, y2 = below[child, k, b, 0], below[child, k, b, 1], below[child, k, b, 2]
                        x0, x1, x2 = x0 * y0, x0 * y1 + x1 * y0, x0 * y2 + x1 * y1 + x2 * y0
                    t0, t1, t2 = t0 + x0, t1 + x1, t2 + x2
                out[node, k, a, 0], out[node, k, a, 1], out[node, k, a, 2] = t0, t1, t2
            centre(out, node, k)


@compiled
def centre(u: Polynomials, node: int, k: int) -> None:
    """Normalises the weights of a node, and counts its changes from their mean."""
    total, first = 0.0, 0.0
    for a in range(u.shape[2]):
        total, first = total + u[node, k, a, 0], first + u[node, k, a, 1]
    mean = first / total
    for a in range(u.shape[2]):
        t0, t1, t2 = u[node, k, a, 0] / total, u[node, k, a, 1] / total, u[node, k, a, 2] / total
        u[node, k, a, 0], u[node, k, a, 1], u[node, k, a, 2] = t0, t1 - mean * t0, t2 - mean * t1 + mean * mean / 2 * t0
