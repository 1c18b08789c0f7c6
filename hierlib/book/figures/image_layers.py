"""Figures of U-turns of images, seen by the layers of networks: curves, differences, and other ways to ask."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike
from torch import Tensor

from hierlib.book.figures.layers import layers_html
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.experiments.curves import Interval
from hierlib.images.inversion import Inversion
from hierlib.images.layer_statistics import ENDS, Ahead, Change, Look, Split, class_kept, stack

STOPS = np.round(np.arange(0.1, 1.01, 0.1), 2)  # of the live figure's slider
_TIME = "inversion time $t/T$"
_COSINE = "cosine of start and end"


def trained_and_untrained(
    t: np.ndarray, names: Sequence[str], height: Mapping[str, ArrayLike], kept: ArrayLike
) -> Drawing:
    """Likeness of start and end in each layer, trained and untrained, beside the class.

    Args:
        t: (T,) inversion times, t/T, from 0.1 or below to 1.
        names: of the layers.
        height: of "trained" and "untrained" networks, (T, layers); 1 is identical and 0 is two unrelated images.
        kept: (T,) share of the images that keep their class.

    Returns:
        A `Drawing` with a live figure.
    """
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.3), sharey=True)
    shown = {which: np.asarray(height[which]) for which in ("trained", "untrained")}
    for ax, (which, y) in zip(axes, shown.items()):
        _class(ax, t, kept)
        lines = _curves(ax, t, y)
        ax.set(title=which, xlabel=_TIME, ylim=(-0.08, 1.02))
    axes[0].set_ylabel("likeness of start and end")
    style.label_lines(axes[1], [lines[0], lines[-1]], [names[0], names[-1]])
    stops = {which: np.stack([np.interp(STOPS, t, curve) for curve in y.T], 1) for which, y in shown.items()}
    live = layers_html(
        STOPS, names, stops, np.interp(STOPS, t, np.asarray(kept)), start=4, axis=("inversion time", "t/T")
    )
    alt = (
        f"Two panels of {len(names)} falling curves, one a layer, and a dotted one for the class. Trained: "
        f"{_order(t, names, shown['trained'])}. Untrained: {_order(t, names, shown['untrained'])}."
    )
    return Drawing(fig, alt, live)


def means_and_peaks(
    t: np.ndarray, means: ArrayLike, peaks: ArrayLike, bands: Sequence[Interval], kept: ArrayLike, half: float
) -> Drawing:
    """Figure 2 of the paper: cosine in every layer, mean and peak of the distribution over images.

    Args:
        t: (T,) inversion times, t/T.
        means, peaks: (T, layers).
        bands: of the means of the first layer and of the logits, (T,) each.
        kept: (T,) share of the images that keep their class; half: the time at which it is at half height, or nan.
    """
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.3), sharey=True)
    for ax, y, title in zip(axes, (means, peaks), ("mean", "peak")):
        lines = _curves(ax, t, y)
        _class(ax, t, kept)
        style.noise_ruler(ax, half=half, label=_TIME)
        ax.set(title=title, ylim=(-0.12, 1.03))
    for j, band in zip(ENDS, bands, strict=True):
        axes[0].fill_between(t, *band.bounds, color=lines[j].get_color(), alpha=0.2, lw=0)
    axes[0].set_ylabel(_COSINE)
    ends = np.asarray(means)[-1, ENDS]
    alt = (
        "Two panels of falling curves, one a layer. Left, means: at the end the first layer is at "
        f"{ends[0]:.2f} and the logits are at {ends[1]:.2f}. Right, peaks: the same with steps."
    )
    return Drawing(fig, alt)


def differences(
    t: np.ndarray, trained: Inversion, untrained: Inversion, half: float, cloud_t: np.ndarray, cloud: Inversion
) -> Drawing:
    """First layer minus logits with bands that hold at all times together: on images, and on two clouds beside.

    Args:
        t, cloud_t: (T,) inversion times, t/T, of images and of clouds.
        trained, untrained, cloud: from `hierlib.images.inversion.inversion`.
        half: the time at which the class of the images is at half height, or nan.
    """
    fig, (ax, right) = plt.subplots(1, 2, figsize=(6, 3), sharey=True, width_ratios=[3, 2])
    colour = style.palette(1)[-1]
    _band(ax, t, trained, colour, "trained")
    _band(ax, t, untrained, style.CHANCE, "untrained")
    _band(right, cloud_t, cloud, colour, "two clouds")
    for each in (ax, right):
        each.axhline(0, color=style.INK, lw=0.8)
    style.noise_ruler(ax, half=half, label=_TIME)
    right.set(xlabel=_TIME, title="two clouds")
    ax.set(ylabel="first layer minus logits", title="images")
    ax.legend(loc="upper right", fontsize=9)
    alt = (
        f"Left, two bands against time: one for trained networks, which {_sides(trained)}, and one for untrained "
        f"networks, which {_sides(untrained)}. Right, one for two clouds, which {_sides(cloud)}."
    )
    return Drawing(fig, alt)


def choices(rows: Mapping[str, Ahead]) -> Drawing:
    """Each way to ask as a row: logits minus first layer before the class is lost, the opposite after it."""
    names = list(rows)
    fig, axes = plt.subplots(1, 2, figsize=(6, 0.6 + 0.26 * len(names)), sharey=True)
    columns = [row.before for row in rows.values()], [row.after for row in rows.values()]
    for ax, column, title in zip(axes, columns, ("before: logits ahead", "after: first layer ahead")):
        x = np.array(column)
        y = np.arange(len(names))[::-1]
        ax.errorbar(x[:, 0], y, xerr=x[:, 1], fmt="s", color=style.palette(1)[-1], markersize=4, lw=1)
        ax.axvline(0, color=style.INK, lw=0.8)
        ax.set_title(title, fontsize=9.5)
        ax.set(xlabel="difference of cosines", xlim=(min(-0.15, 1.2 * x[:, 0].min()), max(0.15, 1.2 * x[:, 0].max())))
    axes[0].set_yticks(range(len(names))[::-1], names, fontsize=8.5)
    right = [sum(one.value > 0 for one in column) for column in columns]
    alt = (
        f"Two columns of {len(names)} points with bars, one row for each way to ask. Right of zero lie {right[0]} of "
        f"the points before the class is lost, and {right[1]} after it."
    )
    return Drawing(fig, alt)


def other_index(t: np.ndarray, found: Change | None, first: str) -> Drawing:
    """What another way to make the same U-turns changes, time by time: the class, the first layer, the logits.

    Args:
        t: (T,) inversion times, t/T.
        found: of the matched time index; None if it was not tried, then the figure says so.
        first: name of the first layer.
    """
    fig, ax = plt.subplots(figsize=(6, 2.7))
    colours = style.INK, *style.palette(1)
    rows = () if found is None else (found.kept, found.cosine[..., 0], found.cosine[..., 1])
    for shift, row, colour, label in zip((-0.008, 0, 0.008), rows, colours, ("class kept", first, "logits")):
        error = 1.96 * row.std(1) / row.shape[1] ** 0.5
        ax.errorbar(t + shift, row.mean(1), error, fmt="D", ms=4, mfc="none", color=colour, lw=1, label=label)
    ax.axhline(0, color=style.CHANCE, ls=":", lw=1.2)
    ax.set(xlabel=_TIME, ylabel="matched minus published")
    if found is None:
        return Drawing(fig, "No points: there are no other U-turns of these images.")
    ax.margins(y=0.2)
    ax.legend(loc="upper right", ncols=3, fontsize=9)
    largest = max(float(row.mean(1).abs().max()) for row in rows)
    return Drawing(fig, f"Points with bars at all times, in three colours, no further than {largest:.2f} from zero.")


def kinds(t: np.ndarray, panels: Mapping[str, Sequence[Look]]) -> Drawing:
    """Figure 16 of the paper: one panel for each kind of network, cosines of all layers.

    Args:
        t: (T,) inversion times, t/T.
        panels: name → networks of the same layers at the same U-turns.
    """
    down = -(-len(panels) // 3)
    fig, axes = plt.subplots(down, 3, figsize=(6, 0.4 + 2.3 * down), sharey=True, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    lead = 0
    for ax, (name, looks) in zip(axes.flat, panels.items()):
        curves = stack(looks)[0].mean((0, 2))
        lead += bool(curves[0, -1] > curves[0, 0])
        _curves(ax, t, curves)
        _class(ax, t, class_kept(looks).double().mean((0, 2)))
        ax.set_title(name, fontsize=9.5)
        ax.set(xlabel=_TIME, ylim=(-0.12, 1.03))
    axes[0, 0].set_ylabel(_COSINE)
    alt = (
        f"Panels of falling curves, one for each of {len(panels)} kinds of networks. In {lead} of them the logits are "
        "above the first layer at the smallest time."
    )
    return Drawing(fig, alt)


def by_class(t: np.ndarray, names: Sequence[str], parted: Split, half: float) -> Drawing:
    """Cosine in the first layer, a middle one and the logits, of images that kept their class and of the others.

    Args:
        t: (T,) inversion times, t/T.
        names: of the layers.
        parted: from `hierlib.images.layer_statistics.split`.
        half: the time at which the class is at half height, or nan.
    """
    L = len(names) - 1
    lines: dict[str, Line2D] = {}
    fig, ax = plt.subplots(figsize=(6, 3.1))
    for j in dict.fromkeys((0, len(names) // 2, L)):
        for part, dash in ((parted.kept, "-"), (parted.changed, (0, (5, 2)))):
            every, low, high = map(np.asarray, part)
            there = np.isfinite(every[:, j])
            if there.any():
                y, lo, hi = (x[there, j] for x in (every, low, high))
                look = {"color": style.palette(L)[j], "lw": style.widths(L)[j], "elinewidth": 0.8, "ls": dash}
                drawn = ax.errorbar(t[there], y, yerr=(y - lo, hi - y), **look)
                lines.setdefault(names[j], drawn[0])
    style.noise_ruler(ax, half=half, label=_TIME)
    ax.set(ylabel=_COSINE)
    if lines:
        style.label_lines(ax, list(lines.values()), list(lines))
    i = parted.nearest(t, half if np.isfinite(half) else 0.5)
    said = "there are too few images of one kind"
    if i is not None:
        gap = np.asarray(parted.kept.value)[i] - np.asarray(parted.changed.value)[i]
        said = f"at {t[i]:g} they are {gap[0]:.2f} apart in the first layer and {gap[-1]:.2f} in the logits"
    alt = f"Pairs of curves, solid for images that kept their class, dashed for those that did not; {said}."
    return Drawing(fig, alt)


def _curves(ax: Axes, t: np.ndarray, y: ArrayLike | Tensor) -> list:
    """One line a layer, first to last."""
    y = np.asarray(y)
    L = y.shape[1] - 1
    return [ax.plot(t, y[:, j], color=style.palette(L)[j], lw=style.widths(L)[j])[0] for j in range(L + 1)]


def _class(ax: Axes, t: np.ndarray, kept: ArrayLike | Tensor) -> None:
    ax.plot(t, kept, ":", color=style.INK, lw=1.4)


def _band(ax: Axes, t: np.ndarray, found: Inversion, colour: str, label: str) -> None:
    d, h = found.difference.numpy(), found.half_width.numpy()
    ax.fill_between(t, d - h, d + h, color=colour, alpha=0.25, lw=0)
    ax.plot(t, d, color=colour, lw=1.8, label=label)


def _sides(found: Inversion) -> str:
    sides = [
        word for word, beyond in (("below", found.deep_is_kept), ("above", found.shallow_is_kept)) if bool(beyond.any())
    ]
    return f"is {' and '.join(sides)} zero at some times" if sides else "is at zero at all times"


def _order(t: np.ndarray, names: Sequence[str], height: np.ndarray) -> str:
    i = int(np.abs(t - 0.5).argmin())
    return f"at {t[i]:g} {names[int(height[i].argmax())]} is highest and {names[int(height[i].argmin())]} lowest"
