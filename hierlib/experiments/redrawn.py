"""Symbols redrawn less often than the observer is told: from the channel of redrawn symbols to the ε-process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib._numbers import per_datum
from hierlib.experiments.channels import class_loss, curves_around_loss
from hierlib.noise import UniformNoise


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


class Misled(NamedTuple):
    """Where exact inference loses the class if only a share of the redrawings takes place; nan if it does not."""

    half: float  #: ε at which the class is at half height
    changed: float  #: share of the leaves that have changed there
    log10_probability: float  #: that the channel changes so few
    gap: float  #: belief in the true symbol of a leaf there, less the sum of its squared beliefs


def misled(
    shares: Sequence[float],
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    seed: int = 0,
) -> list[Misled]:
    """`Misled` for each share, from 0, the ε-process, to 1, the channel of redrawn symbols.

    Args:
        shares: of `FewerRedrawn`.
        v, m, s, L, draws, data, generator: as of `curves_around_loss`. seed: of the bootstrap over grammars.
    """
    size, found = dict(v=v, m=m, s=s, L=L, draws=draws, data=data), []
    for share in shares:
        noise = FewerRedrawn(v, share=share)
        curves = curves_around_loss(noise, **size, everywhere=False, generator=generator).curves
        half = class_loss(curves, v, seed=seed).t.value
        gap = np.interp(half, curves.t.numpy(), (curves.truth - curves.squared)[..., 0].mean(0).numpy())
        log10 = noise.log10_probability(half, s**L) if np.isfinite(half) else np.nan
        found.append(Misled(half, share * half * (1 - 1 / v), log10, float(gap)))
    return found
