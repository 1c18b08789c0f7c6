"""Symbols redrawn less often than the observer is told: from the channel of redrawn symbols to the ε-process."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hierlib.noise import UniformNoise, per_datum


@dataclass(frozen=True)
class FewerRedrawn(UniformNoise):
    """Each leaf is redrawn with probability share·t, while the evidence is that of t.

    It is the channel of redrawn symbols in a rare event: too few symbols differ from the datum. With share 1 it is
    `UniformNoise`; with share 0 none differs, and the evidence is that of the ε-process at ε = t.

    Args:
        v, dtype: as of `UniformNoise`.
        share: part of the redrawings that take place, in [0, 1].

    Raises:
        ValueError: share is out of range, or as of `UniformNoise`.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: expected in [0, 1], got {self.share}")

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        """Redraw each leaf with probability share·t; returns (n, d) int64 symbols."""
        return super().corrupt(x0, per_datum("t", t, x0, torch.float64, 0.0, 1.0) * self.share, generator=generator)

    def log10_probability(self, t: float, leaves: int) -> float:
        """Log to base 10 of the probability that the channel changes so few of the leaves, to leading order in them.

        It is -d·KL(share·a ‖ a), a = t(1-1/v) the share of leaves that the channel changes; exact for share 0, where
        it is d·log(1-a). (Cover and Thomas, Elements of Information Theory, section 11.1.)
        """
        a = t * (1 - 1 / self.v)
        terms = ((self.share * a, a), (1 - self.share * a, 1 - a))
        return -leaves * sum(p * math.log10(p / q) for p, q in terms if p > 0)
