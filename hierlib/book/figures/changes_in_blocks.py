"""The figures of changes in blocks: susceptibility and correlation of changes by noise, depth, distance and channel."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike

from hierlib._devices import array
from hierlib.book.figures.family import family_html
from hierlib.book.figures.strata import draw_strata
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, INK, Options, data, noise_ruler, palette, theory, widths
from hierlib.experiments.blocks import (
    Around,
    Expected,
    Measured,
    correlation_at,
    length_curve,
    susceptibility_curve,
)
from hierlib.experiments.changes import Curves
from hierlib.experiments.controls import WithoutTree
from hierlib.experiments.curves import Interval
from hierlib.theory.changes import Divergence, MeanFieldChanges, correlation_length

_DASHED = (0, (2, 2))
_MARKS = "D^osv<>"  # of the channels


def data_at_noises(kept: Sequence[Sequence[ArrayLike]], eps: Sequence[float]) -> Drawing:
    """One datum after a U-turn at each of a few noises: which symbols are kept, a row a level.

    Args:
        kept: for each noise one bool array (s^(L-l),) a level, leaves first. eps: the noises.
    """
    fig, axes = plt.subplots(1, len(eps), figsize=(2 * len(eps), 1.9), squeeze=False)
    for ax, noise, levels in zip(axes.flat, eps, kept, strict=True):
        draw_strata(ax, [array(level, bool) for level in levels])
        ax.set_title(rf"$\varepsilon$ = {noise:.2f}", fontsize=9.5, pad=3)
    return Drawing(
        fig,
        "Pictures of a tree at growing noise, row over row, with holes where symbols have changed: a few small "
        "holes at the bottom, then holes of all sizes, then nearly everything above the bottom gone.",
    )


def susceptibility(
    eps: ArrayLike,
    measured: Mapping[int, Curves],
    fine: ArrayLike,
    expected: Mapping[int, MeanFieldChanges],
    *,
    s: int,
    star: float | None,
    seed: int = 0,
) -> Drawing:
    """Susceptibility and correlation length against noise, for trees of several depths.

    Args:
        eps: (T,) noises. measured: depth → its curves there, with those counted in samples.
        fine: noises. expected: depth → the mean field there.
        s: branching factor. star: the threshold of an infinite tree, or None.
        seed: of the intervals.
    """
    eps = np.asarray(eps, float)
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=[3, 2])
    highest = 0.0
    for (depth, curves), colour in zip(measured.items(), palette(max(1, len(measured) - 1)), strict=False):
        theory(left, fine, expected[depth].chi, color=colour, label=f"$L$ = {depth}")
        if curves.sampled is not None:
            counted = susceptibility_curve(curves.sampled, seed=seed).value
            left.plot(eps, counted, "D", color=colour, markersize=7, markerfacecolor="none", markeredgewidth=0.9)
        chi, length = susceptibility_curve(curves.exact, seed=seed), length_curve(curves.exact, s, seed=seed)
        data(left, eps, chi, color=colour, markersize=3.5)
        right.plot(fine, correlation_length(expected[depth].C, s), color=colour, lw=1.8)
        data(right, eps, length, color=colour, markersize=3.5)
        highest = max(highest, np.asarray(chi.hi).max())
    for ax, label in ((left, r"susceptibility $\chi$"), (right, r"correlation length $\xi$")):
        noise_ruler(ax, label=r"noise $\varepsilon$")
        if star is not None:
            ax.axvline(star, color=INK, lw=0.8, ls=_DASHED)
        ax.set(title=label, xlim=(max(0, eps[0] - 0.05), 1))
    right.set(yscale="log")
    left.set_ylim(0, 1.05 * highest)
    left.legend(loc="upper left")
    return Drawing(
        fig,
        "Curves with one peak each, near the threshold if there is one; the deeper the tree, the higher and narrower "
        "the peak. Dots of exact inference and open diamonds counted in samples lie on the curves. Beside it the "
        "correlation length, which has its largest value near the same noise.",
    )


def family_of_depths(
    eps: ArrayLike, chi: Mapping[int, ArrayLike], *, s: int, start: int, points: Mapping[int, ArrayLike]
) -> Drawing:
    """The mean field's susceptibility for trees of many depths; on screen a slider picks one.

    Args:
        eps: (T,) noises. chi: depth → (T,).
        s: branching factor. start: the depth that is chosen first, the first one if there is no such.
        points: depth → (n, 4) rows of noise, measured susceptibility, low, high; depths without a curve are left out.
    """
    eps, depths = np.asarray(eps, float), list(chi)
    lines = np.array([chi[depth] for depth in depths], float)
    tops = [(float(eps[y.argmax()]), float(y.max())) for y in lines]
    fig, ax = plt.subplots(figsize=(6, 2.8))
    for y, colour, wide in zip(lines, palette(len(depths) - 1), widths(len(depths) - 1), strict=True):
        ax.plot(eps, y, color=colour, lw=wide)
    ax.set(xlabel=r"noise $\varepsilon$", title=r"susceptibility $\chi$, mean field")
    ax.annotate(f"$L$ = {depths[-1]}", tops[-1], (8, -6), textcoords="offset points", fontsize=9)
    live = family_html(
        eps,
        lines,
        [f"L = {depth}" for depth in depths],
        [
            f"Blocks are largest at ε = {e:.3f}, where χ = {y:.1f}; the tree has {s**depth} leaves."
            for depth, (e, y) in zip(depths, tops, strict=True)
        ],
        axes=("noise ε", "susceptibility χ"),
        slider="levels",
        start=depths.index(start) if start in depths else 0,
        points={depths.index(depth): rows for depth, rows in points.items() if depth in depths},
    )
    says = "Curves of the susceptibility against noise, one for each depth; the peak rises and narrows with the depth."
    return Drawing(fig, says, live)


def correlation(
    C: Interval,
    counted: ArrayLike,
    expected: ArrayLike,
    controls: WithoutTree,
    largest: Mapping[str, tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]],
    *,
    s: int,
    a_c: float | None,
) -> Drawing:
    """Correlation of changes against distance, and the largest susceptibility against the number of leaves.

    Args:
        C: (L+1,) by the level at which two leaves meet, exact.
        counted: (L+1,) the same counted in samples. expected: (L+1,) in the mean field.
        controls: the chain and the mixture.
        largest: of "tree", "chain" and "flat mixture": numbers of leaves, and the largest susceptibility of each.
        s: branching factor. a_c: exponent of the power law of an infinite tree, or None.
    """
    C, counted, expected = (
        C.at(slice(1, None)),
        np.asarray(counted)[1:],
        np.asarray(expected)[1:],
    )  # pairs of two leaves
    r = s ** np.arange(1.0, len(expected) + 1)
    leaf, root = palette(1)
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.1), width_ratios=[3, 2])
    left.plot(r, expected, color=root, lw=1.8, label="mean field")
    data(left, r, C, color=root, label="exact")
    if a_c is not None:
        left.plot(r, expected[2] * (r / r[2]) ** -a_c, color=INK, lw=1, ls=_DASHED, label="power law")
    left.plot(r, counted, "D", color=root, ms=7, mfc="none", mew=0.9, label="counted in samples")
    seen = controls.chain_C > 1e-7
    left.plot(np.arange(1, len(seen) + 1)[seen], controls.chain_C[seen], color=CHANCE, lw=1.4)
    left.plot(controls.distance, controls.mixture_C, "^", color=leaf, ms=4, ls="-", lw=1.2)
    left.set(xscale="log", yscale="log", xlabel="distance $r$", ylabel="correlation $C(r)$")
    left.set_ylim(max(1e-6, expected.min() / 20), 8)
    left.legend(loc="upper right", fontsize=8.5)
    left.annotate("chain", (6.5, 5e-4), fontsize=9, ha="right")
    left.annotate("mixture", (1.1, 0.012), fontsize=9)
    looks = {"tree": ("o-", root), "chain": ("s-", CHANCE), "flat mixture": ("^-", leaf)}
    for name, (x, y) in largest.items():
        mark, colour = looks[name]
        right.plot(x, y, mark, color=colour)
        ha, shift = ("left", (5, 3)) if name == "flat mixture" else ("right", (4, 6))
        right.annotate(name, (x[-1], y[-1]), shift, textcoords="offset points", fontsize=9, ha=ha)
    right.set(xscale="log", yscale="log", xlabel="leaves $d$", title=r"largest $\chi$")
    right.set_yticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    right.yaxis.set_minor_locator(plt.NullLocator())
    right.set_xlim(None, 12 * r[-1])
    return Drawing(
        fig,
        "Left, on logarithmic axes: dots and diamonds on a line that falls straight, the grey curve of a chain "
        "that bends down, and the level line of a mixture. Right, largest susceptibility against the number of "
        "leaves: that of the chain is level, that of the tree rises slowly, that of the mixture steeply.",
    )


def collapse(
    eps: ArrayLike,
    expected: Mapping[int, ArrayLike],
    points: Mapping[int, tuple[float, ArrayLike]],
    *,
    s: int,
    star: float,
    nu: float,
) -> Drawing:
    """Susceptibility over its largest value against (ε - ε*) d^(1/ν), for trees of several depths.

    Args:
        eps: (T,) noises. expected: depth → (T,) mean field.
        points: depth → the largest value, and (n, 4) rows of noise, measured susceptibility, low, high.
        s: branching factor. star: the threshold. nu: the exponent.
    """
    fig, ax = plt.subplots(figsize=(6, 3))
    shades = dict(zip(expected, palette(len(expected) - 1), strict=True))
    for depth, y in expected.items():
        scaled = (np.asarray(eps) - star) * s ** (depth / nu)
        ax.plot(scaled, y / np.max(y), color=shades[depth], lw=1.6, label=f"$L$ = {depth}")
    for depth, (height, rows) in points.items():
        e, y, lo, hi = np.asarray(rows, float).T
        scaled = (e - star) * s ** (depth / nu)
        data(ax, scaled, y / height, (lo / height, hi / height), color=shades.get(depth, INK))
    ax.set(xlim=(-4, 3), ylim=(0, 1.25), ylabel=r"$\chi$ / its largest value")
    ax.set_xlabel(r"$(\varepsilon-\varepsilon^{\ast})\,d^{1/\nu}$")
    ax.legend(fontsize=9, loc="upper right")
    return Drawing(fig, "Curves with one peak each, nearly on one another, and points scattered about them.")


def where_blocks_stay_finite(
    divergences: Mapping[int, Divergence],
    rules: ArrayLike,
    expected: Mapping[int, Sequence[Expected]],
    measured: Mapping[int, Measured],
) -> Drawing:
    """Whether blocks are unbounded, by the number of rules; and where χ is largest and where the class is lost.

    Args:
        divergences: by the number of children.
        rules: numbers of rules. expected: depth → the mean field at each; the first depth is drawn full.
        measured: number of rules → exact inference at the first depth.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    for (children, found), colour in zip(divergences.items(), palette(max(1, len(divergences) - 1)), strict=False):
        left.plot(found.place, found.ratio, color=colour, label=f"$s$ = {children}")
    left.axhline(1, color=INK, lw=0.8)
    left.set(xlabel=r"$(m-m_{\mathrm{KS}})/(m_c-m_{\mathrm{KS}})$", title=r"$F'(p^{\ast})^2/s$")
    left.legend(fontsize=9)
    class_colour, chi_colour = palette(1)
    for first, rows in zip([True] + [False] * len(expected), expected.values(), strict=False):
        line = {"ls": "-" if first else (0, (3, 2)), "lw": 1.6}
        chi, lost = "largest $\\chi$" if first else None, "class" if first else None
        right.plot(rules, [row.place for row in rows], color=chi_colour, label=chi, **line)
        right.plot(rules, [row.half for row in rows], color=class_colour, label=lost, **line)
    for m, exact in measured.items():
        for each, colour in ((exact.place, chi_colour), (exact.half, class_colour)):
            data(right, [m], Interval(*(np.atleast_1d(x) for x in each)), color=colour)
    right.set(xlabel="rules $m$", title=r"noise $\varepsilon$", ylim=(0, 1))
    right.legend(loc="lower left", fontsize=9)
    return Drawing(
        fig,
        "Left, curves that start at one half or below, rise above one and fall below it again. Right, two "
        "falling lines against the number of rules, of the class and of the largest susceptibility: on one "
        "another for few rules, apart for many, where the class is lost first.",
    )


def channels(found: Mapping[tuple[str, int], Around | None], *, s: int, seed: int = 0) -> Drawing:
    """Susceptibility around the loss of the class and correlation at its peak, for several channels and depths.

    Args:
        found: (channel, depth) → what is measured. What has been counted in samples is drawn thick, named, and gives
            the correlation. None, of a channel that does not lose the class, is left out.
        s: branching factor. seed: of the intervals.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    shown = {key: each for key, each in found.items() if each is not None}
    names = list(dict.fromkeys(name for name, _ in shown))
    looks = dict(zip(names, zip(palette(max(2, len(names) - 1)), _MARKS, strict=False), strict=False))
    for (name, depth), (t, curves, half) in shown.items():
        (colour, mark), counted = looks[name], curves.sampled is not None
        look: Options = {"color": colour, "marker": mark, "markersize": 4.5 if counted else 2.2}
        look |= {"elinewidth": 1 if counted else 0.6}
        chi = susceptibility_curve(curves.exact, seed=seed)
        left.plot(t / half.value, chi.value, color=colour, lw=1.6 if counted else 0.6)
        data(left, t / half.value, chi, label=name if counted else None, **look)
        if curves.sampled is not None:
            peak = int(np.asarray(chi.value).argmax())
            C, lo, hi = correlation_at(curves.sampled, peak, seed=seed).at(slice(1, None))
            r = s ** np.arange(1.0, depth + 1)
            right.plot(r, C, color=colour, lw=1.2)
            data(right, r, C, (np.minimum(np.maximum(lo, 1e-6), C), hi), **look)
    left.axvline(1, color=INK, lw=0.8, ls=_DASHED)
    left.set(xlabel=r"noise / that of the class's half height", title=r"susceptibility $\chi$")
    right.set(xscale="log", yscale="log", xlabel="distance $r$", title="correlation $C(r)$")
    right.set_ylim(3e-5, None)
    low, high = left.get_ylim()
    left.set_ylim(low, high + 0.3 * (high - low))  # the names above the curves
    if shown:
        left.legend(fontsize=9, loc="upper left")
    return Drawing(
        fig,
        "Left, susceptibility against noise for each channel and depth: each curve has its peak near one, the "
        "deeper tree the higher one. Right, on logarithmic axes, the correlations fall with the distance.",
    )
