"""How far changes of one leaf reach up a tree: a mean field over the random rules.

A string of a subtree whose root is y walks by changes of one leaf that keep it a string of y. Some of its states are
one change away from strings of other roots: r_l is the fraction of the other symbols that are within reach at level l.
What repairs errors, s m (v-1)/(v^s-1) < 1 (`hierlib.theory.meanfield`), also keeps single changes from the class.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hierlib.grammar import check_parameters, whole

Array = NDArray[np.float64]


def mean_cluster(m: int, p: float) -> float:
    """Mean size of the cluster of a node in a random graph of m nodes, two of which are joined with probability p.

    The cluster is explored node by node; it ends where all nodes found have been looked at. The sum is exact.

    Args:
        m: number of nodes, at least 1.
        p: in [0, 1].

    Returns:
        The mean size, from 1 at p = 0 to m at p = 1.

    Raises:
        ValueError: m or p is out of range.

    >>> mean_cluster(2, 0.25)
    1.25
    """
    m = whole("m", m, 1)
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability, got {p}")
    stay = np.zeros((m, m))  # how many of some unseen nodes one more leaves unseen: binomial, row by row
    stay[0, 0] = 1
    for u in range(1, m):
        stay[u] = p * stay[u - 1]
        stay[u, 1:] += (1 - p) * stay[u - 1, :-1]
    unseen, mean = np.zeros(m), 0.0  # the law of how many nodes have not been found
    unseen[m - 1] = 1.0
    for explored in range(1, m + 1):
        unseen = unseen @ stay  # each of them is joined to the node that is looked at, or stays
        mean += explored * unseen[m - explored]  # nothing found is left to look at
        unseen[m - explored] = 0.0
    return float(mean)


def reach_mean_field(v: int, m: int, s: int, L: int) -> Array:
    """The fraction of other symbols that single legal changes of a leaf can reach, level by level.

    r_l = 1 - exp(-ρ r_{l-1} S), r_0 = 1, with ρ = m/m_c = s m (v-1)/(v^s-1). A rule's tuple has s(v-1) tuples that
    differ from it in one child, of which another symbol has ρ on average. S is the mean number of rules of the root
    among which the walk can move, the cluster of a rule in a random graph of m rules, two of them joined with
    probability r_{l-1}/m_c. Without clusters, S = 1, r_l ≈ ρ^l.

    The closure takes children for independent, and what is within reach for a random set: where ρ is near 1 it is too
    high by up to a half (v = 16, l = 4).

    Args:
        v, m, s: of the grammars, see `hierlib.Grammar`.
        L: levels, any number from 1 on; no tree of this depth is made.

    Returns:
        (L+1,), r_0 = 1 first.

    Raises:
        ValueError: there are no such grammars.

    >>> reach_mean_field(v=16, m=4, s=2, L=4).round(2)
    array([1.  , 0.49, 0.24, 0.12, 0.06])
    """
    check_parameters(v, m, s, 1, v)
    few = s * (v - 1) / (v**s - 1)  # 1/m_c
    r = [1.0]
    for _ in range(whole("L", L, 1)):
        r.append(-math.expm1(-m * few * r[-1] * mean_cluster(m, few * r[-1])))
    return np.array(r)
