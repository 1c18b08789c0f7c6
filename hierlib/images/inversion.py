"""Does the order of the layers invert? The decision rule, fixed before any result was looked at."""

from __future__ import annotations

from typing import NamedTuple

from scipy.stats import norm, t
from torch import Tensor

from hierlib._finite import finite


class Inversion(NamedTuple):
    """First layer minus logits, against inversion time."""

    difference: Tensor  #: (K,) mean over images and networks
    half_width: Tensor  #: (K,) of the interval that covers all K times at once with the given confidence

    @property
    def deep_is_kept(self) -> Tensor:
        """(K,) bool, whether the logits are more alike than the first layer, beyond doubt."""
        return self.difference + self.half_width < 0

    @property
    def shallow_is_kept(self) -> Tensor:
        """(K,) bool, whether the first layer is more alike than the logits, beyond doubt."""
        return self.difference - self.half_width > 0

    @property
    def inverts(self) -> bool:
        """The logits are kept better at some time, and at some later time the first layer is."""
        earlier = self.deep_is_kept.cummax(0).values
        return bool((earlier[:-1] & self.shallow_is_kept[1:]).any())


def inversion(cosine: Tensor, baseline: Tensor, confidence: float = 0.95, *, above_chance: bool = False) -> Inversion:
    """Compare the first layer and the logits of several networks in the same U-turns.

    The similarity of unrelated images is subtracted from each, as it is what remains when everything is lost. With
    D = (C_first - B_first) - (C_logits - B_logits), the variance of its mean has a part of the images, which all
    networks share, a part of the baseline, and a part of the few networks, which gets the quantile of Student's t.
    The confidence is shared among the K times (Bonferroni).

    D of two equal images is B_logits - B_first, and not 0: so much of a lead at little noise is the layers' own. With
    `above_chance` each layer is put on the scale (C - B)/(1 - B) first, B its mean over pairs, where it is 0.

    Args:
        cosine: (networks, K, images, 2) cosine similarity of start and sample in the first layer and in the logits,
            at increasing inversion times; networks ≥ 2, images ≥ 2.
        baseline: (networks, pairs, 2) the same of unrelated images; of many pairs, as their noise is in all intervals.
        confidence: that all K intervals hold.
        above_chance: on the scale where unrelated images have 0 and equal ones 1.

    Raises:
        ValueError: the shapes differ from these, or a similarity is not finite, of which no rule decides.
    """
    if cosine.ndim != 4 or baseline.ndim != 3 or len(cosine) != len(baseline) or cosine.shape[3] != 2:
        raise ValueError(
            f"expected cosine (networks, K, images, 2) and baseline (networks, pairs, 2), got {tuple(cosine.shape)} "
            f"and {tuple(baseline.shape)}"
        )
    networks, times, images, _ = cosine.shape
    if min(networks, images, baseline.shape[1]) < 2 or baseline.shape[2] != 2:
        raise ValueError(
            f"expected at least two networks, images and pairs, got {networks}, {images}, {baseline.shape}"
        )
    for name, x in dict(cosine=cosine, baseline=baseline).items():
        finite(x, name, "measure it again; of what is not there nothing can be decided")
    if above_chance:
        base = baseline.mean(1, keepdim=True)
        cosine, baseline = (cosine - base[:, None]) / (1 - base[:, None]), (baseline - base) / (1 - base)
    d = (cosine[..., 0] - cosine[..., 1]).double()
    b = (baseline[..., 0] - baseline[..., 1]).double()
    of_images = d.mean(0).var(-1) / images + b.mean(0).var() / b.shape[1]
    of_networks = (d.mean(2) - b.mean(1)[:, None]).var(0) / networks
    tail = 1 - (1 - confidence) / (2 * times)
    variance = norm.ppf(tail) ** 2 * of_images + t.ppf(tail, networks - 1) ** 2 * of_networks
    return Inversion(d.mean((0, 2)) - b.mean(), variance.sqrt())
