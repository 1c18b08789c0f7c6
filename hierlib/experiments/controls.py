"""Controls of how changes go together: a Markov chain of leaves, without a hierarchy, and a flat mixture of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierlib.experiments.blocks import decay_exponent
from hierlib.experiments.changes import moments_of
from hierlib.experiments.curves import Interval, estimate
from hierlib.noise import epsilon_evidence

Array = NDArray[np.float64]


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


class WithoutTree(NamedTuple):
    """Changes in two models that are no trees: a Markov chain of leaves, and a flat mixture of classes."""

    chain: Array  #: (lengths,) largest susceptibility of the chain over all noises
    mixture: Array  #: (lengths,) and of the mixture
    chain_C: Array  #: (d/2 - 1,) at the longest, covariance of σ of the middle leaf with those 1, 2, … further on
    distance: Array  #: (bins,) middle of the distances of a bin, each bin reaching twice as far as the last one
    mixture_C: Array  #: (bins,) at the longest, covariance of σ of two leaves of the mixture, by distance
    exponent: Interval  #: decay of mixture_C, interval over data


def without_tree(
    pair: Tensor, lengths: Sequence[int], *, generator: torch.Generator, data: int = 8, seed: int = 0
) -> WithoutTree:
    """Controls: correlations without a hierarchy, and a hierarchy of one level, each denoised exactly (ε-process).

    Args:
        pair: (v, v) joint distribution of two neighbours of the chain. In the mixture each of v classes is a random
            string, of which a datum copies half of the leaves and draws the others at random.
        lengths: numbers of leaves, increasing.
        generator: source of randomness.
        data: number of data at each noise; twice and eight times as many for the correlations.
        seed: of the interval.
    """
    v, on = len(pair), generator.device
    seen = pair.sum(1, keepdim=True)  # with one rule a symbol may not occur at all
    transition = torch.where(seen > 0, pair / seen, 1 / v)
    prior = torch.full((v,), 1 / v, dtype=torch.float64, device=on)
    of_chain = chain_log_evidence(prior, transition)
    eps, faint = np.linspace(0.3, 0.98, 9), 1 - np.geomspace(0.5, 3e-4, 24)  # a class is found in the faintest hints
    chain, mixture = [], []
    for d in lengths:
        start = sample_chain(prior, transition, data, d, generator=generator)
        chain.append(_chi_of(of_chain, start, eps, v))
        template = torch.nn.functional.one_hot(torch.randint(v, (v, d), generator=generator, device=on), v).double()
        leaves = 0.5 * template + 0.5 / v
        of_mixture = mixture_log_evidence(leaves)
        mixture.append(_chi_of(of_mixture, _sample_mixture(leaves, data, generator), faint, v))
    start = sample_chain(prior, transition, 2 * data, d, generator=generator)
    evidence = epsilon_evidence(start, eps=eps[chain[-1].argmax()], v=v)
    kept = moments_of(of_chain, evidence, start, torch.full((2 * data,), d // 2, device=on))
    start = _sample_mixture(leaves, 8 * data, generator)
    one = torch.randint(d, (8 * data,), generator=generator, device=on)
    evidence = epsilon_evidence(start, eps=float(faint[mixture[-1].argmax()]), v=v)
    covariance = 4 * moments_of(of_mixture, evidence, start, one).with_one.cpu().numpy()
    away, near = np.abs(np.arange(d) - one[:, None].cpu().numpy()), np.power(2.0, np.arange(int(d).bit_length() - 1))
    inside = [(away >= r) & (away < 2 * r) for r in near]
    C = np.stack([(covariance * part).sum(1) / part.sum(1).clip(1) for part in inside], 1)  # (data, bins)

    def exponent(y: Array) -> float:
        return decay_exponent(np.log(1.5 * near), y.clip(1e-12))

    return WithoutTree(
        np.array([y.max() for y in chain]),
        np.array([y.max() for y in mixture]),
        4 * kept.with_one.mean(0).cpu().numpy()[d // 2 + 1 :],
        1.5 * near,
        C.mean(0),
        estimate(exponent, C, seed=seed),
    )


def _chi_of(log_evidence: Callable[[Tensor], Tensor], start: Tensor, eps: Array, v: int) -> Array:
    """Susceptibility of any model at several noises of the ε-process: (T,)."""
    rows = [moments_of(log_evidence, epsilon_evidence(start, eps=e, v=v), start) for e in eps]
    return np.array([float(k.variance.mean() / k.independent.mean()) for k in rows])


def _sample_mixture(leaves: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """n data (n, d) of the mixture with these leaves (classes, d, v)."""
    classes = torch.randint(len(leaves), (n,), generator=generator, device=leaves.device)
    drawn = torch.multinomial(leaves[classes].flatten(0, 1), 1, generator=generator)
    return drawn.reshape(n, leaves.shape[1])
