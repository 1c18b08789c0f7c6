"""Mean field of the ε-process: belief propagation averaged over grammars, and its fixed points (appendix B).

Averaged over the random rules (an annealed average), an upward message depends on one number, the belief p in
the true symbol, and a downward message on p and q. Everything here is float64 and broadcasts over all its
arguments as numpy does; m may be any real number ≥ 1, so that curves can be drawn through the integers.
The classes are taken to be as many as the symbols, num_classes = v.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class MeanField(NamedTuple):
    """Mean-field beliefs in the true symbol; the last axis is the level, 0 = leaves … L = class."""

    p: Array  #: upward belief, eq. (55)
    q: Array  #: downward belief, eq. (56)
    P: Array  #: marginal, eq. (62)


def upward_map(p: ArrayLike, v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """The belief in the true parent if its s children have belief p, F(p), eqs. (11) = (38) = (41).

    Args:
        p: belief in the true symbol of a child, in [0, 1].
        v: alphabet size, an integer ≥ 2.
        m: rules per symbol, 1 ≤ m ≤ v^(s-1).
        s: branching factor, an integer ≥ 2.

    Returns:
        F(p) in [0, 1], of the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of range.

    >>> upward_map([1 / 32, 0.5, 1.0], v=32, m=8, s=2).round(4)
    array([0.0312, 0.5839, 1.    ])
    """
    v, m, s = _parameters(v, m, s)
    p = _probability("p", p)
    n, ps = v**s - 1, p**s
    return (ps + (m - 1) / n * (1 - ps)) / (ps + (m * v - 1) / n * (1 - ps))


def upward_map_derivative(p: ArrayLike, v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """The slope F'(p) of the upward map, eq. (42); F'(1) < 1 is eqs. (43-45). Arguments as in `upward_map`.

    >>> float(upward_map_derivative(1.0, v=32, m=8, s=2).round(4))
    0.4848
    """
    v, m, s = _parameters(v, m, s)
    p = _probability("p", p)
    n, ps = v**s - 1, p**s
    return s * p ** (s - 1) * (m * (v - 1) / n) / (ps + (m * v - 1) / n * (1 - ps)) ** 2


def upward_excess(p: ArrayLike, v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """What the annealed average of `upward_map` costs: the mean message over F(p), minus 1, to second order.

    The total belief in the drawn tuples fluctuates from table to table of rules; it does not where all are drawn.

    Args:
        p, v, m, s: as in `upward_map`.

    Returns:
        Not negative, of the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of range, or m = 1 and p = 0, where F(p) = 0.

    >>> float(upward_excess(0.4, v=32, m=8, s=2).round(4))
    0.0041
    """
    v, m, s = _parameters(v, m, s)
    p = _probability("p", p)
    n, drawn = v**s - 1, m * v - 1
    spread = (p**2 + (1 - p) ** 2 / (v - 1)) ** s - p ** (2 * s)
    variance = drawn * (n - drawn) / (n - 1) * (spread / n - ((1 - p**s) / n) ** 2)
    total, own = (p**s + share / n * (1 - p**s) for share in (drawn, m - 1))
    if np.any(own == 0):
        raise ValueError("expected a message that can be in the truth, got m = 1 and p = 0: F(p) = 0 has no ratio")
    return (1 - (m - 1) / drawn * total / own) * variance / total**2


def downward_map(q: ArrayLike, p: ArrayLike, v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """The downward belief in a true child from that in its parent and the upward one in its siblings, eq. (53).

    Args:
        q: downward belief in the true symbol of the parent, in [0, 1].
        p: upward belief in the true symbol of each of the s-1 siblings, in [0, 1].
        v, m, s: as in `upward_map`.

    Returns:
        F↓(q, p) in [0, 1], of the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of range, or m = q = 1 and p = 0, which no rule explains.
    """
    v, m, s = _parameters(v, m, s)
    q, p = _probability("q", q), _probability("p", p)
    c, ps = (m - q) / (v**s - 1), p ** (s - 1)
    total = q * ps + c * (v - ps)
    if np.any(total == 0):
        raise ValueError("expected evidence that some rule explains, got m = 1, q = 1 and p = 0: no rule has weight")
    return (q * ps + c * (1 - ps)) / total


def marginal(p: ArrayLike, q: ArrayLike, v: ArrayLike) -> Array:
    """The posterior probability of the true symbol from its upward and downward beliefs, eq. (62).

    Args:
        p, q: upward and downward belief in the true symbol, in [0, 1].
        v: alphabet size, an integer ≥ 2.

    Returns:
        P in [0, 1], of the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of range, or p and q contradict each other (one is 0, the other 1).
    """
    p, q, v = _probability("p", p), _probability("q", q), _integer("v", v)
    total = p * q + (1 - p) * (1 - q) / (v - 1)
    if np.any(total == 0):
        raise ValueError("expected p and q that agree on some symbol, got 0 and 1")
    return p * q / total


def leaf_belief(eps: ArrayLike, v: ArrayLike) -> Array:
    """Belief in the true leaf at noise ε, p_0 = 1-ε+ε/v, eqs. (10) = (21) = (60); ε in [0, 1]."""
    eps, v = _probability("eps", eps), _integer("v", v)
    return 1 - eps + eps / v


def solve(eps: ArrayLike, v: ArrayLike, m: ArrayLike, s: ArrayLike, L: int) -> MeanField:
    """Iterate the mean field up the tree and down again, eqs. (57-62).

    Args:
        eps: noise of the leaves, in [0, 1].
        v, m, s: as in `upward_map`.
        L: number of levels, an integer ≥ 1.

    Returns:
        `MeanField` (p, q, P), each of shape broadcast(eps, v, m, s) + (L+1,); index l of the last axis is
        level l, from p_0 = 1-ε+ε/v at the leaves to q_L = 1/v at the class.

    Raises:
        ValueError: an argument is out of range.

    >>> solve(eps=0.5, v=32, m=8, s=2, L=10).P[[0, 7, 10]].round(4)  # leaves, the best-kept level, class
    array([0.9807, 0.9996, 0.9981])
    """
    if isinstance(L, bool) or not isinstance(L, int | np.integer) or L < 1:
        raise ValueError(f"L: expected an integer number of levels ≥ 1, got {L!r}")
    eps, v, m, s = np.broadcast_arrays(_probability("eps", eps), *_parameters(v, m, s))
    p = [leaf_belief(eps, v)]
    for _ in range(L):
        p.append(_clip(upward_map(p[-1], v, m, s)))
    q = [1 / v]
    for level in reversed(range(L)):
        q.insert(0, _clip(downward_map(q[0], p[level], v, m, s)))
    up, down = np.stack(p, -1), np.stack(q, -1)
    return MeanField(up, down, marginal(up, down, v[..., None]))


def fixed_points(v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """The three non-negative fixed points 1/v, p*, 1 of the upward map.

    p* is the one positive root of Σ_{k<s} (v^k - m) p^k; for s = 2 it is (m-1)/(v-m). It passes through 1/v at
    m = m_KS and through 1 at m = m_c, and takes over the stability of the point it passes: only between the two
    it is a probability that separates a lost class from a kept one. It is 0 at m = 1 and infinite at m = v^(s-1).

    Args:
        v, m, s: as in `upward_map`.

    Returns:
        Array of shape broadcast(v, m, s) + (3,), in the order 1/v, p*, 1.

    Raises:
        ValueError: an argument is out of range.

    >>> fixed_points(v=32, m=8, s=2).round(4)
    array([0.0312, 0.2917, 1.    ])
    """
    v, m, s = np.broadcast_arrays(*_parameters(v, m, s))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(s == 2, (m - 1) / (v - m), np.inf)
    open_ = (s > 2) & (m < v ** (s - 1))
    if open_.any():
        p[open_] = _root(v[open_], m[open_], s[open_])
    return np.stack([1 / v, np.where(m == 1, 0.0, p), np.ones_like(v)], -1)


def critical_noise(v: ArrayLike, m: ArrayLike, s: ArrayLike) -> Array:
    """The threshold ε* of a tree of infinite depth: the class is kept for ε < ε* and lost for ε > ε*.

    ε* = v(1-p*)/(v-1) where p* lies between chance and 1, for s = 2 v(v-2m+1)/((v-1)(v-m)); it is 1 where the
    class is always kept and 0 where it never is. Arguments as in `upward_map`.

    >>> critical_noise(v=32, m=[1, 8, 20], s=2).round(4)
    array([1.    , 0.7312, 0.    ])
    """
    points = fixed_points(v, m, s)
    chance, star = points[..., 0], points[..., 1]
    return (1 - np.clip(star, chance, 1)) / (1 - chance)


def m_KS(v: ArrayLike, s: ArrayLike) -> Array:
    """The Kesten-Stigum number of rules, s v^(s-1)(v-1)/(v^s-1) ≈ s, where F'(1/v) = 1.

    With m ≤ m_KS rules the class is kept at every ε < 1. Arguments as in `upward_map`.
    """
    v, _, s = _parameters(v, 1, s)
    return s * v ** (s - 1) * (v - 1) / (v**s - 1)


def m_c(v: ArrayLike, s: ArrayLike) -> Array:
    """The number of rules (v^s-1)/(s(v-1)) from which on F'(1) ≥ 1 and no noise is repaired, eqs. (43-45)."""
    v, _, s = _parameters(v, 1, s)
    return (v**s - 1) / (s * (v - 1))


def phase(v: ArrayLike, m: ArrayLike, s: ArrayLike) -> NDArray[np.str_]:
    """Whether a tree of infinite depth keeps its class: "always" (any ε < 1), "below" (ε < ε*) or "never" (ε > 0).

    Arguments as in `upward_map`; the phases meet at `m_KS` and `m_c`.

    >>> phase(v=8, m=[2, 4, 400], s=4).tolist()
    ['always', 'below', 'never']
    """
    v, m, s = _parameters(v, m, s)
    return np.select([m >= m_c(v, s), m <= m_KS(v, s)], ["never", "always"], "below")[()]


def effective_rules(weights: ArrayLike) -> Array:
    """How many rules of equal weight those of some weights are: m, e^H with H = -Σ w ln w, and 1/Σw².

    Near chance 1/Σw² counts; near certainty it is a number between the other two, see `gain_at_certainty`.

    Args:
        weights: (m,), as from `hierlib.zipf`; those that are zero are no rules.

    Returns:
        (3,), falling; all m if the weights are equal.

    Raises:
        ValueError: they are no distribution.

    >>> effective_rules([0.5, 0.25, 0.25]).round(3)
    array([3.   , 2.828, 2.667])
    """
    w = _weights(weights)
    return np.array([len(w), np.exp(-(w * np.log(w)).sum()), 1 / (w**2).sum()])


def gain_at_chance(weights: ArrayLike, v: int, s: int) -> float:
    """By what a small belief in the class above chance grows a level, F'(1/v) averaged over rules: m_KS·Σw².

    Above 1 the class is kept at every ε < 1 (Kesten-Stigum): with weights where 1/Σw² < `m_KS`.

    Args:
        weights: (m,), as for `effective_rules`.
        v, s: as in `upward_map`.
    """
    return float(m_KS(v, s) / effective_rules(weights)[2])


def gain_at_certainty(weights: ArrayLike, v: int, s: int) -> float:
    """Whether small doubts die out up the tree: below 1 if they do, min over 0 < θ ≤ 1 of s Σ_k w_k (c/w_k)^θ.

    A doubt δ is passed on as (c/w)·Σδ_i, c = (v-1)/(v^s-1), where w is the weight of the rule that was used. Its mean
    grows by m/m_c whatever the weights, but rare rules make up that mean; of a small power of it they do not. With
    uniform rules this is m/m_c = F'(1).

    Args:
        weights: (m,), as for `effective_rules`.
        v, s: as in `upward_map`.
    """
    w, c = _weights(weights), 1 / (float(s) * m_c(v, s))
    theta = np.linspace(0.001, 1, 1000)[:, None]
    return float((s * (w * (c / w) ** theta).sum(1)).min())


class BestKept(NamedTuple):
    """Where the class leads the leaves most."""

    lead: float  #: the largest P_L - P_0 over the noise
    level: int  #: the level with the largest P there
    eps: float  #: the noise there


def best_kept(v: int, m: int, s: int, L: int) -> BestKept:
    """How much better the class is kept than the leaves at best, and whether a level between is kept better still.

    Arguments as in `solve`; the noise is looked for in steps of 0.001.

    >>> best_kept(32, 8, 2, 10).level
    7
    """
    eps = np.linspace(0.005, 0.995, 991)
    P = solve(eps, v, m, s, L).P
    i = int((P[:, L] - P[:, 0]).argmax())
    return BestKept(float(P[i, L] - P[i, 0]), int(P[i].argmax()), float(eps[i]))


def _weights(weights: ArrayLike) -> Array:
    """Those that are not zero, checked."""
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or not (w >= 0).all() or abs(w.sum() - 1) > 1e-9:
        raise ValueError(f"weights: expected (m,) probabilities that sum to one, got {w.tolist()}: see hierlib.zipf")
    return w[w > 0]


def _root(v: Array, m: Array, s: Array) -> Array:
    """The positive root of Σ_{k<s} (v^k - m) p^k, by bisection in u = p/(1+p); 1 < v^(s-1)/m is needed.

    The coefficients change sign once, so there is one root (Descartes).
    """
    low, high = np.zeros_like(v), np.ones_like(v)
    for _ in range(100):
        u = (low + high) / 2
        p = u / (1 - u)
        value = sum(np.where(k < s, (v**k - m) * p**k, 0) for k in range(int(s.max())))
        low, high = np.where(value < 0, u, low), np.where(value < 0, high, u)
    return low / (1 - low)


def _clip(x: Array) -> Array:
    """Remove the last rounding error, by which a map of [0, 1] into itself can leave it."""
    return np.clip(x, 0.0, 1.0)


def _probability(name: str, x: ArrayLike) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if not np.all((x >= 0) & (x <= 1)):
        raise ValueError(f"{name}: expected numbers in [0, 1], got {_worst(x, ~((x >= 0) & (x <= 1)))}")
    return x


def _integer(name: str, x: ArrayLike) -> Array:
    x = np.asarray(x, dtype=np.float64)
    bad = ~((x >= 2) & (x == np.round(x)))
    if np.any(bad):
        raise ValueError(f"{name}: expected integers ≥ 2, got {_worst(x, bad)}")
    return x


def _parameters(v: ArrayLike, m: ArrayLike, s: ArrayLike) -> tuple[Array, Array, Array]:
    """v, m, s as float64 (v^s may exceed an int64, but not a float64), checked."""
    v, s, m = _integer("v", v), _integer("s", s), np.asarray(m, dtype=np.float64)
    with np.errstate(over="ignore"):
        bad = ~np.isfinite(v**s)
    if bad.any():
        raise ValueError(f"v, s: expected v^s below 1.8e308, got v = {_worst(v, bad):g} and s = {_worst(s, bad):g}")
    top = v ** (s - 1)
    bad = ~((m >= 1) & (m <= top))
    if np.any(bad):
        got, most = _worst(m + 0 * top, bad), _worst(top + 0 * m, bad)
        raise ValueError(f"m: expected 1 ≤ m ≤ v^(s-1) = {most} rules per symbol, got {got}")
    return v, m, s


def _worst(x: Array, bad: NDArray[np.bool_]) -> float:
    return float(np.broadcast_to(x, np.shape(bad))[bad].flat[0])
