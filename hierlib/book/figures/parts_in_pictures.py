"""Figures of pictures made of parts: a sheet of U-turns, levels beside layers, layers by what the denoiser knows."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike

from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, CHANGED, INK, WIDTH, Options, data, palette
from hierlib.experiments.curves import Interval

_PALE = 0.3  # what is left of a tile that has changed
_MARKS = ("o", "s", "^", "v", "D", "P")


def sheet(
    pictures: ArrayLike, changed: ArrayLike, classes: ArrayLike, noisy: ArrayLike, signal: Sequence[float]
) -> Drawing:
    """Pictures at the start and after U-turns at more and more noise; tiles that have changed are pale.

    Args:
        pictures: (1 + T, n, side, side, 3) uint8, the starts first.
        changed: the same shape without the last axis, bool, pixels of tiles that have changed.
        classes: (1 + T, n) numbers of the classes, written as letters.
        noisy: (T, side, side, 3) uint8, what the denoiser is given of the first start.
        signal: T values of r, falling.
    """
    pictures, changed = np.asarray(pictures), np.asarray(changed, bool)
    classes, noisy = np.asarray(classes), np.asarray(noisy)
    columns, n = classes.shape
    alpha = np.where(changed, round(255 * _PALE), 255).astype(np.uint8)[..., None]
    seen = np.concatenate([pictures, alpha], -1)
    side = WIDTH / columns
    fig, axes = plt.subplots(n + 1, columns, figsize=(WIDTH, (n + 1) * (side + 0.17) + 0.2), squeeze=False)
    fig.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.012, h_pad=0.01, wspace=0.02, hspace=0.02))
    for (row, column), ax in np.ndenumerate(axes):
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if row == 0:
            ax.set_title("start" if column == 0 else f"$r$ = {signal[column - 1]:g}", fontsize=9, loc="center", pad=3)
            ax.imshow(noisy[column - 1] if column else pictures[0, 0], interpolation="nearest")
            continue
        ax.imshow(seen[column, row - 1], interpolation="nearest")
        new = classes[column, row - 1] != classes[0, row - 1]
        letter = chr(65 + classes[column, row - 1])
        ax.set_title(f"× {letter}" if new else letter, fontsize=8.5, loc="center", pad=2, color=CHANGED if new else INK)
    return Drawing(
        fig,
        "Square pictures made of small coloured tiles, a row each, with more noise from left to right; above them "
        "one of them as the denoiser is given it, soon all noise. A few tiles are pale at first, scattered, and the "
        "letter of the class stays; then whole quarters are pale; at last the letters are others, over pictures in "
        "which old tiles are left.",
    )


def _noise(ax: Axes, r: ArrayLike) -> None:
    """Signal over noise of a pixel, falling to the right, where the noise is."""
    ax.set_xscale("log")
    ax.set_xlim(float(np.max(r)) * 1.12, float(np.min(r)) / 1.12)
    ticks = [x for x in (0.1, 0.05, 0.02, 0.01) if np.min(r) <= x <= np.max(r)]
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(r"signal over noise $r$; more noise $\rightarrow$")


def _look(i: int, colour: str) -> Options:
    """The i-th curve of a panel: points with bars, joined."""
    return {"color": colour, "marker": _MARKS[i % 6], "markersize": 4.5, "linestyle": "-", "linewidth": 1.3}


def kept(r: ArrayLike, levels: Interval, layers: Interval, names: Sequence[str]) -> Drawing:
    """Symbols that exact inference keeps, a colour a level; beside it what the layers keep.

    Args:
        r: (R,) signals over noise.
        levels: (R, L+1) shares of symbols, leaves first.
        layers: (R, k) likeness of some layers, the first one first. names: of these.
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.6), sharey=True)
    top = np.asarray(levels.value).shape[1] - 1
    called = ["leaves", *(f"level {i}" for i in range(1, top)), "class"]
    for ax, found, labels in zip(axes, (levels, layers), (called, names), strict=True):
        for i, (label, colour) in enumerate(zip(labels, palette(len(labels) - 1), strict=True)):
            data(ax, r, found.at((slice(None), i)), label=label, **_look(i, colour))
        _noise(ax, r)
        ax.legend(loc="upper right")
    axes[0].set(title="symbols kept, by level", ylim=(-0.05, 1.05), ylabel="share kept, or likeness")
    axes[1].set_title("likeness, by layer")
    return Drawing(
        fig,
        "Two panels of curves that fall with noise, much alike. Left, the leaves fall gently and the class late and "
        "steeply; they cross. Right, the first block falls as the leaves do, the logits as the class.",
    )


def known(r: ArrayLike, by_levels: Mapping[str, Interval], controls: Mapping[str, Interval]) -> Drawing:
    """First block minus logits against noise, by what the denoiser knows; controls in grey.

    Args:
        r: (R,) signals over noise.
        by_levels: what is known → (R,) differences, all levels first.
        controls: name → the same.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.8))
    ax.axhline(0, color=INK, lw=0.8)
    colours = palette(max(1, len(by_levels) - 1))
    handles: list[Any] = []
    for i, ((name, found), colour) in enumerate(zip(by_levels.items(), reversed(colours), strict=True)):
        handles.append(data(ax, r, found, label=name, **_look(i, colour)))
    for (name, found), style in zip(controls.items(), ("--", ":"), strict=True):
        handles += ax.plot(r, found.value, color=CHANCE, ls=style, lw=1.6, label=name)
    _noise(ax, r)
    ax.set_ylabel("likeness, block 1 minus logits")
    ax.text(0.985, 0.03, "below 0: the logits are more alike", transform=ax.transAxes, fontsize=9, ha="right")
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return Drawing(
        fig,
        "Curves against noise. Only the one of a denoiser that knows all levels begins below zero, and crosses it; "
        "those of denoisers that know fewer levels, of an untrained network and of shuffled tiles are not below it.",
    )
