"""What linear statistics see of the data, exactly, by one pass up and down the tree; and what inference sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from hierlib._finite import finite
from hierlib._kernels.precision import computed_in
from hierlib._numbers import noise_levels
from hierlib._weights import mean_over_classes, mean_over_rules, shared
from hierlib.experiments.curves import Interval, estimate, half_height, normal_interval, ratio_of_means
from hierlib.experiments.uturns import class_curves, drawn_data
from hierlib.grammar import Grammar, random_grammar
from hierlib.inference import class_posterior, infer
from hierlib.noise import Noise, epsilon_evidence, evidence_of
from hierlib.probability import prior_marginals, symbol_probabilities

HOLDS = 0.85  # of its accuracy: what keeps more holds as the tree gets deeper


def census(g: Grammar, evidence: Tensor) -> Tensor:
    """Scores of the classes by a linear vote of the leaves: what can be told of the class without any context.

    The score of a class is the projection of the leaves' own beliefs on the exact mean of the data of this class,
    both measured from the mean of all data. As the tree grows, a vote keeps its accuracy only if m < m_KS.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`.

    Returns:
        (batch, num_classes) float64; the largest is the class that the vote names.

    Raises:
        ValueError: evidence has another shape, is negative or not finite, or excludes every symbol of a leaf.
    """
    if evidence.ndim != 3 or evidence.shape[1:] != (g.d, g.v):
        raise ValueError(f"evidence: expected (batch, {g.d}, {g.v}), got {tuple(evidence.shape)}")
    means = symbol_probabilities(g, torch.eye(g.num_classes, dtype=torch.float64, device=g.device))[0]  # (class, d, v)
    centre = mean_over_classes(g, means)
    axes = torch.nn.functional.normalize((means - centre).flatten(1), dim=1)
    if (evidence < 0).any():
        raise ValueError(f"evidence: expected non-negative numbers, got {float(evidence.min()):.3g}")
    belief = evidence.double() / evidence.double().sum(2, keepdim=True)
    finite(belief, "evidence", "each leaf needs finite numbers that are not all zero")
    return (belief - centre).flatten(1) @ axes.T


def named_rightly(
    noise: Noise, t: float, *, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator
) -> np.ndarray:
    """How often a census and exact inference name the class, above chance: 0 at chance, 1 if always.

    Args:
        noise, t: of the leaves.
        v, m, s, L, draws, data, generator: of the grammars, and of the data from each.

    Returns:
        (2, draws), the census first.
    """
    rows = []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        seen = evidence_of(noise, x[0], t, generator=generator)
        guesses = census(g, seen), class_posterior(g, seen)[0]
        rows.append([float((score.argmax(1) == x[-1][:, 0]).double().mean()) for score in guesses])
    return (np.array(rows).T - 1 / v) / (1 - 1 / v)


class KeptDeeper(NamedTuple):
    """What a tree with more levels leaves of the accuracy above chance, of a census and of exact inference."""

    census: Interval  #: its accuracy in the deeper tree over that in the shallower
    exact: Interval  #: accuracy of exact inference in the deeper tree

    @property
    def holds(self) -> bool:
        """Whether the census keeps nearly all."""
        return bool(self.census.value > HOLDS)


def kept_deeper(named: Mapping[tuple[int, int, int], np.ndarray], s: int, m: int) -> KeptDeeper:
    """`KeptDeeper` of the two deepest trees.

    Args:
        named: by children, levels and rules, (2, draws) as of `named_rightly`.
        s, m: children and rules to look at, of which there are two numbers of levels or more.
    """
    shallow, deep = (named[s, levels, m] for levels in sorted(L for s_, L, m_ in named if (s_, m_) == (s, m))[-2:])
    return KeptDeeper(ratio_of_means(deep[0], shallow[0]), normal_interval(deep[1]).within(0, 1))


def covariance_times(g: Grammar, u: Tensor, marginals: Sequence[Tensor] | None = None) -> Tensor:
    """The covariance matrix of one-hot leaves, Cov(1[x_i=a], 1[x_j=b]), times a vector, at a cost linear in d.

    With S = Σ_j u_j(x_j), row (i, a) is P(x_i=a)·(E[S | x_i=a] - E[S]). The conditional mean of what hangs below a node
    goes up the tree, that of all else comes down.

    Args:
        g: the grammar.
        u: (s^L, v) float64.
        marginals: from `hierlib.probability.prior_marginals`, if at hand.

    Returns:
        (s^L, v) float64.

    Raises:
        ValueError: u has another shape or type.
    """
    if u.shape != (g.d, g.v) or u.dtype != torch.float64:
        raise ValueError(f"u: expected float64 of shape ({g.d}, {g.v}), got {u.dtype} {tuple(u.shape)}")
    prior = marginals or prior_marginals(g)
    below = [u]  # E[sum over the leaves below | symbol of the node]
    for level, rule in enumerate(g.rules):
        children = below[-1].unflatten(0, (-1, g.s))
        below.append(mean_over_rules(g, level, sum(children[:, i][:, rule[..., i]] for i in range(g.s))))
    mean = (prior[-1] * below[-1]).sum()
    beside = torch.zeros_like(below[-1])  # E[sum over all other leaves | symbol of the node], times its probability
    for level in reversed(range(g.L)):
        rule, children = g.rules[level], below[level].unflatten(0, (-1, g.s))
        weight = shared(g, level, prior[level + 1])
        terms = [children[:, i][:, rule[..., i]] for i in range(g.s)]
        total = sum(terms)
        out = u.new_zeros(len(children), g.s, g.v)
        for i in range(g.s):
            value = weight * (total - terms[i]) + shared(g, level, beside)
            out[:, i].index_add_(1, rule[..., i].flatten(), value.flatten(1))
        beside = out.flatten(0, 1)
    return prior[0] * u + beside - prior[0] * mean


def top_eigenvalue(g: Grammar, *, tolerance: float = 1e-6) -> float:
    """Largest eigenvalue Λ of the covariance of one-hot leaves, by Lanczos iteration.

    Args:
        g: the grammar.
        tolerance: relative.

    >>> from hierlib import random_grammar
    >>> g = random_grammar(v=4, m=1, s=2, L=3, generator=torch.Generator().manual_seed(0))
    >>> round(top_eigenvalue(g), 4)
    1.4021
    """
    marginals, size = prior_marginals(g), g.d * g.v

    def times(x: np.ndarray) -> np.ndarray:
        u = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)).reshape(g.d, g.v).to(g.device)
        return covariance_times(g, u, marginals).cpu().numpy().ravel()

    start = np.random.default_rng(0).normal(size=size)
    operator = LinearOperator((size, size), matvec=times, dtype=np.float64)
    return float(eigsh(operator, k=1, v0=start, tol=tolerance, return_eigenvectors=False)[0])


def speciation_time(top: float) -> float:
    """t_S = ½ ln Λ (Biroli et al.): there ᾱ = exp(-2t) has brought the top direction down to the noise."""
    if not top > 0:
        raise ValueError(f"top: expected a positive eigenvalue, got {top}")
    return float(np.log(top) / 2)


def clocks(
    noise: Noise,
    t: Sequence[float],
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Top eigenvalue and exact class curve of the same grammars, so that their half heights can be compared in pairs.

    Args:
        noise, t, v, m, s, L, draws, data, generator: as for `hierlib.experiments.uturns.class_curves`.

    Returns:
        (draws,) the top eigenvalue Λ of each grammar, and (draws, T) its belief in the true class, mean over its data.

    Raises:
        ValueError: as `hierlib.experiments.uturns.class_curves` does.
    """
    tops, curves = [], []
    for _ in range(draws):
        state = generator.get_state()
        curves.append(class_curves(noise, t, v=v, m=m, s=s, L=L, draws=1, data=data, generator=generator)[0].numpy())
        after = generator.get_state()
        generator.set_state(state)  # the grammar is what was drawn first
        tops.append(top_eigenvalue(random_grammar(v=v, m=m, s=s, L=L, generator=generator)))
        generator.set_state(after)
    return np.array(tops), np.array(curves)


def lag(
    t: ArrayLike,
    shallow: tuple[ArrayLike, ArrayLike],
    deep: tuple[ArrayLike, ArrayLike],
    *,
    v: int,
    seed: int = 0,
) -> Interval:
    """The step of the speciation time from one depth to the next, minus that of the class's half height.

    Args:
        t: (T,) times. shallow, deep: what `clocks` gives there for the two depths, of as many grammars.
        v: alphabet size.
        seed: of the interval, over grammars.
    """

    def half(y: np.ndarray) -> float:
        return half_height(t, y, chance=1 / v).t

    def behind(top_deep: float, y_deep: np.ndarray, top_shallow: float, y_shallow: np.ndarray) -> float:
        return np.log(top_deep / top_shallow) / 2 - (half(y_deep) - half(y_shallow))

    return estimate(behind, *deep, *shallow, seed=seed, num=400)


class Forgetting(NamedTuple):
    """What the best observer knows of each level as noise grows, means over the data of each grammar."""

    known: np.ndarray  #: (draws, T, L+1) information about a symbol, in units of its entropy
    error: np.ndarray  #: (draws, T, L+1) probability that the most probable symbol is wrong


def forgetting(
    noise: Noise,
    t: Sequence[float],
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
) -> Forgetting:
    """`Forgetting` of fresh grammars and data, with the same random numbers at each of the times t, (T,)."""
    known, errors = [], []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        state, rows, wrong = generator.get_state(), [], []
        whole = information(g, epsilon_evidence(x[0], eps=0.0, v=v)).mean(0)
        for time in noise_levels(t).tolist():
            generator.set_state(state)
            evidence = evidence_of(noise, x[0], time, generator=generator)
            rows.append(information(g, evidence).mean(0) / whole)
            beliefs = infer(g, evidence, messages=False).marginals
            wrong.append(torch.stack([1 - b.double().amax(2).mean() for b in beliefs]))
        known.append(torch.stack(rows))
        errors.append(torch.stack(wrong))
    return Forgetting(torch.stack(known).cpu().numpy(), torch.stack(errors).cpu().numpy())


def error_reached(t: ArrayLike, error: ArrayLike, share: float) -> float:
    """The time at which an error has risen to a share of its last value, that of pure noise.

    Args:
        t, error: (T,) increasing times, and an error whose falls are taken for scatter.
        share: 0 … 1.

    Returns:
        nan where the first error is that large already.
    """
    rising = np.maximum.accumulate(np.asarray(error, float))
    risen = rising / rising[-1]
    return float(np.interp(share, risen, np.asarray(t, float))) if risen[0] < share else np.nan


def critical_window(t: ArrayLike, error: ArrayLike) -> tuple[float, float]:
    """When an error rises from 5 % to 95 % of that of pure noise; arguments as for `error_reached`."""
    return error_reached(t, error, 0.05), error_reached(t, error, 0.95)


def relative_window(t: ArrayLike, errors: ArrayLike, *, seed: int = 0) -> Interval:
    """The width in ln t of the class's window over that of the leaves, with its interval over grammars.

    Args:
        t: (T,) times. errors: (draws, T, L+1), as in `Forgetting`.
    """

    def ratio(error: np.ndarray) -> float:
        (a, b), (c, d) = (critical_window(t, error[:, level]) for level in (-1, 0))
        return np.log(b / a) / np.log(d / c)

    return estimate(ratio, errors, seed=seed, num=400)


def information(g: Grammar, evidence: Tensor) -> Tensor:
    """What the evidence tells about the symbols of each level: mean entropy before minus entropy after, in nats.

    Its mean over data drawn with their noise is the mutual information of a node and all that is seen, I_l(t).

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `hierlib.infer`.

    Returns:
        (batch, L+1) float64, averaged over the nodes of a level; level 0 = leaves … L = class.
    """
    after = infer(g, evidence.to(computed_in(evidence.dtype)), messages=False).marginals
    before = prior_marginals(g)
    rows = [
        torch.special.entr(old).sum(1).mean() - torch.special.entr(new.double()).sum(2).mean(1)
        for old, new in zip(before, after, strict=True)
    ]
    return torch.stack(rows, 1)
