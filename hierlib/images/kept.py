"""What a U-turn keeps of an image, as classifiers name it: the class, the kind of class, and what becomes what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hierlib.experiments.curves import Interval, bootstrap, estimate, half_height


class ClassKept(NamedTuple):
    """How often the class is kept, against the inversion time."""

    kept: Tensor  #: (classifiers, T, n) float64, 1 where a classifier names the same class before and after
    curve: np.ndarray  #: (n, T) mean over the classifiers
    band: Interval  #: (T,) mean over images, 95 % by resampling them
    chance: float  #: at the last time
    half: Interval  #: inversion time of the half height; nan if the curve does not come down to it

    @property
    def fall(self) -> tuple[float, float]:
        """The parts of the height at which nine tenths and one tenth are left, as values of the curve."""
        return 0.9 * (1 - self.chance) + self.chance, 0.1 * (1 - self.chance) + self.chance


def class_kept(named: Tensor, t: ArrayLike, *, seed: int = 0) -> ClassKept:
    """The class before and after, from what classifiers name.

    Args:
        named: (classifiers, 1 + T, n) classes; first those of the starts, then those after each U-turn.
        t: (T,) inversion times, increasing; at the last one nothing of the start should be left.
        seed: of the resampling of images.
    """
    t, kept = np.asarray(t, float), (named[:, 1:] == named[:, :1]).double()
    curve = kept.mean(0).T.numpy()
    band = Interval(curve.mean(0), *bootstrap(lambda y: y, curve, seed=seed))
    half = Interval(*map(float, estimate(lambda y: middle(t, y), curve, seed=seed)))
    return ClassKept(kept, curve, band, float(kept[:, -1].mean()), half)


def middle(t: ArrayLike, y: np.ndarray) -> float:
    """Where a curve is half-way to its last value; nan if nowhere."""
    return half_height(t, y, chance=y[-1]).t if y[-1] < 1 else float("nan")


def becomes(named: Tensor, i: int, order: Sequence[int]) -> Tensor:
    """(k, k) per cent of the images of each class of `order` (rows) that have each of them after U-turn i (columns).

    Args:
        named: as for `class_kept`; all classifiers count.
    """
    place = {c: j for j, c in enumerate(order)}
    table = torch.zeros(len(order), len(order), dtype=torch.float32, device="cpu")
    for row in named:
        for before, after in zip(row[0].tolist(), row[i + 1].tolist()):
            if before in place and after in place:
                table[place[before], place[after]] += 1
    return 100 * table / table.sum(1, keepdim=True).clamp_min(1)


class KindKept(NamedTuple):
    """What remains when the class is gone."""

    half: float  #: inversion time at which the kind is half-way to its last value
    delay: Interval  #: by how much later that is than for the class
    within: float  #: share of the images with a new class that are still of their kind
    within_by_chance: float  #: the same at the last time


def kind_kept(named: Tensor, t: ArrayLike, kinds: Sequence[Sequence[int]], i: int, *, seed: int = 0) -> KindKept:
    """Is the kind of an image kept for longer than its class?

    Args:
        named, t, seed: as for `class_kept`.
        kinds: the classes of each kind; together all of them.
        i: the U-turn at which `within` is taken.
    """
    of = torch.empty(sum(map(len, kinds)), dtype=torch.long, device="cpu")
    for kind, members in enumerate(kinds):
        of[list(members)] = kind
    same, new = of[named[:, 1:]] == of[named[:, :1]], named[:, 1:] != named[:, :1]
    curve, kind_curve = ((x.double().mean(0).T.numpy()) for x in (named[:, 1:] == named[:, :1], same))
    delay = estimate(lambda c, k: middle(t, k) - middle(t, c), curve, kind_curve, seed=seed)
    within, by_chance = (float(same[:, j][new[:, j]].double().mean()) for j in (i, -1))
    return KindKept(middle(t, kind_curve.mean(0)), Interval(*map(float, delay)), within, by_chance)
