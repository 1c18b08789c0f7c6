"""How the changes of a U-turn go together: susceptibility and correlation of kept leaves, exact and in the mean field.

A leaf is kept if the posterior sample has there what the start had. σ = ±1 says whether it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib.experiments.uturns import Noise, drawn_data
from hierlib.grammar import Grammar
from hierlib.inference import class_posterior, posterior_sample
from hierlib.noise import epsilon_evidence
from hierlib.theory import meanfield

Array = NDArray[np.float64]
RARE = 1e-6  # changes a leaf; below this float64 has few digits left for one minus what is kept


class Kept(NamedTuple):
    """Moments, over the posterior of each datum, of which leaves are kept; float64."""

    mean: Tensor  #: (batch, d) probability that a leaf is kept
    changed: Tensor  #: (batch, d) one minus that, also where it is too small to be seen in the other
    with_all: Tensor  #: (batch, d) covariance of a leaf with the number of kept leaves
    with_one: Tensor | None  #: (batch, d) covariance of each leaf with the one asked for

    @property
    def variance(self) -> Tensor:
        """(batch,) Var(Σ_i kept_i)."""
        return self.with_all.sum(1)

    @property
    def independent(self) -> Tensor:
        """(batch,) Σ_i Var(kept_i), what the variance would be if leaves changed independently."""
        return (self.mean * self.changed).sum(1)


def kept_moments(g: Grammar, evidence: Tensor, x0: Tensor, leaf: Tensor | None = None) -> Kept:
    """Which leaves an exact posterior sample keeps, and how they go together, without sampling.

    Each leaf's belief in its start is multiplied by e^h; then ∂ log Z/∂h_i is the probability that leaf i is kept, and
    ∂² log Z/∂h_i ∂h_j the covariance of two of them. Where hardly anything changes these are small differences of
    numbers near one; then all other beliefs are divided by e^h, which gives them without a difference.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`; all of it is differentiated, in float64: pass few data at
            once (10 MB each at v = 32, m = 8, L = 10).
        x0: (batch, s^L) the leaves of the start.
        leaf: (batch,) one leaf of each datum, for `Kept.with_one`.

    Raises:
        ValueError: shapes differ, or as `hierlib.infer` does.
    """
    return moments_of(lambda weighted: class_posterior(g, weighted, backend="torch")[1], evidence, x0, leaf)


def moments_of(
    log_evidence: Callable[[Tensor], Tensor], evidence: Tensor, x0: Tensor, leaf: Tensor | None = None
) -> Kept:
    """The same for any model of data, given its log evidence: (batch, d, v) to (batch,), twice differentiable."""
    if evidence.ndim != 3 or x0.shape != evidence.shape[:2]:
        raise ValueError(
            f"expected evidence (batch, d, v) and x0 (batch, d), got {tuple(evidence.shape)} and {tuple(x0.shape)}"
        )
    kept = _moments(log_evidence, evidence, x0, leaf)
    rows = (kept.independent < RARE * x0.shape[1]).nonzero()[:, 0]
    if not len(rows):
        return kept
    again = _moments(log_evidence, evidence[rows], x0[rows], None if leaf is None else leaf[rows], rare=True)
    return Kept(*(None if x is None else x.index_copy(0, rows, y) for x, y in zip(kept, again, strict=True)))


@torch.enable_grad()
def _moments(
    log_evidence: Callable[[Tensor], Tensor], evidence: Tensor, x0: Tensor, leaf: Tensor | None, *, rare: bool = False
) -> Kept:
    """`moments_of`, from the probabilities of what is kept, or, if changes are rare, of what is not."""
    h = torch.zeros(x0.shape, dtype=torch.float64, device=evidence.device, requires_grad=True)
    here = torch.nn.functional.one_hot(x0, evidence.shape[2]).to(torch.float64)
    log_z = log_evidence(evidence.double() * torch.exp(h[..., None] * (here - 1 if rare else here)))
    (first,) = torch.autograd.grad(log_z.sum(), h, create_graph=True)
    (with_all,) = torch.autograd.grad(first.sum(), h, retain_graph=leaf is not None)
    one = None
    if leaf is not None:
        (one,) = torch.autograd.grad(first.gather(1, leaf[:, None]).sum(), h)
    first = first.detach()
    return Kept(1 + first, -first, with_all, one) if rare else Kept(first, 1 - first, with_all, one)


def susceptibility(g: Grammar, evidence: Tensor, x0: Tensor) -> Tensor:
    """Dynamical susceptibility χ of the changes, Var(Σ_i kept_i) / Σ_i Var(kept_i), exactly.

    1 if leaves change independently; the size of the blocks in which they change otherwise (arXiv 2410.13770).

    Args:
        g, evidence, x0: as for `kept_moments`.

    Returns:
        (batch,) float64; 1 where nothing can change.

    Raises:
        ValueError: as for `kept_moments`.

    >>> from hierlib import epsilon_evidence, random_grammar, sample
    >>> rng = torch.Generator().manual_seed(0)
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    >>> x0 = sample(g, 2, generator=rng)[0]
    >>> susceptibility(g, epsilon_evidence(x0, eps=1.0, v=4, dtype=torch.float64), x0).gt(1).tolist()
    [True, True]
    """
    kept = kept_moments(g, evidence, x0)
    certain = kept.independent <= 0
    return torch.where(certain, 1, kept.variance / torch.where(certain, 1, kept.independent))


def by_distance(covariance: Tensor, leaf: Tensor, s: int) -> Tensor:
    """Mean over leaves by the level at which they meet a given one.

    Args:
        covariance: (batch, s^L), as `Kept.with_one`.
        leaf: (batch,), the given one.
        s: branching factor.

    Returns:
        (batch, L+1), entry l the mean over the leaves whose lowest common ancestor with `leaf` is at level l;
        entry 0 the leaf itself.
    """
    d = covariance.shape[1]
    L = _levels(d, s)
    position = torch.arange(d, device=covariance.device)
    level = sum((position // s**l != leaf[:, None] // s**l).long() for l in range(L))  # 0 … L
    sums = covariance.new_zeros(len(covariance), L + 1).scatter_add_(1, level, covariance)
    return sums / sums.new_tensor(_partners(s, L))


class Moments(NamedTuple):
    """Of the kept leaves, means over the data of each grammar; χ is variance / independent, each averaged first."""

    variance: Tensor  #: (draws, T) Var(Σ_i kept_i)
    independent: Tensor  #: (draws, T) Σ_i Var(kept_i)
    C: Tensor  #: (draws, T, L+1) covariance of σ of two leaves, by the level at which they meet


class Curves(NamedTuple):
    """What `curves` measures, float64 on the CPU."""

    exact: Moments  #: C of one leaf of each datum, drawn at random, with all others
    sampled: Moments | None  #: the same counted in posterior samples; C of all pairs
    truth: Tensor  #: (draws, T) exact belief in the true class


def curves(
    t: ArrayLike,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    noise: Noise | None = None,
    samples: int = 0,
) -> Curves:
    """How the changes of leaves go together at several strengths of a noise, exactly, for fresh grammars and data.

    Args:
        t: (T,) noise levels, all applied to the same data with the same random numbers; ε for the ε-process.
        v, m, s, L: of the grammars.
        draws: number of grammars.
        data: number of data from each.
        generator: source of randomness.
        noise: a channel, or None for the ε-process.
        samples: number of posterior samples of each datum at each noise, for `Curves.sampled`; 0 or at least 2.

    Raises:
        ValueError: as `hierlib.random_grammar`, `hierlib.infer` and `sampled_moments` do.
    """
    out, counted, truth = [], [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        leaf = torch.randint(g.d, (data,), generator=generator, device=generator.device)
        state, rows = generator.get_state(), []
        for time in np.ravel(t).tolist():
            generator.set_state(state)
            if noise is None:
                evidence = epsilon_evidence(x[0], eps=time, v=v)
            else:
                evidence = noise.evidence(noise.corrupt(x[0], time, generator=generator), time)
            kept = kept_moments(g, evidence, x[0], leaf)
            known = class_posterior(g, evidence)[0].gather(1, x[-1])[:, 0].double()
            exact = Moments(kept.variance, kept.independent, 4 * by_distance(kept.with_one, leaf, s))
            counts = exact
            if samples:
                y = posterior_sample(g, evidence, num_samples=samples, generator=generator)[0]
                counts = sampled_moments(y, x[0], s)
            rows.append([*(y.mean(0) for y in (*exact, *counts)), known.mean()])
        *both, known = (torch.stack(y).cpu() for y in zip(*rows, strict=True))
        out.append(both[:3])
        counted.append(both[3:])
        truth.append(known)
    exact, sampled = (Moments(*(torch.stack(y) for y in zip(*part, strict=True))) for part in (out, counted))
    return Curves(exact, sampled if samples else None, torch.stack(truth))


def sampled_moments(y: Tensor, x0: Tensor, s: int) -> Moments:
    """What `Kept` has exactly, counted in posterior samples, without bias.

    The variance of the number of kept leaves of a block, summed over the blocks of a level, is that of the level below
    and the covariance of all pairs that meet there.

    Args:
        y: (batch, num_samples, s^L) leaves of posterior samples, num_samples ≥ 2.
        x0: (batch, s^L) the starts.
        s: branching factor.

    Returns:
        `Moments` of each datum, (batch,), (batch,) and (batch, L+1), float64.

    Raises:
        ValueError: there is one sample only, or the number of leaves is no power of s.
    """
    if y.ndim != 3 or y.shape[1] < 2 or y.shape[2] != x0.shape[-1]:
        raise ValueError(f"y: expected (batch, at least 2 samples, {x0.shape[-1]}), got {tuple(y.shape)}")
    L = _levels(y.shape[2], s)
    block = (y == x0[:, None]).double()
    spread = [block.var(1).sum(1)]
    for _ in range(L):
        block = block.unflatten(2, (-1, s)).sum(3)
        spread.append(block.var(1).sum(1))
    pairs = [y.shape[2] * n for n in _partners(s, L)]
    C = [4 * (a - b) / n for a, b, n in zip(spread, [0, *spread], pairs)]
    return Moments(spread[-1], spread[0], torch.stack(C, 1))


def correlation_length(C: ArrayLike, s: int) -> Array:
    """Mean distance of two leaves, each pair weighted by the covariance of their changes; s^l where they meet at l.

    Args:
        C: (…, L+1) as in `Moments` or `MeanFieldChanges`.
        s: branching factor.

    Returns:
        (…) in leaves, between s and s^L.

    >>> float(correlation_length([1.0, 0.5, 0.0], s=2))  # siblings only
    2.0
    """
    C = np.asarray(C, float)
    weight = C[..., 1:] * _partners(s, C.shape[-1] - 1)[1:]
    return (weight * s ** np.arange(1.0, C.shape[-1])).sum(-1) / weight.sum(-1)


def _partners(s: int, L: int) -> list[int]:
    """Number of leaves that meet a given one at level 0 (itself) … L."""
    return [1, *((s - 1) * s ** (l - 1) for l in range(1, L + 1))]


def _levels(d: int, s: int) -> int:
    L = round(np.log(d) / np.log(s))
    if s**L != d:
        raise ValueError(f"expected s^L = {s}^L leaves, got {d}")
    return L


def chain_log_evidence(prior: Tensor, transition: Tensor) -> Callable[[Tensor], Tensor]:
    """A Markov chain along the leaves, as a control: (batch, d, v) to the log evidence (batch,).

    Args:
        prior: (v,) of the first leaf.
        transition: (v, v), rows sum to one.
    """

    def log_evidence(evidence: Tensor) -> Tensor:
        belief, total = prior * evidence[:, 0], evidence.new_zeros(len(evidence))
        for i in range(1, evidence.shape[1]):
            norm = belief.sum(1, keepdim=True)
            total = total + norm[:, 0].log()
            belief = (belief / norm) @ transition * evidence[:, i]
        return total + belief.sum(1).log()

    return log_evidence


def sample_chain(prior: Tensor, transition: Tensor, n: int, d: int, *, generator: torch.Generator) -> Tensor:
    """n data (n, d) of the chain."""
    x = [torch.multinomial(prior, n, replacement=True, generator=generator)]
    for _ in range(d - 1):
        x.append(torch.multinomial(transition[x[-1]], 1, generator=generator)[:, 0])
    return torch.stack(x, 1)


def mixture_log_evidence(leaves: Tensor) -> Callable[[Tensor], Tensor]:
    """A flat mixture, as a control: classes are equally likely, and given the class all leaves are independent.

    Args:
        leaves: (classes, d, v) distribution of each leaf in each class.
    """

    def log_evidence(evidence: Tensor) -> Tensor:
        each = torch.einsum("ndv,cdv->ncd", evidence, leaves).log().sum(2)
        return each.logsumexp(1) - np.log(len(leaves))

    return log_evidence


class MeanFieldChanges(NamedTuple):
    """The mean field of the changes; the last axis of C is the level at which two leaves meet, 0 … L."""

    C: Array  #: covariance of σ of two leaves
    chi: Array  #: susceptibility


def mean_field(eps: ArrayLike, v: int, m: int, s: int, L: int) -> MeanFieldChanges:
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
    C = [4 * found.P[..., 0] * np.where(rare, not_P[..., 0], 1 - found.P[..., 0])]
    fade = np.ones_like(found.P[..., 0])
    for l in range(1, L + 1):
        p, q, P = found.p[..., l - 1], found.q[..., l], found.P[..., l - 1]
        c = np.where(rare, (m - 1 + not_q[..., l]) / n, (m - q) / n)
        total = q * p**s + c * _rest(not_p[..., l - 1], s)
        changed = c * not_p[..., l - 1] ** 2 * p**s * (q - c) / total**2
        both = (q * p**s + c * p**2 * (1 - p ** (s - 2))) / (q * p**s + c * (1 - p**s))
        C.append(4 * np.where(rare, changed, both - P**2) * fade)
        fade = fade * _fading(p, a, s) ** 2
    C = np.stack(C, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        chi = np.where(C[..., 0] > 0, (C * _partners(s, L)).sum(-1) / C[..., 0], 1.0)
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


def _complements(eps: ArrayLike, v: int, m: int, s: int, L: int) -> tuple[Array, Array, Array]:
    """1-p, 1-q and 1-P of `meanfield.solve`, with all their digits where these are near one."""
    n, f = v**s - 1, (m * v - 1) / (v**s - 1)
    up = [np.asarray(eps, float) * (v - 1) / v]
    for _ in range(L):
        rest = _rest(up[-1], s)
        up.append(m * (v - 1) / n * rest / (1 - rest + f * rest))
    down = [np.full_like(up[0], 1 - 1 / v)]
    for below in reversed(up[:-1]):
        c, rest = (m - 1 + down[0]) / n, _rest(below, s - 1)
        weight = (1 - down[0]) * (1 - rest) + c * (v - 1 + rest)
        down.insert(0, np.divide(c * (v - 1), weight, out=np.zeros_like(weight), where=weight > 0))
    up, down = np.stack(up, -1), np.stack(down, -1)
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
