"""How the changes of a U-turn go together: susceptibility and correlation of kept leaves, exact and counted in samples.

A leaf is kept if the posterior sample has there what the start had. σ = ±1 says whether it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib._finite import all_finite, finite
from hierlib._numbers import Numbers, noise_levels
from hierlib.experiments.uturns import drawn_data
from hierlib.grammar import Grammar
from hierlib.inference import class_posterior, infer, posterior_sample
from hierlib.noise import Noise, evidence_of
from hierlib.theory.changes import RARE, partners


class Kept(NamedTuple):
    """Moments, over the posterior of each datum, of which leaves are kept; float64."""

    mean: Tensor  #: (batch, d) probability that a leaf is kept
    changed: Tensor  #: (batch, d) one minus that, also where it is too small to be seen in the other
    variance: Tensor  #: (batch,) Var(Σ_i kept_i)
    with_one: Tensor  #: (batch, d) covariance of each leaf with the one asked for; (batch, 0) if none was

    @property
    def independent(self) -> Tensor:
        """(batch,) Σ_i Var(kept_i), what the variance would be if leaves changed independently."""
        return (self.mean * self.changed).sum(1)


def kept_moments(g: Grammar, evidence: Tensor, x0: Tensor, leaf: Tensor | None = None) -> Kept:
    """Which leaves an exact posterior sample keeps, and how they go together, without sampling.

    The covariance of leaf j with leaf i is P(i kept) (P(j kept | i kept) - P(j kept)), by inference with leaf i known.
    The variance comes from one way up the tree, by `hierlib._kernels.compiled.counts`, on the processor. Changes are
    what is counted: where hardly anything changes, what is kept is near one and has few digits left.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`; all is computed in float64.
        x0: (batch, s^L) the leaves of the start.
        leaf: (batch,) one leaf of each datum, for `Kept.with_one`.

    Raises:
        ValueError: shapes differ, or as `hierlib.infer` does.
    """
    _check(evidence, x0)
    evidence = evidence.detach().double()
    mean, changed = _beliefs(g, evidence, x0)
    one = changed[:, :0]
    if leaf is not None:
        datum = torch.arange(len(x0), device=x0.device)
        symbol, sure = x0[datum, leaf], mean[datum, leaf]
        known = evidence.clone()
        known[datum, leaf] = torch.nn.functional.one_hot(symbol, g.v).double()
        known = torch.where((sure > 0)[:, None, None], known, evidence)  # what cannot be is not conditioned on
        one = sure[:, None] * (changed - _beliefs(g, known, x0)[1])
    return Kept(mean, changed, _variance(g, evidence, x0), one)


def _beliefs(g: Grammar, evidence: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, d) probabilities that a leaf is kept, and that it is not."""
    belief = infer(g, evidence, messages=False).marginals[0]
    here = torch.nn.functional.one_hot(x0, g.v).bool()
    return (belief * here).sum(2), (belief * ~here).sum(2)


def _variance(g: Grammar, evidence: Tensor, x0: Tensor) -> Tensor:
    """(batch,) variance of the number of leaves that change, of evidence that the grammar can produce."""
    from hierlib._kernels.compiled import counts  # numba takes its time to import

    seen, start = evidence.cpu().contiguous().numpy(), x0.cpu().contiguous().numpy()
    message = np.empty((g.d, len(x0), g.v, 3))
    counts.leaves_of(seen, start, message)
    for level, rule in enumerate(g.rules, 1):
        above = np.empty((g.num_nodes(level), len(x0), g.num_symbols(level), 3))
        weights = torch.ones(rule.shape[:2], dtype=torch.float64, device=g.device)
        weights = weights if g.weights is None else g.weights[level - 1]
        if level == g.L and g.class_prior is not None:
            weights = weights * g.class_prior[:, None]
        rules, laws = (table.cpu().contiguous().numpy() for table in (rule, weights))
        counts.parents_of(message, rules, laws, above)
        message = above
    return torch.from_numpy(2 * message[0, ..., 2].sum(1)).to(evidence.device)


def moments_of(
    log_evidence: Callable[[Tensor], Tensor], evidence: Tensor, x0: Tensor, leaf: Tensor | None = None
) -> Kept:
    """The same for any model of data, given its log evidence: (batch, d, v) to (batch,), twice differentiable.

    Each leaf's belief in its start is multiplied by e^h; then ∂ log Z/∂h_i is the probability that leaf i is kept, and
    ∂² log Z/∂h_i ∂h_j the covariance of two of them. Where hardly anything changes these are small differences of
    numbers near one; then all other beliefs are divided by e^h, which gives them without a difference.

    Raises:
        ValueError: shapes differ; a log evidence or a moment is not finite.
    """
    _check(evidence, x0)
    kept = _moments(log_evidence, evidence, x0, leaf)
    rows = (kept.independent < RARE * x0.shape[1]).nonzero()[:, 0]
    if not len(rows):
        return kept
    again = _moments(log_evidence, evidence[rows], x0[rows], None if leaf is None else leaf[rows], rare=True)
    return Kept(*(x.index_copy(0, rows, y) for x, y in zip(kept, again, strict=True)))


@torch.enable_grad()
def _moments(
    log_evidence: Callable[[Tensor], Tensor], evidence: Tensor, x0: Tensor, leaf: Tensor | None, *, rare: bool = False
) -> Kept:
    """`moments_of`, from the probabilities of what is kept, or, if changes are rare, of what is not."""
    h = torch.zeros(x0.shape, dtype=torch.float64, device=evidence.device, requires_grad=True)
    here = torch.nn.functional.one_hot(x0, evidence.shape[2]).to(torch.float64)
    log_z = log_evidence(evidence.double() * torch.exp(h[..., None] * (here - 1 if rare else here)))
    finite(log_z, "log evidence", "a datum is impossible, or its evidence is not finite")
    (first,) = torch.autograd.grad(log_z.sum(), h, create_graph=True)
    (with_all,) = torch.autograd.grad(first.sum(), h, retain_graph=leaf is not None)
    one = with_all[:, :0]
    if leaf is not None:
        (one,) = torch.autograd.grad(first.gather(1, leaf[:, None]).sum(), h)
    first = first.detach()
    all_finite(
        {"probability that a leaf is kept": first, "covariance of kept leaves": with_all}, "see the log evidence"
    )
    variance = with_all.sum(1)
    return Kept(1 + first, -first, variance, one) if rare else Kept(first, 1 - first, variance, one)


def _check(evidence: Tensor, x0: Tensor) -> None:
    if evidence.ndim != 3 or x0.shape != evidence.shape[:2]:
        raise ValueError(
            f"expected evidence (batch, d, v) and x0 (batch, d), got {tuple(evidence.shape)} and {tuple(x0.shape)}"
        )


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
    return sums / sums.new_tensor(partners(s, L))


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
    noise: Noise,
    t: Numbers,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    samples: int = 0,
) -> Curves:
    """How the changes of leaves go together at several strengths of a noise, exactly, for fresh grammars and data.

    Args:
        noise: a noise process.
        t: (T,) noise levels, all applied to the same data with the same random numbers.
        v, m, s, L: of the grammars.
        draws: number of grammars.
        data: number of data from each.
        generator: source of randomness.
        samples: number of posterior samples of each datum at each noise, for `Curves.sampled`; 0 or at least 2.

    Raises:
        ValueError: as `hierlib.random_grammar`, `hierlib.infer` and `sampled_moments` do.
    """
    out, counted, truth = [], [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        leaf = torch.randint(g.d, (data,), generator=generator, device=generator.device)
        state, rows = generator.get_state(), []
        for time in noise_levels(t).tolist():
            generator.set_state(state)
            evidence = evidence_of(noise, x[0], time, generator=generator)
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
    pairs = [y.shape[2] * n for n in partners(s, L)]
    C = [4 * (a - b) / n for a, b, n in zip(spread, [torch.zeros_like(spread[0]), *spread], pairs)]
    return Moments(spread[-1], spread[0], torch.stack(C, 1))


def _levels(d: int, s: int) -> int:
    L = round(np.log(d) / np.log(s))
    if s**L != d:
        raise ValueError(f"expected s^L = {s}^L leaves, got {d}")
    return L
