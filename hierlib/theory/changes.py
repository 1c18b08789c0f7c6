"""The mean field of the changes of a U-turn: correlation and susceptibility of kept leaves, and their exponents.

A leaf is kept if the posterior sample has there what the start had. σ = ±1 says whether it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hierlib.theory import meanfield

Array = NDArray[np.float64]
RARE = 1e-6  # changes a leaf; below this float64 has few digits left for one minus what is kept


class MeanFieldChanges(NamedTuple):
    """The mean field of the changes; the last axis of C is the level at which two leaves meet, 0 … L."""

    C: Array  #: covariance of σ of two leaves
    chi: Array  #: susceptibility


def mean_field(eps: ArrayLike, v: int, m: float, s: int, L: int) -> MeanFieldChanges:
    """Correlation of changes and susceptibility of the ε-process, averaged over grammars as in appendix B.

    From the class down, kept and changed are a Markov chain: a child of a kept node is kept with A_k, one of a changed
    node with B_k, and what one leaf tells about another fades by λ_k = A_k - B_k with each level. Where hardly a leaf
    changes, the covariance is that of being changed, which is no difference of numbers near one.

    Args:
        eps: noise of the leaves, in [0, 1), any shape.
        v, m, s: as in `hierlib.theory.meanfield.upward_map`.
        L: levels.

    >>> mean_field(0.7, v=32, m=8, s=2, L=3).C.shape
    (4,)
    """
    found, (not_p, not_q, not_P) = meanfield.solve(eps, v, m, s, L), _complements(eps, v, m, s, L)
    n, a, rare = v**s - 1, (m - 1) / (v**s - 1), not_P[..., 0] < RARE
    rows = [4 * found.P[..., 0] * np.where(rare, not_P[..., 0], 1 - found.P[..., 0])]
    fade = np.ones_like(found.P[..., 0])
    for l in range(1, L + 1):
        p, q, P = found.p[..., l - 1], found.q[..., l], found.P[..., l - 1]
        c = np.where(rare, (m - 1 + not_q[..., l]) / n, (m - q) / n)
        total = q * p**s + c * _rest(not_p[..., l - 1], s)
        changed = c * not_p[..., l - 1] ** 2 * p**s * (q - c) / total**2
        both = (q * p**s + c * p**2 * (1 - p ** (s - 2))) / (q * p**s + c * (1 - p**s))
        rows.append(4 * np.where(rare, changed, both - P**2) * fade)
        fade = fade * _fading(p, a, s) ** 2
    C = np.stack(rows, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chi = np.where(C[..., 0] > 0, (C * partners(s, L)).sum(-1) / C[..., 0], 1.0)
    return MeanFieldChanges(C, chi)


class Exponents(NamedTuple):
    """At the threshold of an infinite tree, between m_KS and m_c."""

    nu: float  #: the class sharpens and lengths grow as ``|ε-ε*|^-ν``
    a_c: float  #: C(r) ~ r^-a_c
    diverges: bool  #: F'(p*)² > s, so that the susceptibility grows without bound


def exponents(v: int, m: int, s: int) -> Exponents:
    """ν = ln s / ln F'(p*), a_c = 2(1 - 1/ν) from F'(p*) = s λ*, and whether χ diverges.

    Raises:
        ValueError: there is no threshold at these parameters.

    >>> round(exponents(32, 8, 2).nu, 2), round(exponents(32, 8, 2).a_c, 3), exponents(16, 4, 2).diverges
    (1.89, 0.943, False)
    """
    if meanfield.phase(v, m, s) != "below":
        raise ValueError(f"expected m_KS < m < m_c, where there is a threshold, got m = {m} at v = {v}, s = {s}")
    star = float(meanfield.fixed_points(v, m, s)[1])
    slope = float(meanfield.upward_map_derivative(star, v, m, s))
    nu = np.log(s) / np.log(slope)
    return Exponents(float(nu), float(2 * (1 - 1 / nu)), bool(slope**2 > s))


class Divergence(NamedTuple):
    """Whether blocks grow without bound, for numbers of rules between the two bounds m_KS and m_c."""

    m: Array  #: (n,) numbers of rules, not only whole ones
    place: Array  #: (n,) where they are between the bounds, 0 … 1
    ratio: Array  #: (n,) F'(p*)² / s; above one the susceptibility at the threshold has no bound


def divergence(v: int, s: int, num: int = 400) -> Divergence:
    """`Divergence` of num numbers of rules, evenly spaced in ln m.

    >>> found = divergence(32, 2)
    >>> [round(float(x), 1) for x in found.m[found.ratio > 1][[0, -1]]]
    [3.7, 8.7]
    """
    low, high = float(meanfield.m_KS(v, s)), float(meanfield.m_c(v, s))
    m = np.geomspace(low * 1.0001, high * 0.9999, num)
    star = meanfield.fixed_points(v, m, s)[:, 1]
    return Divergence(m, (m - low) / (high - low), meanfield.upward_map_derivative(star, v, m, s) ** 2 / s)


def unbounded_rules(v: int) -> tuple[float, float] | None:
    """The numbers of rules, not whole ones, between which blocks grow without bound in trees of two children.

    There F'(p*)² = 2; with the closed form of F'(p*), (v-m)(m-1) = c m, c = √2 (v-1)² / (2(v+1)).

    Args:
        v: alphabet size, at least 2.

    Returns:
        The least and the largest; None where blocks stay finite whatever the number of rules.

    Raises:
        ValueError: v is not a whole number of at least 2.

    >>> [round(m, 2) for m in unbounded_rules(32)], unbounded_rules(8)
    ([3.66, 8.75], None)
    """
    meanfield.m_KS(v, 2)  # refuses what is no alphabet size
    c = np.sqrt(2) * (v - 1) ** 2 / (2 * (v + 1))
    ends = np.roots([1, c - v - 1, v])
    if not np.isreal(ends).all():
        return None
    first, last = sorted(ends.tolist())
    return first, last


def _complements(eps: ArrayLike, v: int, m: float, s: int, L: int) -> tuple[Array, Array, Array]:
    """1-p, 1-q and 1-P of `meanfield.solve`, with all their digits where these are near one."""
    n, f = v**s - 1, (m * v - 1) / (v**s - 1)
    not_p = [np.asarray(eps, float) * (v - 1) / v]
    for _ in range(L):
        rest = _rest(not_p[-1], s)
        not_p.append(m * (v - 1) / n * rest / (1 - rest + f * rest))
    not_q = [np.full_like(not_p[0], 1 - 1 / v)]
    for below in reversed(not_p[:-1]):
        c, rest = (m - 1 + not_q[0]) / n, _rest(below, s - 1)
        weight = (1 - not_q[0]) * (1 - rest) + c * (v - 1 + rest)
        not_q.insert(0, np.divide(c * (v - 1), weight, out=np.zeros_like(weight), where=weight > 0))
    up, down = np.stack(not_p, -1), np.stack(not_q, -1)
    wrong = up * down / (v - 1)
    return up, down, np.divide(wrong, (1 - up) * (1 - down) + wrong, out=np.ones_like(wrong), where=wrong < 1)


def _rest(not_p: Array, s: int) -> Array:
    """1 - p^s, from 1-p."""
    with np.errstate(divide="ignore"):
        return -np.expm1(s * np.log1p(-not_p))


def _fading(p: Array, a: float, s: int) -> Array:
    """λ = A - B at the belief p of the children."""
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = (p**s + a * p * (1 - p ** (s - 1))) / (p**s + a * (1 - p**s))
        changed = np.where(p < 1, p * (1 - p ** (s - 1)) / (1 - p**s), (s - 1) / s)
    return kept - changed


def correlation_length(C: ArrayLike, s: int) -> Array:
    """Mean distance of two leaves, each pair weighted by the covariance of their changes; s^l where they meet at l.

    nan where no two leaves change together.

    Args:
        C: (…, L+1) as in `Moments` or `MeanFieldChanges`.
        s: branching factor.

    Returns:
        (…) in leaves, between s and s^L.

    >>> float(correlation_length([1.0, 0.5, 0.0], s=2))  # siblings only
    2.0
    """
    C = np.asarray(C, float)
    weight = C[..., 1:] * partners(s, C.shape[-1] - 1)[1:]
    return (weight * s ** np.arange(1.0, C.shape[-1])).sum(-1) / weight.sum(-1)


def partners(s: int, L: int) -> list[int]:
    """Number of leaves that meet a given one at level 0 (itself) … L."""
    return [1, *((s - 1) * s ** (l - 1) for l in range(1, L + 1))]
