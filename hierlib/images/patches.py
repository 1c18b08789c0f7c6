"""Do parts of the start come back in the sample? Patches of early features, matched wherever they are (figure 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hierlib.images.probe import Probe
from hierlib.networks.probe import Moments


@torch.inference_mode()
def patch_match(probe: Probe, layer: str, start: Tensor, end: Tensor, moment: Moments, *, window: int = 4) -> Tensor:
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
        ValueError: the layer is no map, or smaller than a window; numbers of images differ.
    """
    if end.shape[-4:] != start.shape:
        raise ValueError(f"end: expected (..., {', '.join(map(str, start.shape))}) as start, got {tuple(end.shape)}")
    several, rows = end.reshape(-1, *start.shape), []
    for a, b in zip(start.split(16), several.split(16, 1), strict=True):  # few at once stay in the cache
        x, y = (_standardised(probe(part)[layer], layer, moment, window) for part in (a, b.flatten(0, 1)))
        old = nn.functional.normalize(nn.functional.unfold(x, window), dim=1)
        new = nn.functional.normalize(nn.functional.unfold(y, window, stride=window), dim=1).unflatten(0, b.shape[:2])
        best = torch.stack([(each.mT @ old).amax(2) for each in new])
        rows.append(best.unflatten(2, (y.shape[2] // window, y.shape[3] // window)).cpu())
    return torch.cat(rows, 1).double().reshape(*end.shape[:-3], *rows[0].shape[2:])


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


def _standardised(a: Tensor, layer: str, moment: Moments, window: int) -> Tensor:
    if a.ndim != 4 or min(a.shape[2:]) < window:
        raise ValueError(f"layer {layer}: expected maps of at least {window} × {window}, got {tuple(a.shape[1:])}")
    scale = moment.scale(False)
    scale = torch.where(scale <= 1e-7 * moment.second.sqrt(), torch.inf, scale)
    return ((a.double() - moment.mean[:, None, None]) / scale[:, None, None]).float()
