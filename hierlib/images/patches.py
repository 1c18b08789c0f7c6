"""Do parts of the start come back in the sample? Patches of early features, matched wherever they are (figure 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hierlib._finite import finite
from hierlib.experiments.curves import Interval
from hierlib.images.probe import Probe, statistics
from hierlib.networks.probe import ADVICE, Moments

WINDOW = 4  #: positions a side of a patch


@torch.inference_mode()
def patch_match(
    probe: Probe, layer: str, start: Tensor, end: Tensor, moment: Moments, *, window: int = WINDOW
) -> Tensor:
    """How well each patch of the samples is found somewhere in their starts.

    The feature map of the sample is cut into windows side by side, that of the start into all windows; each window
    of the sample gets the largest cosine with any of the start, after each channel is centred and scaled.

    Args:
        probe: the network.
        layer: one of its layers that are maps (n, channels, h, w); h and w ≥ window.
        start: uint8 images (n, channels, height, width).
        end: the same, or several of them, (..., n, channels, height, width).
        moment: of that layer, from `hierlib.images.probe.statistics`.
        window: positions a side.

    Returns:
        (..., n, h // window, w // window) float64 in [-1, 1].

    Raises:
        ValueError: the layer is no map, smaller than a window or not finite; numbers of images differ.
    """
    if end.shape[-4:] != start.shape:
        raise ValueError(f"end: expected (..., {', '.join(map(str, start.shape))}) as start, got {tuple(end.shape)}")
    return _matches(_up_to(probe, layer), layer, [start], end, moment, window)[0]


def _up_to(probe: Probe, layer: str) -> Probe:
    """The same network, of which nothing is computed that comes after this layer."""
    if layer not in probe.layers:
        raise ValueError(f"layer: expected one of {', '.join(probe.layers)}, got {layer!r}")
    count = probe.layers.index(layer) + 1
    return replace(probe, nodes=dict(islice(probe.nodes.items(), count)))


def _matches(
    probe: Probe, layer: str, starts: Sequence[Tensor], end: Tensor, moment: Moments, window: int
) -> list[Tensor]:
    """`patch_match` with each of several starts; the samples are looked at once."""
    several = end.reshape(-1, *starts[0].shape)
    rows: list[list[Tensor]] = [[] for _ in starts]
    for *some, b in zip(*(start.split(16) for start in starts), several.split(16, 1), strict=True):  # in the cache
        y = _standardised(probe(b.flatten(0, 1))[layer], layer, moment, window)
        new = nn.functional.normalize(nn.functional.unfold(y, window, stride=window), dim=1).unflatten(0, b.shape[:2])
        for found, a in zip(rows, some, strict=True):
            x = _standardised(probe(a)[layer], layer, moment, window)
            old = nn.functional.normalize(nn.functional.unfold(x, window), dim=1)
            best = finite(torch.stack([(each.mT @ old).amax(2) for each in new]), f"layer {layer}", ADVICE)
            found.append(best.unflatten(2, (y.shape[2] // window, y.shape[3] // window)).cpu())
    return [torch.cat(found, 1).double().reshape(*end.shape[:-3], *found[0].shape[2:]) for found in rows]


def inked(images: Tensor, shape: tuple[int, int], threshold: int = 25) -> Tensor:
    """``(n, *shape)`` bool: which patches hold anything; of empty ones every image has some.

    Args:
        images: uint8 (n, channels, height, width).
        shape: number of patches down and across.
        threshold: a patch is empty if its grey levels differ by no more than this.
    """
    x = images.float()
    most, least = (nn.functional.adaptive_max_pool2d(sign * x, shape).amax(1) * sign for sign in (1, -1))
    return most - least > threshold


def mean_match(match: Tensor, mask: Tensor) -> Tensor:
    """(n,) mean over the patches of the mask; nan where an image has none."""
    return torch.where(mask, match, 0).sum((1, 2)) / mask.sum((1, 2))


def another_of_its_class(labels: Tensor, *, generator: torch.Generator) -> Tensor:
    """(n,) for each image the index of another one with the same label, in a random order.

    Raises:
        ValueError: a label occurs once only.
    """
    partner = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        if len(members) < 2:
            raise ValueError(f"labels: expected at least two images of class {int(label)}, got one")
        order = members[torch.randperm(len(members), generator=generator, device=generator.device)]
        partner[order] = order.roll(1)
    return partner


class Difference(NamedTuple):
    """A mean over images with its 95 % interval, by the normal law."""

    value: float  #: nan without images
    error: float  #: half the length of the interval; nan with fewer than two
    images: int  #: how many

    @property
    def standard_errors(self) -> float:
        """The value in standard errors; nan where there is no error."""
        return self.value / (self.error / 1.96) if self.images > 1 and self.error > 0 else float("nan")

    @property
    def interval(self) -> Interval:
        """The value with its ends."""
        return Interval(self.value, self.value - self.error, self.value + self.error)


class Parts(NamedTuple):
    """How well the patches of samples are found in their own starts, and in others of the same class."""

    own_patches: Tensor  #: (T, n, rows, columns) of `patch_match`
    other_patches: Tensor
    mask: Tensor  #: of the same shape, bool, patches that are not empty
    own: Tensor  #: (T, n) mean over the patches that are not empty
    other: Tensor

    def difference(self, i: int, chosen: Tensor | None = None) -> Difference:
        """Own minus other after U-turn i, over all images or those chosen, (n,) bool."""
        gap = (self.own - self.other)[i]
        values = gap[~gap.isnan() if chosen is None else chosen & ~gap.isnan()].numpy()
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
        return Difference(float(values.mean()) if len(values) else float("nan"), 1.96 * float(error), len(values))

    def found(self, rank: float) -> Tensor:
        """(T, n, rows, columns) bool: patches found better than `rank` per cent are found in another start."""
        return self.own_patches > float(np.percentile(self.other_patches[self.mask].numpy(), rank))


def parts(
    probe: Probe, layer: str, start: Tensor, ends: Tensor, labels: Tensor, *, generator: torch.Generator
) -> Parts:
    """Match samples with their own starts and with another start of the same class, patch by patch.

    Args:
        probe, layer, start: as for `patch_match`; the start's own moments standardise.
        ends: (T, n, channels, height, width) samples.
        labels: (n,) classes of the starts. If one of them occurs once only, the next image takes the place of another
            of its class.
        generator: source of randomness, for who is compared with whom.
    """
    probe = _up_to(probe, layer)
    moment = statistics(probe, start)[layer]
    alone = min(labels.bincount()[labels]) < 2
    next_one = torch.arange(len(labels), device=labels.device).roll(1)
    partner = next_one if alone else another_of_its_class(labels, generator=generator)
    with torch.inference_mode():
        own, other = _matches(probe, layer, [start, start[partner]], ends, moment, WINDOW)
    mask = torch.stack([inked(end, (own.shape[2], own.shape[3])) for end in ends])
    means = (torch.stack([mean_match(x, y) for x, y in zip(each, mask)]) for each in (own, other))
    return Parts(own, other, mask, *means)


def _standardised(a: Tensor, layer: str, moment: Moments, window: int) -> Tensor:
    if a.ndim != 4 or min(a.shape[2:]) < window:
        raise ValueError(f"layer {layer}: expected maps of at least {window} × {window}, got {tuple(a.shape[1:])}")
    scale = moment.scale(False)
    scale = torch.where(scale <= 1e-7 * moment.second.sqrt(), torch.inf, scale)
    return ((a.double() - moment.mean[:, None, None]) / scale[:, None, None]).float()
