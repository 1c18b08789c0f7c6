"""How deep a tree must be for the class to be kept better than the leaves, for few rules and for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hierlib.experiments.curves import Interval, mean_interval, normal_interval
from hierlib.experiments.levels import about_half_height
from hierlib.experiments.uturns import Noise, level_curves
from hierlib.theory import meanfield


def depth_needed(v: int, m: int, s: int, *, lead: float = 1e-3, deepest: int = 30) -> int | None:
    """The fewest levels with which the mean field lets the class lead the leaves by more than `lead` at some noise.

    Returns:
        L, or None if no tree of up to `deepest` levels does.

    >>> depth_needed(32, 4, 2), depth_needed(32, 8, 2), depth_needed(32, 20, 2)
    (4, 7, None)
    """
    return next((L for L in range(1, deepest + 1) if meanfield.best_kept(v, m, s, L).lead > lead), None)


def lead_at(noise: Noise, t: float, **run: Any) -> Interval:
    """The lead of the class over the leaves at one noise level; `run` as of `level_curves`."""
    curves = level_curves(noise, [t], **run).truth[:, 0].numpy()
    return mean_interval(curves[:, -1] - curves[:, 0])


def lead_elsewhere(curves: np.ndarray) -> Interval:
    """The lead of the class over the leaves at the noise where it is largest, in data that did not choose the noise.

    Args:
        curves: (draws, T, L+1), two draws or more, three or more for an interval. Every second one chooses the noise,
            the others are measured there, so that the largest of T noisy means is not taken for a lead.
    """
    ahead = curves[:, :, -1] - curves[:, :, 0]
    return normal_interval(ahead[1::2, int(ahead[::2].mean(0).argmax())])


def leads(
    noise: Noise,
    rules: Sequence[int],
    depths: Sequence[int],
    *,
    v: int,
    s: int,
    draws: int,
    data: int,
    generator: torch.Generator,
) -> dict[int, dict[int, Interval]]:
    """`lead_elsewhere` of exact inference, by m and by L, from five noises below the class's half height.

    Args:
        noise: a channel with v symbols.
        rules: m of the grammars. depths: their L.
        v, s, data, generator: as of `level_curves`.
        draws: of trees of the largest depth, four at least; twice as many for each level less, up to 8 times.
    """
    found: dict[int, dict[int, Interval]] = {}
    for m in rules:
        found[m] = {}
        for L in depths:
            size: dict[str, Any] = dict(v=v, m=m, s=s, L=L, generator=generator)
            t = about_half_height(noise, **size) * np.geomspace(0.4, 0.85, 5)
            more = min(8, 2 ** (max(depths) - L))
            curves = level_curves(noise, t, **size, draws=draws * more, data=data)
            found[m][L] = lead_elsewhere(curves.truth.numpy())
    return found
