"""Of which level of the tree the strongest direction of the data speaks, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from hierlib._weights import mean_over_rules
from hierlib.experiments.spectrum import covariance_times
from hierlib.grammar import Grammar, random_grammar
from hierlib.probability import prior_marginals


def top_direction(g: Grammar, *, tolerance: float = 1e-3) -> Tensor:
    """The unit vector u along which the one-hot leaves vary most: (s^L, v) float64, by Lanczos iteration.

    Where several are equally strong, one of them, which depends on a fixed start.
    """
    marginals = prior_marginals(g)

    def times(x: np.ndarray) -> np.ndarray:
        u = torch.from_numpy(np.ascontiguousarray(x, dtype=np.float64)).reshape(g.d, g.v).to(g.device)
        return covariance_times(g, u, marginals).cpu().numpy().ravel()

    operator = LinearOperator((g.d * g.v, g.d * g.v), matvec=times, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=g.d * g.v)
    _, vectors = eigsh(operator, k=1, v0=start, tol=tolerance)
    return torch.from_numpy(vectors[:, 0].copy()).reshape(g.d, g.v).to(g.device)


def shares(g: Grammar, u: Tensor) -> np.ndarray:
    """Which part of the variance of a linear score is explained by the symbols of each level.

    The score of a datum x is S = Σ_i u_i(x_i). By the law of total variance Var S = Var E[S | level l] + what is left.

    Args:
        g: the grammar.
        u: (s^L, v) float64, as `top_direction` gives it.

    Returns:
        (L+1,) Var E[S | all symbols of level l] / Var S, which is 1 for the leaves, and the class's share last.
    """
    score, found = u, []  # score: E[S | symbol] - what the other nodes add, for each node of the level
    for level in range(g.L + 1):
        if level < g.L:
            weights = None if g.weights is None else g.weights[level:]
            above = Grammar(g.v, g.m, g.s, g.L - level, g.num_classes, g.rules[level:], weights, g.class_prior)
            found.append(float((score * covariance_times(above, score)).sum()))
            children = score.unflatten(0, (-1, g.s))
            score = mean_over_rules(g, level, sum(children[:, i][:, g.rules[level][..., i]] for i in range(g.s)))
        elif g.class_prior is None:
            found.append(float(score.var(correction=0)))
        else:
            found.append(float(g.class_prior @ (score[0] - g.class_prior @ score[0]).square()))
    return np.array(found) / found[0]


def shares_of_top(
    v: int, rules: Sequence[int], s: int, depths: Sequence[int], *, draws: int, generator: torch.Generator
) -> dict[int, dict[int, np.ndarray]]:
    """`shares` of the strongest direction of fresh grammars: by m and by L, (draws, L+1).

    Args:
        v, s, generator: as of `random_grammar`. rules: its m. depths: its L. draws: grammars of each.
    """
    found: dict[int, dict[int, np.ndarray]] = {}
    for m in rules:
        found[m] = {}
        for L in depths:
            drawn = (random_grammar(v=v, m=m, s=s, L=L, generator=generator) for _ in range(draws))
            found[m][L] = np.array([shares(g, top_direction(g)) for g in drawn])
    return found
