"""The figures of chains of U-turns: relaxation by level, its bound, the slowest mode, reach, and learnt chains."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, CHANGED, ERASED, INK, PAPER, Options, data, palette, theory, widths
from hierlib.experiments.curves import Interval

_LEAF, _MIDDLE, _CLASS = (palette(2)[i] for i in range(3))
_NETWORKS = (CHANGED, _CLASS, _LEAF)


def _axis_of_levels(ax: Axes, L: int) -> None:
    ax.set_xticks(range(L + 1), ["leaf", *map(str, range(1, L)), "class"])
    ax.set_xlabel(r"level $\ell$")


def relaxation(t: ArrayLike, times: Interval, longest: int) -> Drawing:
    """Relaxation time against level, a line a noise level; colour and width say the level.

    Args:
        t: (T,) probabilities of a mask, increasing.
        times: (T, L+1) in U-turns, cut at the longest lag.
        longest: that lag.
    """
    noises, value = np.asarray(t, float), np.asarray(times.value)
    L = value.shape[1] - 1
    fig, ax = plt.subplots(figsize=(6, 4))
    for i, noise in enumerate(noises):
        ax.plot(range(L + 1), value[i], color=CHANCE, lw=0.8 + 1.2 * i / max(1, len(noises) - 1), zorder=1)
        place = (L, value[i, L])
        ax.annotate(f"$t={noise:g}$", place, (7, 0), textcoords="offset points", va="center", fontsize=9)
    for level, colour in enumerate(palette(L)):
        at = np.full(len(noises), level)
        data(ax, at, Interval(value[:, level], times.lo[:, level], times.hi[:, level]), color=colour)
    if value.max() >= longest:
        ax.axhline(longest, color=CHANCE, ls=":", lw=1.2)
    _axis_of_levels(ax, L)
    ax.set(yscale="log", ylabel=r"relaxation time $\tau_\ell$, U-turns")
    return Drawing(
        fig,
        "Lines of relaxation time against level, one for each noise. With little noise a line rises from the leaf to "
        "a middle level and falls to the class; with more noise it falls all the way, the leaf being slowest.",
    )


def bound(bounds: ArrayLike, times: ArrayLike) -> Drawing:
    """Relaxation times against what one U-turn says of them at least.

    Args:
        bounds, times: (T, L+1) in U-turns, of T noise levels.
    """
    bounds, times = np.asarray(bounds, float), np.asarray(times, float)
    L = bounds.shape[1] - 1
    fig, ax = plt.subplots(figsize=(4.4, 3.8))
    ends = [bounds[bounds > 0].min() / 1.3, max(bounds[np.isfinite(bounds)].max(), times.max()) * 1.3]
    ax.plot(ends, ends, color=CHANCE, ls=":", lw=1.4)
    for level, (colour, width) in enumerate(zip(palette(L), widths(L), strict=True)):
        name = {0: "leaf", L // 2: f"level {L // 2}", L: "class"}.get(level)
        each: Options = {"color": colour, "markersize": 3 + width, "label": name, "lw": 0}
        ax.plot(bounds[:, level], times[:, level], marker="o", **each)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    ax.set(xlabel=r"$-1/\ln C_\ell(1)$, from level curves", ylabel=r"relaxation time $\tau_\ell$, U-turns")
    ax.legend()
    return Drawing(
        fig,
        "Points along the diagonal of two logarithmic axes, none clearly below it. Short times lie on it, the longest "
        "are above it.",
    )


def modes(
    matrices: Sequence[ArrayLike], t: Sequence[float], edges: ArrayLike, symbol: ArrayLike, slowest: ArrayLike
) -> Drawing:
    """Transition matrices sorted by fragment; and the slowest mode's time against that of the best single symbol.

    Args:
        matrices: (N, N) each, of one grammar, strings sorted by fragment. t: probability of a mask of each.
        edges: (pieces+1,) where fragments begin and end.
        symbol, slowest: (n,) eigenvalues of n grammars.
    """
    fig, axes = plt.subplots(1, len(matrices) + 1, figsize=(6, 2.5))
    shade = LinearSegmentedColormap.from_list("to ink", [ERASED, _CLASS])
    for ax, matrix, noise in zip(axes, matrices, t, strict=False):
        shown = np.log10(np.maximum(np.asarray(matrix, float), 1e-6))
        ax.imshow(shown, cmap=shade, vmin=-6, vmax=-1, interpolation="antialiased", rasterized=True)
        for edge in np.asarray(edges)[1:-1]:
            ax.axhline(edge - 0.5, color=PAPER, lw=0.3)
            ax.axvline(edge - 0.5, color=PAPER, lw=0.3)
        ax.set(xticks=[], yticks=[], title=f"$t={noise:g}$", xlabel="strings, by fragment")
    ax = axes[-1]
    times = [-1 / np.log(np.asarray(each, float)) for each in (symbol, slowest)]
    ends = [0, 1.05 * max(times[0].max(), times[1].max())]
    ax.plot(ends, ends, color=CHANCE, ls=":", lw=1.4)
    ax.plot(*times, "o", color=INK, markersize=4)
    ax.set(xlim=ends, ylim=ends, xlabel="best single symbol", ylabel="slowest mode, U-turns")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3))
    return Drawing(
        fig,
        "Two square matrices of shaded cells: with little noise dark blocks on the diagonal and almost nothing "
        "between them, with more noise the blocks run into each other. Right, points above a diagonal: the slowest mode"
        " takes longer than any symbol.",
    )


def reach(found: Mapping[int, Interval], expected: Mapping[int, ArrayLike], m_c: float) -> Drawing:
    """How many other classes changes of one leaf reach, against depth; a colour a number of rules.

    Args:
        found: m → (L,) measured at depths 1…L. expected: m → (L+1,) by the mean field, from depth 0.
        m_c: number of rules at which the slope is one.
    """
    fig, ax = plt.subplots(figsize=(6, 3.5))
    colours = palette(max(1, len(expected) - 1))
    for i, (m, line) in enumerate(expected.items()):
        shown = np.asarray(line, float)
        theory(ax, np.arange(len(shown)), shown, color=colours[i])
        label = (len(shown) - 1, shown[-1])
        words = f"$m={m}$, $\\rho={m / m_c:.2f}$"
        ax.annotate(words, label, (7, 0), textcoords="offset points", va="center", fontsize=9, color=colours[i])
        if m in found:
            value = np.asarray(found[m].value)
            shift = 0.05 * (i - len(expected) / 2)
            data(ax, np.arange(1, len(value) + 1) + shift, found[m], color=colours[i])
    ax.set(xlabel=r"depth $\ell$ of the tree", ylabel=r"reach $r_\ell$", ylim=(-0.03, 1.05))
    ax.set_xticks(range(len(np.asarray(next(iter(expected.values()))))))
    return Drawing(
        fig,
        "Curves that start at one. With few rules both points and line fall towards zero with depth; with more than "
        "the threshold they stay high; near it the points lie well below the line.",
    )


def learnt(legal: Mapping[str, Interval], currents: Mapping[str, Interval]) -> Drawing:
    """Legal strings along chains with an exact and with learnt ways back; and their currents.

    Args:
        legal: name → (turns+1,) fraction. currents: name → χ² over its degrees of freedom.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1.7, 1))
    for colour, (name, each) in zip(_NETWORKS, legal.items(), strict=True):
        turns, value = np.arange(len(np.asarray(each.value))), np.asarray(each.value)
        left.plot(turns, value, color=colour, label=name)
        left.fill_between(turns, each.lo, each.hi, color=colour, alpha=0.2, lw=0)
    left.set(xlabel="U-turns", ylabel="legal strings", ylim=(0, 1.04))
    left.legend()
    for i, (colour, each) in enumerate(zip(_NETWORKS, currents.values(), strict=True)):
        data(right, [i], Interval(*(np.array([float(x)]) for x in each)), kind="network", color=colour)
    right.axhline(1, color=CHANCE, ls=":", lw=1.2)
    right.set_xticks(range(len(currents)), list(currents), rotation=30, ha="right")
    right.set(xlim=(-0.5, len(currents) - 0.5), ylim=(0, None), ylabel=r"current between classes, $\chi^2/\nu$")
    return Drawing(
        fig,
        "Left, fraction of legal strings against the number of U-turns: one for an exact way back, falling and "
        "levelling off for networks, lower for the one that saw fewer strings. Right, currents of the three beside "
        "a dotted line at one.",
    )
