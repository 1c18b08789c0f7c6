"""What the layers of image networks make of U-turns, with intervals: which of them is ahead, how fast each falls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib.experiments.curves import Interval, bootstrap
from hierlib.images.classifier import ImageCNN
from hierlib.images.probe import LayerSimilarity, Probe, baseline, cnn_probe, compare, statistics, torchvision_probe
from hierlib.images.sampler import Images, UTurns
from hierlib.networks.probe import Moments

ENDS = [0, -1]  #: the first layer and the logits, which all networks have, however many layers are between
Array = np.ndarray


class Look(NamedTuple):
    """What one network makes of U-turns, and of pairs of images that have nothing to do with each other."""

    alike: list[LayerSimilarity]  #: one for each inversion time, of the same images
    unrelated: Tensor  #: (pairs, layers) cosine

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in order."""
        return self.alike[0].layers


def untrained(probe: Probe, seed: int) -> Probe:
    """The same network with weights as they are drawn before training, on the same device.

    Args:
        probe: of an `ImageCNN` or a network of torchvision.
        seed: of the weights.
    """
    if isinstance(probe.network, ImageCNN):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            network = ImageCNN(**probe.network.config).requires_grad_(False)
        drawn = cnn_probe(network, "untrained", trained=False)
    else:
        drawn = torchvision_probe(probe.name.partition(",")[0], random_seed=seed)
    drawn.network.to(next(probe.network.parameters()).device)
    return drawn


def look(
    probe: Probe,
    turns: Sequence[UTurns],
    images: Images,
    *,
    generator: torch.Generator,
    moments: Mapping[str, Moments] | None = None,
    raw_second_moment: bool = False,
) -> Look:
    """Shows U-turns to a network.

    Args:
        probe: the network.
        turns: one for each inversion time, with all images.
        images: that stand for the data: activations are standardised over them, and each makes two unrelated pairs.
        generator: of the pairs.
        moments: `statistics` of the network over these images, if they are known.
        raw_second_moment: standardise by √E[a²], as the authors' code does.
    """
    moments = moments or statistics(probe, images)
    alike = list(compare(probe, turns, moments, raw_second_moment=raw_second_moment).values())
    pairs = [
        baseline(probe, images, moments, generator=generator, raw_second_moment=raw_second_moment) for _ in range(2)
    ]
    return Look(alike, torch.cat([row.cosine for row in pairs]))


def stack(looks: Sequence[Look], layers: slice | Sequence[int] = slice(None)) -> tuple[Tensor, Tensor]:
    """Cosines (network, T, image, layer) and of unrelated images (network, pair, layer), of some layers (indices)."""
    cosines = torch.stack([torch.stack([a.cosine[:, layers] for a in one.alike]) for one in looks])
    return cosines, torch.stack([one.unrelated[:, layers] for one in looks])


def class_kept(looks: Sequence[Look]) -> Tensor:
    """(network, T, image) bool, whether a network names the same class for start and end."""
    return torch.stack([torch.stack([a.kept for a in one.alike]) for one in looks])


def peaks(looks: Sequence[Look], layers: slice | Sequence[int] = slice(None)) -> Tensor:
    """(network, T, layer) the peak of the distribution of cosines over images, of some layers (indices)."""
    return torch.stack([torch.stack([a.peak()[layers] for a in one.alike]) for one in looks])


class Difference(NamedTuple):
    """A difference of cosines."""

    value: float
    error: float  #: half of its 95 % interval

    @property
    def sure(self) -> bool:
        """It is above zero beyond its error."""
        return self.value > self.error

    @property
    def interval(self) -> Interval:
        """The same with its ends."""
        return Interval(self.value, self.value - self.error, self.value + self.error)


class Ahead(NamedTuple):
    """Which end of the network finds start and end of U-turns more alike, before the class is lost and after."""

    before: Difference  #: logits minus first layer, at the time nearest to 0.1
    after: Difference  #: first layer minus logits, at the time past the half height of the class where it is largest
    t: float  #: that time

    @property
    def signs(self) -> tuple[bool, bool]:
        """Whether each is above zero."""
        return self.before.value > 0, self.after.value > 0


def early(t: Array) -> int:
    """Index of the time nearest to a tenth of the whole time, well before the class is lost."""
    return int(np.abs(t - 0.1).argmin())


def ahead(looks: Sequence[Look], t: Array, half: float, *, first: int = 0, subtract: bool = True) -> Ahead:
    """Mean over networks and images, with 1.96 standard errors over images.

    Args:
        looks: of several networks at the same U-turns.
        t: (T,) inversion times, t/T.
        half: the time at which the class is at half height; nan if it never is, then the last time counts as past it.
        first: the layer that is compared with the logits.
        subtract: the likeness of unrelated images from each.
    """
    cosines, unrelated = stack(looks, [first, -1])
    level = subtract * float((unrelated[..., 0] - unrelated[..., 1]).mean())
    d = (cosines[..., 0] - cosines[..., 1]).mean(0) - level
    return _ahead(t, half, d.mean(1), 1.96 * d.std(1) / d.shape[1] ** 0.5)


def peaks_ahead(looks: Sequence[Look], t: Array, half: float, *, num: int = 200) -> Ahead:
    """The same for the peaks of the distributions over images, the likeness of unrelated images subtracted.

    Args:
        looks, t, half: as for `ahead`. The interval is that of the first network, bootstrapped over images.
        num: of resamplings.
    """
    y, base = peaks(looks, ENDS).mean(0), stack(looks, ENDS)[1].mean((0, 1))
    low, high = (torch.stack(x)[:, ENDS] for x in zip(*(a.peak_interval(num=num) for a in looks[0].alike)))
    error = (((high - low) / 2) ** 2).sum(1).sqrt()
    return _ahead(t, half, (y[:, 0] - base[0]) - (y[:, 1] - base[1]), error)


def _ahead(t: Array, half: float, d: Tensor, error: Tensor) -> Ahead:
    past = [int(i) for i in np.flatnonzero(half < t)] if np.isfinite(half) else [len(t) - 1]
    i, late = early(t), max(past, key=lambda i: float(d[i]))
    before, after = Difference(-float(d[i]), float(error[i])), Difference(float(d[late]), float(error[late]))
    return Ahead(before, after, float(t[late]))


def ways(looks: Sequence[Look], raw: Sequence[Look], names: Sequence[str], t: Array, half: float) -> dict[str, Ahead]:
    """`ahead`, asked in other ways of the same U-turns: other statistics, other layers, each network on its own.

    Args:
        looks, t, half: as for `ahead`.
        raw: of the same networks, by `look` with raw_second_moment.
        names: of the networks.

    Returns:
        By the name of the way; the first, "as above", is `ahead` itself.
    """
    rows = {
        "as above": ahead(looks, t, half),
        "nothing subtracted": ahead(looks, t, half, subtract=False),
        "peak instead of mean": peaks_ahead(looks, t, half),
        "divided by $\\sqrt{E[a^2]}$": ahead(raw, t, half),
        "second layer as the first": ahead(looks, t, half, first=1),
    }
    return rows | {name.replace("-", " "): ahead([one], t, half) for name, one in zip(names, looks, strict=True)}


def over_networks(looks: Sequence[Look], t: Array, half: float) -> Ahead:
    """`ahead`, its errors widened by what the networks (two or more) differ in: both are added in squares."""
    found, each = ahead(looks, t, half), [ahead([one], t, half) for one in looks]

    def widened(of_all: Difference, singly: list[Difference]) -> Difference:
        between = 1.96 * np.std([one.value for one in singly], ddof=1) / len(singly) ** 0.5
        return Difference(of_all.value, float(np.hypot(of_all.error, between)))

    before, after = widened(found.before, [a.before for a in each]), widened(found.after, [a.after for a in each])
    return Ahead(before, after, found.t)


class Falls(NamedTuple):
    """How fast the class and the layers fall with the inversion time; intervals are bootstrapped over images."""

    class_width: Interval  #: t/T that the class takes from 0.9 to 0.1 of its height
    ratio: Interval  #: the same over the width of the layer that takes longest, among the first half of the layers
    steepest: Interval  #: steepest slope of the first layer over that of the logits


def falls(cosine: Tensor, kept: Tensor, t: Array, *, seed: int = 0) -> Falls:
    """Widths and slopes of the falling curves.

    Args:
        cosine: (network, T, image, layer) from `stack`.
        kept: (network, T, image) from `class_kept`, of any number of networks.
        t: (T,) inversion times, t/T.
        seed: of the bootstrap.
    """
    means, of_class = cosine.mean((0, 2)).numpy(), kept.double().mean((0, 2)).numpy()
    kept_of_image = kept.double().mean(0).T.numpy()
    of_image = [x.T.numpy() for x in cosine.mean(0).movedim(-1, 0)]  # each layer's (image, T)
    half = range(cosine.shape[-1] // 2)

    def widths(kept_curve: Array, *curves: Array) -> float:
        return fall_width(t, kept_curve) / max(fall_width(t, y) for y in curves)

    def slopes(first: Array, last: Array) -> float:
        return float(np.max(-np.diff(first) / np.diff(t)) / np.max(-np.diff(last) / np.diff(t)))

    def found(statistic: Callable[..., float], values: Sequence[Array], rows: Sequence[Array]) -> Interval:
        return Interval(statistic(*values), *map(float, bootstrap(statistic, *rows, seed=seed)))

    return Falls(
        found(lambda y: fall_width(t, y), [of_class], [kept_of_image]),
        found(widths, [of_class, *(means[:, j] for j in half)], [kept_of_image, *(of_image[j] for j in half)]),
        found(slopes, [means[:, 0], means[:, -1]], [of_image[0], of_image[-1]]),
    )


def fall_width(t: Array, y: Array) -> float:
    """Time that a curve takes from 0.9 to 0.1 of the height that it falls from its first to its last point.

    >>> round(fall_width(np.linspace(0, 1, 11), np.linspace(1, 0, 11)), 3)
    0.8
    """
    fallen = -(y - y[-1]) / (y[0] - y[-1]) + 1
    return float(np.interp(0.9, fallen, t) - np.interp(0.1, fallen, t))


class Change(NamedTuple):
    """What other U-turns of some of the same images change, image by image: other minus these, mean over networks."""

    cosine: Tensor  #: (T, images, 2) of the first layer and of the logits
    kept: Tensor  #: (T, images) of the share of networks that keep the class
    among: Tensor  #: (images,) which of these images the other ones are

    @property
    def at_first(self) -> list[float]:
        """Mean change of cosine at the first time, of the first layer and of the logits."""
        return self.cosine.mean(1)[0].tolist()

    @property
    def at_most(self) -> list[float]:
        """The largest mean change at the other times, whatever its sign, of both."""
        return self.cosine.mean(1)[1:].abs().amax(0).tolist()


def change(others: Sequence[Look], looks: Sequence[Look], other_start: Tensor, start: Tensor) -> Change:
    """Compares the U-turns of two denoisers, or of two ways to make them.

    Args:
        others, looks: of the same networks at the other U-turns and at these, at the same times.
        other_start, start: the images that they started from, uint8 (images, …).

    Raises:
        ValueError: one of the other images is not among these.
    """
    same = (start[:, None] == other_start).flatten(2).all(2)
    if not same.any(0).all():
        raise ValueError(
            f"other_start: expected images that are among the {len(start)} of start, got "
            f"{int((~same.any(0)).sum())} of {len(other_start)} that are not; take the U-turns of the same images"
        )
    among = same.double().argmax(0)
    cosine = stack(others, ENDS)[0].mean(0) - stack(looks, ENDS)[0][:, :, among].mean(0)
    kept = class_kept(others).double().mean(0) - class_kept(looks)[:, :, among].double().mean(0)
    return Change(cosine, kept, among)


class Split(NamedTuple):
    """Cosines (T, layers) by whether the class was kept: means with 1.96 standard errors, nan of too few images."""

    kept: Interval
    changed: Interval

    def nearest(self, t: Array, at: float) -> int | None:
        """Index of the time nearest to one, of those with enough images of either kind; None if there is none."""
        both = np.flatnonzero(np.isfinite(np.asarray(self.kept.value)[:, 0] + np.asarray(self.changed.value)[:, 0]))
        return int(min(both, key=lambda i: abs(t[i] - at))) if len(both) else None


def split(one: Look, *, least: int = 10) -> Split:
    """Parts the images of a network's U-turns at every time; `least` images of a kind make a mean (2 or more)."""
    kept = class_kept([one])[0]
    parts = []
    for chosen in (kept, ~kept):
        rows = np.full((3, len(one.alike), len(one.layers)), np.nan)
        for i, alike in enumerate(one.alike):
            x = alike.cosine[chosen[i]]
            if len(x) >= least:
                mean, error = x.mean(0), 1.96 * x.std(0) / len(x) ** 0.5
                rows[:, i] = torch.stack([mean, mean - error, mean + error]).numpy()
        parts.append(Interval(*rows))
    return Split(*parts)
