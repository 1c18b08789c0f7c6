"""The figures that compare noises: their clocks, their calibration, their thresholds, and one datum under each."""

import json
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike

from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import (
    CHANCE,
    INK,
    Options,
    data,
    level_bar,
    palette,
    theory,
    widths,
)
from hierlib.experiments.channels import Climb, Compared, Fate
from hierlib.experiments.curves import Interval
from hierlib.experiments.leaf_noise import LeafNumbers

NAMES = {"epsilon": "ε-process", "Gaussian": "Gaussian", "mask": "masks", "uniform": "redrawn"}
MEASURES = {"doubt": "doubt ε", "lost": "information lost", "bhattacharyya": "Bhattacharyya $Z$"}
_MARKS = {"epsilon": "s", "Gaussian": "o", "mask": "D", "uniform": "^"}
_DIGITS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def same_average(fates: Mapping[str, Sequence[Fate]], eps: Sequence[float], *, start: int, bins: int = 20) -> Drawing:
    """One datum under noises of equal mean belief: the beliefs of its leaves, and the posterior of its whole tree.

    Args:
        fates: by noise, the datum at each strength.
        eps: the strengths, as the ε of the mean belief: the stops of the slider.
        start: the stop that is shown first, and in print.
        bins: of the histograms of leaf beliefs.
    """
    titles = {"epsilon": "all alike"}
    levels = next(iter(fates.values()))[start].levels
    L, d = len(levels) - 1, len(levels[0])
    s, colour = len(levels[-2]), palette(L)
    live = {"s": s, "L": L, "eps": list(eps), "start": start, "colours": colour, "bins": bins}
    trees: list[dict[str, list]] = []
    fig, axes = plt.subplots(
        2, len(fates), figsize=(6, 3.4), height_ratios=(1, 1.5), sharex="row", sharey="row", squeeze=False
    )
    for (top, bottom), (name, found) in zip(axes.T, fates.items(), strict=True):
        tree: dict[str, list] = {"histogram": [], "cells": [], "kept": []}
        for fate in found:
            tree["histogram"].append(_shares(fate, bins).round(3).tolist())
            cells = np.concatenate(fate.levels[::-1])
            tree["cells"].append("".join(_DIGITS[(cells.clip(0, 1) * 63).round().astype(int)]))
            tree["kept"].append(round(float(fate.levels[L][0]), 3))
        trees.append(tree)
        shown = found[start]
        top.bar((np.arange(bins) + 0.5) / bins, _shares(shown, bins), width=0.9 / bins, color=colour[0])
        top.set(title=titles.get(name, NAMES.get(name, name)), xlabel="leaf belief", xticks=[0, 0.5, 1])
        rows = [(*mpl.colors.to_rgb(colour[l]),) for l in reversed(range(L + 1))]
        rgba = np.stack([np.tile([*row, 1.0], (d, 1)) for row in rows])
        rgba[..., 3] = np.stack([np.repeat(shown.levels[l], s**l) for l in reversed(range(L + 1))])
        bottom.imshow(rgba, aspect="auto", interpolation="nearest")
        bottom.set(xticks=[], yticks=[0, L], yticklabels=["class", "leaves"])
        bottom.set_xlabel(f"class {shown.levels[L][0]:.2f}")
    axes[0, 0].set_ylabel("share")
    script = json.dumps({**live, "trees": trees}, separators=(",", ":"))
    return Drawing(
        fig,
        "Three columns: a histogram of leaf beliefs, a single spike, a broad spread, and two spikes; below each "
        "the tree as rows of cells. At equal mean belief the first tree is fully coloured up to the class, the others "
        "are blank at the top.",
        f'<div class="live-stage" data-live="same-average"><script type="application/json">{script}</script></div>',
    )


def _shares(fate: Fate, bins: int) -> np.ndarray:
    return np.histogram(fate.leaves, bins=bins, range=(0, 1.0001))[0] / len(fate.leaves)


def clock(
    t: ArrayLike, eps: ArrayLike, late: ArrayLike, curve_eps: ArrayLike, kept: ArrayLike, *, star: float, chance: float
) -> Drawing:
    """The doubt ε(t) of Gaussian diffusion, and how each level survives against it (figure 15 of the paper).

    Args:
        t, eps: (T,) times and the doubt there. late: (T,) the late form of 1 - ε.
        curve_eps: (n,) doubt. kept: (n, L+1) probability that a symbol of each level is kept.
        star: the threshold of the ε-process; drawn if inside (0, 1). chance: level of chance.
    """
    kept, eps = np.asarray(kept), np.asarray(eps)
    L = kept.shape[1] - 1
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.3), width_ratios=(1, 1.25))
    left.plot(t, eps, color=INK, lw=1.8, label=r"$\varepsilon(t)$")
    left.plot(t, 1 - eps, color=INK, lw=1.2, ls="--", label=r"$1-\varepsilon(t)$")
    left.plot(t, late, color=CHANCE, lw=1.2, ls=":", label=r"$\bar\alpha/[(1-\bar\alpha)v]$")
    left.set(xscale="log", yscale="log", ylim=(2e-4, 1.5), xlabel="time $t$")
    left.set_ylabel(r"$\varepsilon(t)$ and $1-\varepsilon(t)$")
    left.legend(loc="lower center", handlelength=1.4)
    for level, (colour, width) in enumerate(zip(palette(L), widths(L), strict=True)):
        right.plot(curve_eps, kept[:, level], "o-", color=colour, lw=width * 0.6, ms=2.6)
    right.axhline(chance, color=CHANCE, lw=1.2, ls=":")
    if 0 < star < 1:
        right.axvline(star, color=CHANCE, lw=1)
        where: Options = {"textcoords": "offset points", "va": "top", "fontsize": 8.5}
        right.annotate("$\\varepsilon^{*}$ of the\n$\\varepsilon$-process", (star, 0.99), (4, 0), **where)
    right.set(xlabel=r"$\varepsilon(t)$", ylabel="marginal of the truth, diffusion", xlim=(0, 1), ylim=(0, 1.03))
    level_bar(fig, right, L)
    return Drawing(
        fig,
        "Left, on logarithmic axes: epsilon of t rises as no straight line and saturates near one, one minus epsilon "
        "falls ever faster. Right: level curves of the diffusion against epsilon of t, fanning out from the class, "
        "which falls first and steepest near 0.45, to the leaves.",
    )


def fed_with_the_average(
    t: np.ndarray, exact: Interval, fine: np.ndarray, mean_field: np.ndarray, *, chance: float
) -> Drawing:
    """Class and leaves under diffusion: exact inference, and the mean field at the doubt ε(t).

    Args:
        t: (T,) times. exact: (T, L+1) marginals of the truth.
        fine: (n,) times. mean_field: (n, L+1) at their doubt. chance: level of chance.
    """
    t, mean_field = np.asarray(t), np.asarray(mean_field)
    L = mean_field.shape[1] - 1
    colour = palette(L)
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.3), sharey=True)
    ticks = [x for x in (0.02, 0.05, 0.1, 0.2, 0.5, 1) if t[0] * 0.9 < x < t[-1] * 1.1]
    for ax, level, name in zip(axes, (L, 0), ("class", "leaves"), strict=True):
        theory(ax, fine, mean_field[:, level], color=INK)
        data(ax, t, exact.at(np.s_[:, level]), color=colour[level])
        ax.set(xscale="log", xlabel="time $t$", title=name)
        ax.axhline(chance, color=CHANCE, lw=1.2, ls=":")
        ax.set_xlim(t[0] * 0.9, t[-1] * 1.1)
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
        ax.minorticks_off()
    axes[0].set(ylabel="marginal of the truth", ylim=(0, 1.03))
    at = np.abs(mean_field[:, L] - 0.5).argmin()
    where: Options = {"textcoords": "offset points", "fontsize": 9}
    axes[0].annotate(r"mean field at $\varepsilon(t)$", (fine[at], mean_field[at, L]), (6, 0), **where)
    return Drawing(
        fig,
        "Class and leaves against time. The points of belief propagation fall early; the solid line of the mean field "
        "fed with epsilon of t stays high long after they have fallen.",
    )


def calibrated(found: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Drawing:
    """How often a stated belief is true, for each noise: mean belief and frequency of being true, bin by bin."""
    fig, ax = plt.subplots(figsize=(6, 3.2))
    ax.plot([0, 1], [0, 1], color=CHANCE, ls=":", lw=1.2)
    for name, (stated, happened) in found.items():
        mark = _MARKS[name]
        face = INK if mark == "o" else "none"
        ax.plot(stated, happened, mark, color=INK, ms=6, mfc=face, label=NAMES[name])
    ax.set(xlabel="belief stated", ylabel="how often it is true", xlim=(-0.03, 1.03), ylim=(-0.05, 1.08))
    ax.legend(loc="center right")
    return Drawing(
        fig,
        "Frequency of being true against stated belief. Gaussian and mask points lie on the diagonal. The "
        "epsilon-process has two points: beliefs of about 0.4 that are always true, and small beliefs that never are.",
    )


def all_levels(found: Mapping[str, Sequence[Compared]], *, chance: float) -> Drawing:
    """Survival of each level by exact inference, population dynamics and the mean field, a panel a noise.

    Args:
        found: by noise, at each of its strengths.
        chance: level of chance.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(6, 2.9), sharey=True, squeeze=False)
    for ax, (name, rows) in zip(axes.flat, found.items(), strict=True):
        for _, exact, population, mean_field, _ in rows:
            L = len(population) - 1
            theory(ax, range(L + 1), population, "population", color=INK, linewidth=1.3)
            for l, colour in enumerate(palette(L)):
                data(ax, [l], exact.at([l]), color=colour)
            theory(ax, range(L + 1), mean_field, color=CHANCE, linewidth=1.0)
            ax.set(xlabel=r"level $\ell$", xticks=[0, L // 2, L])
        ax.axhline(chance, color=CHANCE, lw=1.2, ls=":")
        ax.set_title(f"{NAMES[name]}: {', '.join(f'{t:.3f}' for t, *_ in rows)}", fontsize=9)
    axes[0, 0].set(ylabel="marginal of the truth", ylim=(0, 1.03))
    return Drawing(
        fig,
        "Three panels, one a noise: survival of the truth against the level for a weaker and a stronger noise. Points "
        "of belief propagation lie on the dashed lines of population dynamics at all levels; the thin grey mean field "
        "agrees for the epsilon-process only.",
    )


def thresholds(climbs: Mapping[str, Climb], slopes: Mapping[str, Mapping[int, Interval]]) -> Drawing:
    """Pools that climb a deep tree under each noise, and how the class sharpens with the depth.

    Args:
        climbs: by noise; a panel each.
        slopes: by noise, depth → slope of the class at half height.
    """
    fig, axes = plt.subplots(1, len(climbs) + 1, figsize=(6, 3.7), width_ratios=(*[1] * len(climbs), 1.15))
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.24), "ncols": 2, "handlelength": 1.2}
    for ax, (name, found) in zip(axes, climbs.items(), strict=False):
        for t, pools, shade in zip(found.t, found.up, palette(len(found.t) - 1), strict=True):
            for i, up in enumerate(pools):
                ax.plot(up, color=shade, lw=1.3, label=f"{t:.3g}" if i == 0 else None)
        ax.legend(**below, title="strength $t$", title_fontsize=8.5, columnspacing=1.2, fontsize=8.5)
        ax.set(title=NAMES[name], xlabel=r"level $\ell$", ylim=(0, 1.05), xlim=(0, found.up.shape[-1] - 1))
    axes[0].set_ylabel("upward belief in the truth")
    last = axes[-1]
    for name, by_depth in slopes.items():
        depths, (y, lo, hi) = list(by_depth), np.array(list(by_depth.values()), float).T
        data(last, depths, y, (lo, hi), color=INK, marker=_MARKS[name])
        last.plot(depths, y, color=INK, lw=0.8)
        if np.isfinite(y[-1]):
            where: Options = {"textcoords": "offset points", "fontsize": 8.5, "ha": "right"}
            last.annotate(NAMES[name], (depths[-1], y[-1]), (-4, 6), **where)
    last.set(yscale="log", xlabel="depth $L$", title="slope at half height", xticks=depths)
    last.margins(y=0.14)
    return Drawing(
        fig,
        "Two panels: the belief of a pool climbing many levels for four noise strengths, weak ones to one and strong "
        "ones to chance. Third panel: slope of the class curve against depth for three noises, rising as straight "
        "lines on a logarithmic axis, steepest for the epsilon-process.",
    )


def against_one_number(
    curves: Mapping[str, ArrayLike], numbers: Mapping[str, LeafNumbers], *, chance: float
) -> Drawing:
    """The class under several channels, against each number that might measure the noise of a leaf.

    Args:
        curves: by channel, (T,) belief in the class. numbers: by channel, (T,) those of a leaf there.
        chance: level of chance.
    """
    fig, axes = plt.subplots(1, len(MEASURES), figsize=(6, 2.9), sharey=True)
    for ax, (measure, label) in zip(axes, MEASURES.items(), strict=True):
        for (name, y), shade in zip(curves.items(), palette(max(1, len(curves) - 1)), strict=False):
            x = getattr(numbers[name], measure)
            order, look = x.argsort(), {"color": shade, "lw": 1.2, "ms": 4, "label": NAMES[name]}
            ax.plot(x[order], np.asarray(y)[order], _MARKS[name] + "-", **look)
        ax.axhline(chance, color=CHANCE, lw=1.2, ls=":")
        ax.set(xlabel=label, xlim=(0, 0.8), ylim=(0, 1.03))
    axes[0].set_ylabel("belief in the class")
    axes[-1].legend(loc="upper right", fontsize=8.5)
    return Drawing(
        fig,
        "Three panels with the class curves of three channels. Against the doubt they lie apart, against the lost "
        "information too, against the Bhattacharyya coefficient too, in another order.",
    )
