"""What a result of `figure8` says, with intervals over grammars: likeness, order of layers, levels that they follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy import stats

from hierlib.experiments.curves import NOTHING, Interval, bootstrap, crossing, half_height, width

Array = np.ndarray
BELOW = (0.35, 0.05)  # the rule's noises before the class's half height: from, to
ABOVE = (0.05, 0.15)  # and after it


def student_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over grammars of the mean over their networks, and its interval by Student's t over the grammars.

    Networks of one grammar share rules and data, so that grammars are what is independent: three of them leave two
    degrees of freedom, and the interval is wide.

    Args:
        values: (grammars, networks, …), at least two grammars; nan for a network that is not there.
        level: coverage.

    Returns:
        The mean and its ends, each of shape ``values.shape[2:]``.

    Raises:
        ValueError: fewer than two grammars.
    """
    each = np.nanmean(np.asarray(values, float), axis=1)
    if len(each) < 2:
        raise ValueError(f"expected at least 2 grammars, got {len(each)}: an interval needs them")
    mean, half = each.mean(0), each.std(0, ddof=1) / len(each) ** 0.5 * stats.t.isf((1 - level) / 2, len(each) - 1)
    return Interval(mean, mean - half, mean + half)


def above_chance(cosine: ArrayLike, baseline: ArrayLike) -> Array:
    """A cosine on the scale where 0 is that of two unrelated data and 1 that of a datum with itself."""
    cosine, baseline = np.asarray(cosine, float), np.asarray(baseline, float)
    return (cosine - baseline) / (1 - baseline)


def cosines(data: xr.Dataset, weights: str) -> Array:
    """The cosines of a result: (grammar, seed, eps, layer)."""
    return data.cosine.sel(weights=weights).transpose("grammar", "seed", "eps", "layer").values


def likeness(data: xr.Dataset, weights: str) -> Array:
    """The same `above_chance`, 1 for a datum with itself and 0 for two unrelated ones."""
    baseline = data.baseline.sel(weights=weights).transpose("grammar", "seed", "layer").values
    return above_chance(cosines(data, weights), baseline[:, :, None])


class Order(NamedTuple):
    """First layer minus logits, both by `above_chance`, on both sides of the transition."""

    inverts: bool  #: the logits are ahead at every noise below, the first layer at every noise above
    transition: float  #: ε at which the class is at half height by exact inference
    below: Array  #: (T', 4) rows ε, mean, lo, hi
    above: Array  #: (T'', 4)
    crossing: tuple[float, float, float]  #: mean, lo, hi of the ε where the two cross; nan if some network has none


def order_of_layers(data: xr.Dataset, weights: str = "trained") -> Order:
    """Decide whether the order of the layers inverts at the transition, from a result of `figure8`.

    The rule: ε is below the transition from 0.35 to 0.05 before the class's half height, above it from 0.05 to 0.15
    after it. The order inverts if the 95 % interval of the difference, first layer minus logits, is below zero at
    *every* noise below and above zero at *every* noise above. A network with a fixed order fails on one side.

    Args:
        data: from `figure8`.
        weights: "trained" or "untrained".

    Raises:
        ValueError: there is no noise on one of the sides, or the class has no half height; a similarity is missing at
            one of these noises, of which the rule cannot decide.
    """
    eps = data.eps.values
    middle = half_height(eps, data.overlap.isel(level=-1).mean("grammar").values, chance=1 / data.attrs["v"]).t
    height = likeness(data, weights)
    ahead = height[..., 0] - height[..., -1]
    rows = np.stack([eps, *student_interval(ahead)], 1)
    below = rows[(eps >= middle - BELOW[0]) & (eps <= middle - BELOW[1])]
    above = rows[(eps >= middle + ABOVE[0]) & (eps <= middle + ABOVE[1])]
    if not (len(below) and len(above)):
        raise ValueError(f"expected noises on both sides of the class's half height, {middle:.3f}, got {eps.tolist()}")
    for row in (*below, *above):
        if not np.isfinite(row).all():
            raise ValueError(f"ε = {row[0]:g}: expected the similarity of every layer, got {row[1]}; measure it again")
    near = (eps >= below[0, 0]) & (eps <= above[-1, 0])
    cross = np.full(ahead.shape[:2], np.nan)
    for i in np.ndindex(*cross.shape):
        if not np.isnan(ahead[i]).any():
            cross[i] = crossing(eps[near], height[i][near, -1], height[i][near, 0])
    there = ~np.isnan(ahead).any(-1)
    value, lo, hi = NOTHING if np.isnan(cross[there]).any() else student_interval(cross)
    place = (float(value), float(lo), float(hi))
    return Order(bool((below[:, 3] < 0).all() and (above[:, 2] > 0).all()), middle, below, above, place)


def order_inverts(data: xr.Dataset, weights: str = "trained") -> bool:
    """Whether the order of the layers inverts; the rule is that of `order_of_layers`."""
    return order_of_layers(data, weights).inverts


class HalfHeights(NamedTuple):
    """Noises ε at which something has fallen half-way to chance, each with its interval over grammars."""

    logits: Interval  #: the likeness of the logits
    same: Interval  #: that the network names the same class
    exact: Interval  #: that the class is kept, by exact inference
    logits_over_networks: tuple[float, float]  #: of the first, bootstrapped over networks, as if all were independent


def half_heights(data: xr.Dataset, *, seed: int = 0) -> HalfHeights:
    """Where the class goes, by three measures, from a result of `figure8`. `seed` is that of the bootstrap."""
    eps, chance = data.eps.values, 1 / data.attrs["v"]
    logits = likeness(data, "trained")[..., -1]
    same = data.same.sel(weights="trained").transpose("grammar", "seed", "eps").values
    kept = data.overlap.values[:, None, :, -1]
    curves = logits.reshape(-1, len(eps))
    curves = curves[~np.isnan(curves).any(1)]
    lo, hi = bootstrap(lambda y: half_height(eps, y, chance=0).t, curves, seed=seed)

    def middle(values: Array, chance: float) -> Interval:
        return _scalar(each_network(lambda y: half_height(eps, y, chance=chance).t, values))

    bounds = (float(lo), float(hi))
    return HalfHeights(middle(logits, 0.0), middle(same, chance), middle(kept, chance), bounds)


class Falls(NamedTuple):
    """Widths in ε of the fall from 0.9 to 0.1 of the height."""

    logits: Interval
    first: Interval  #: layer
    ratio: Interval  #: of the two, network by network


def falls(data: xr.Dataset) -> Falls:
    """How fast the logits and the first layer of trained networks let go."""
    eps, height = data.eps.values, likeness(data, "trained")
    last, first = (each_network(lambda y: width(eps, y, chance=0, log=False), height[..., layer]) for layer in (-1, 0))
    return Falls(*map(_scalar, (last, first, last / first)))


class Followed(NamedTuple):
    """Largest distances of layers from levels, up to some noise: their magnitude with the interval where they are."""

    hidden: Interval  #: of layer k from level k - 1, over the hidden layers
    first: Interval  #: of the first layer from the leaves


def followed(data: xr.Dataset, *, up_to: float = 0.7) -> Followed:
    """How far the plain cosine of layer k is from the probability that a symbol of level k - 1 is kept."""
    L, low = data.attrs["L"], data.eps.values <= up_to
    gap = cosines(data, "trained")[..., :L] - data.overlap.values[:, None, :, :L]
    mean = np.asarray(student_interval(gap).value)[low]
    noise, layer = np.unravel_index(np.abs(mean).argmax(), mean.shape)
    first = int(np.abs(mean[:, 0]).argmax())
    return Followed(_magnitude(gap[:, :, noise, layer]), _magnitude(gap[:, :, first, 0]))


class Read(NamedTuple):
    """Share of the symbols that a linear probe reads rightly, (layers, levels) each: layer k in row k - 1."""

    trained: Array
    untrained: Array
    own: Array  #: after a U-turn of the strongest noise, trained: the symbols of where it ended
    start: Array  #: and of where it started
    eps: float  #: that noise

    def diagonal(self, name: str, below: int = 0) -> Array:
        """Layer k reads level k - below, for all hidden layers k = 1 … L."""
        table = getattr(self, name)
        return np.array([float(table[k, k + 1 - below]) for k in range(table.shape[0] - 1)])


def read(data: xr.Dataset) -> Read:
    """The tables of the probes, averaged over networks and grammars."""
    dims = ("grammar", "seed", "layer", "level")

    def mean(shares: xr.DataArray) -> Array:
        return np.asarray(student_interval(shares.transpose(*dims).values).value)

    trained, untrained = (mean(data.read_before.sel(weights=w)) for w in ("trained", "untrained"))
    strong = data.sel(weights="trained").isel(probe_eps=-1)
    return Read(trained, untrained, mean(strong.read_own), mean(strong.read_start), float(data.probe_eps.values[-1]))


def each_network(statistic: Callable[[Array], float], values: Array) -> Array:
    """A statistic of the curve of each network, (grammars, networks); nan where there is no network."""
    flat = values.reshape(-1, *values.shape[2:])
    return np.array([np.nan if np.isnan(y).any() else statistic(y) for y in flat]).reshape(values.shape[:2])


def _scalar(values: Array) -> Interval:
    return Interval(*map(float, student_interval(values)))


def _magnitude(values: Array) -> Interval:
    value, lo, hi = _scalar(values)
    return Interval(value, lo, hi) if value >= 0 else Interval(-value, -hi, -lo)
