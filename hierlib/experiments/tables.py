"""What one drawn table of rules makes of a message: it acts through how many of its tuples stand at each distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from hierlib.experiments.curves import Interval, plus_minus
from hierlib.theory.population import planted_rules

Averages = Callable[[float], tuple[float, float, float, float]]
"""From the belief in the true children: mean message to the truth, to another symbol, their sum, the annealed map."""


def shell_counts(n: int, *, v: int, m: int, s: int, generator: torch.Generator) -> Tensor:
    """How many of the m rules of each symbol stand at each Hamming distance from the true tuple, in n drawn tables.

    Returns:
        (n, v, s+1) int64; symbol 0 is the true parent, whose one rule at distance 0 is the true one.
    """
    rules = planted_rules(n, v=v, m=m, s=s, generator=generator)
    return ((rules != 0).sum(-1)[..., None] == torch.arange(s + 1, device=rules.device)).sum(2)


def messages(counts: Tensor, p: float | Tensor) -> Tensor:
    """Unnormalised messages to the parent when each child has belief p in its true symbol, the rest spread evenly.

    Args:
        counts: (n, v, s+1) float64, as of `shell_counts`.
        p: a number, or (P,).

    Returns:
        (n, v) or (n, v, P), the true parent first.
    """
    v, s = counts.shape[1], counts.shape[2] - 1
    wrong = (1 - p) / (v - 1)
    beliefs = [
        torch.as_tensor(p ** (s - j) * wrong**j, dtype=torch.float64, device=counts.device) for j in range(s + 1)
    ]
    return counts @ torch.stack(beliefs)


def sigmas(samples: Tensor, expected: float | Tensor) -> Tensor:
    """Deviation of a mean over tables (first axis) from what is expected, in standard errors; 0 where equal."""
    off, error = samples.mean(0) - expected, samples.std(0) / len(samples) ** 0.5
    return torch.where(off.abs() < 1e-12, 0.0, off / error.clamp_min(1e-300))


def deviations(
    counts: Tensor, of_counts: Callable[[int], tuple[float, float]], averages: Averages, points: Sequence[float]
) -> dict[str, float]:
    """How far each derived average is from its mean over drawn tables, in standard errors.

    Args:
        counts: (n, v, s+1) float64, as of `shell_counts`.
        of_counts: from a distance, the mean number of tuples there, and the share of them that is the true parent's.
        averages: of the messages.
        points: beliefs at which messages are compared, each on tables of its own: independent deviations.

    Returns:
        By name (LaTeX); those of counts begin with an n that has an index.
    """
    out = {}
    for j in range(1, counts.shape[2]):
        expected, share = of_counts(j)
        drawn, mine = counts[..., j].sum(1), counts[:, 0, j]
        out[f"$\\langle n_{j}\\rangle$"] = float(sigmas(drawn, expected))
        out[f"$\\langle\\psi(\\bar y,x)\\rangle$, distance {j}"] = float(sigmas(mine - share * drawn, 0.0))
    for x, fresh in zip(points, counts.chunk(len(points)), strict=True):
        message, (own, other, total, _) = messages(fresh, x), averages(x)
        at = f" at $p={x}$"
        out["message to the truth" + at] = float(sigmas(message[:, 0], own))
        out["message to a wrong symbol" + at] = float(sigmas(message[:, 1:].mean(1), other))
        out["normaliser $Z$" + at] = float(sigmas(message.sum(1), total))
    return out


def wrong_symbols_apart(counts: Tensor, p: float) -> float:
    """How many standard errors the mean message to one wrong symbol is off that to all, for the farthest."""
    share = messages(counts, p)
    share /= share.sum(1, keepdim=True)
    return float(sigmas(share[:, 1:] - share[:, 1:].mean(1, keepdim=True), 0.0).abs().max())


def averaging_error(counts: Tensor, averages: Averages, points: Sequence[float]) -> Interval:
    """Mean of the ratio over the ratio of means, minus 1: what it costs to average a message before normalising it.

    own - F·Z has mean zero, exactly; subtracting it takes most of the noise away.

    Args:
        counts: (n, v, s+1) float64. averages: of the messages.
        points: (P,) beliefs in the true children.

    Returns:
        (P,) with intervals.
    """
    out = []
    for x in points:
        message = messages(counts, float(x))
        _, _, mean_z, mean_ratio = averages(float(x))
        total = message.sum(1)
        off = message[:, 0] / total - mean_ratio - (message[:, 0] - mean_ratio * total) / mean_z
        out.append((float(off.mean()) / mean_ratio, float(off.std()) / len(off) ** 0.5 / mean_ratio))
    return plus_minus(*np.array(out).T)
