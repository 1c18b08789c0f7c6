"""The figures of what a spectrum cannot see: when it and exact inference lose the class, and what each level keeps."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import ArrayLike

from hierlib.book.figures.family import family_html
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, ERASED, INK, data, palette, widths
from hierlib.experiments.curves import Interval, mean_interval, normal_interval
from hierlib.experiments.speciation import Leads
from hierlib.experiments.spectrum import Forgetting


def speciation(
    lost: Mapping[int, Mapping[int, Interval]], spectrum: Mapping[int, Mapping[int, float]], *, s: int, start: int
) -> Drawing:
    """The time at which the class is lost, and that at which the top direction sinks; a slider picks the rules.

    Args:
        lost: number of rules → depth → half height of the class.
        spectrum: number of rules → depth → the time at which the top direction sinks into the noise.
        s: branching factor, which parts the two panels in print.
        start: number of rules chosen first.
    """
    rules, depths = list(lost), list(next(iter(lost.values())))
    lines = [[float(lost[m][depth].value) for depth in depths] for m in rules]
    above = {m: [spectrum[m][depth] for depth in depths] for m in rules}
    dots = {i: [[depth, *[y] * 3] for depth, y in zip(depths, above[m], strict=True)] for i, m in enumerate(rules)}
    said = [_sentence(m, lost[m], spectrum[m]) for m in rules]
    colours = _colours(rules)
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.1), sharey=True)
    for ax, chosen, title in (
        (axes[0], [m for m in rules if m <= s], "$m\\leq s$"),
        (axes[1], [m for m in rules if m > s], "$m>s$"),
    ):
        for m in chosen:
            low, high = ([getattr(each, end) for each in lost[m].values()] for end in ("lo", "hi"))
            ax.fill_between(depths, low, high, color=colours[m], alpha=0.2, lw=0)
            ax.plot(depths, [each.value for each in lost[m].values()], color=colours[m], label=f"$m$ = {m}")
            ax.plot(depths, above[m], "o", color=colours[m], markersize=4.5)
        ax.set(title=title, xlabel="levels $L$", xticks=depths)
        if chosen:
            ax.legend(fontsize=9)
    axes[0].set_ylabel("time at which the class is lost")
    live = family_html(
        depths,
        lines,
        [f"m = {m}" for m in rules],
        said,
        axes=("levels L", "time t"),
        slider="rules",
        points=dots,
        start=rules.index(start),
    )
    return Drawing(
        fig,
        "Left, few rules: lines and points rise together with the number of levels. Right, more rules: both are almost "
        "flat, the points a little below the lines.",
        live,
    )


def shares(found: Mapping[int, Mapping[int, ArrayLike]], *, pictured: Sequence[int]) -> Drawing:
    """What the class explains of the variance along the top direction, against the depth; and each level in one tree.

    Args:
        found: number of rules → depth → (draws, L+1) parts, leaves first. pictured: numbers of rules for all levels.
    """
    depths, colours = list(next(iter(found.values()))), _colours(list(found))
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2))
    for m, by_depth in found.items():
        value, lo, hi = np.array([normal_interval(np.asarray(y)[:, -1]) for y in by_depth.values()]).T
        lo = np.maximum(lo, value / 10)  # a bar that reaches zero has no end on this axis
        data(left, depths, Interval(value, lo, hi), color=colours[m])
        left.plot(depths, value, color=colours[m], lw=1)
        left.annotate(f"$m={m}$", (depths[-1], value[-1]), (6, -3), textcoords="offset points", fontsize=9)
    left.set(yscale="log", xlabel="levels $L$", xticks=depths, ylabel="part between the classes")
    left.margins(x=0.2)
    for m in pictured:
        each = normal_interval(np.asarray(found[m][depths[-1]]))
        value = np.asarray(each.value)
        level = np.arange(len(value))
        data(right, level, each, color=colours[m])
        right.plot(level, value, color=colours[m], lw=1)
        right.annotate(f"$m={m}$", (1, value[1]), (5, 5), textcoords="offset points", fontsize=9)
    right.set(xlabel=r"level $\ell$", ylabel="part explained", ylim=(-0.03, 1.05))
    right.set_xticks([0, *range(1, len(level) - 1), len(level) - 1], ["leaf", *map(str, level[1:-1]), "class"])
    return Drawing(
        fig,
        "Left, on a logarithmic axis: with fewer rules than children the part of the variance between classes stays "
        "level with depth, with more it falls by orders of magnitude. Right: from leaves to class the part explained "
        "falls slowly with few rules, and to nearly nothing within two levels with many.",
    )


def _sentence(m: int, lost: Mapping[int, Interval], spectrum: Mapping[int, float]) -> str:
    """What is said under the line of m rules."""
    before, last = list(lost)[-2:]
    says = f"the top direction sinks at {spectrum[last]:.2f}."
    up = lost[last].value - lost[before].value
    at = f"exact inference loses the class at t = {lost[last].value:.2f} in {last} levels"
    return f"m = {m}: {at} ({up:+.2f} for the last one), {says}".replace("-", "−")


def _colours(rules: Sequence[int]) -> dict[int, str]:
    return dict(zip(rules, palette(max(1, len(rules) - 1))[::-1], strict=False))


def eigenvalue(top: Mapping[int, Mapping[int, ArrayLike]], *, m_KS: float, s: int) -> Drawing:
    """The top eigenvalue of the data's covariance against the depth, and the pace m_KS/m of few rules.

    Args:
        top: number of rules → depth → (draws,) eigenvalues.
        m_KS: the Kesten-Stigum bound. s: branching factor; the pace is drawn for fewer rules.
    """
    depths, colours = list(next(iter(top.values()))), _colours(list(top))
    fig, ax = plt.subplots(figsize=(6, 3.2))
    for m, by_depth in top.items():
        found = Interval(*np.array([normal_interval(rows) for rows in by_depth.values()]).T)
        data(ax, depths, found, color=colours[m], label=f"$m$ = {m}")
        ax.plot(depths, found.value, color=colours[m], lw=1)
        if m < s:
            pace = (m_KS / m) ** (np.array(depths) - depths[-1])
            ax.plot(depths, np.asarray(found.value)[-1] * pace, color=colours[m], lw=1, ls=(0, (2, 2)))
    ax.axhline(1, color=CHANCE, ls=":", lw=1.2)
    ax.set(yscale="log", xlabel="levels $L$", ylabel=r"top eigenvalue $\Lambda$", xticks=depths)
    ax.legend(fontsize=9)
    return Drawing(
        fig,
        "Curves on a logarithmic axis. For fewer rules than children they rise nearly straight, for as many they "
        "level off, for more they are level and below one.",
    )


def information(
    t: ArrayLike,
    found: Mapping[int, Forgetting],
    windows: Mapping[int, tuple[float, float]],
    spectrum: Mapping[int, float],
    *,
    seed: int = 0,
) -> Drawing:
    """What is known of each level against time, a panel for each number of rules.

    Args:
        t: (T,) times. found: number of rules → what the best observer knows there.
        windows: number of rules → the window of the class. spectrum: when its top direction sinks.
        seed: of the interval of the class.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(6, 3.2), sharey=True, squeeze=False)
    for ax, (m, each) in zip(axes.flat, found.items(), strict=True):
        known = each.known.mean(0)
        L = known.shape[1] - 1
        for level, (colour, width) in enumerate(zip(palette(L), widths(L), strict=True)):
            ax.plot(t, known[:, level], color=colour, lw=width)
        ax.fill_between(t, *mean_interval(each.known[:, :, L], seed=seed).bounds, color=palette(L)[L], alpha=0.2, lw=0)
        if np.isfinite(windows[m]).all():
            ax.axvspan(*windows[m], color=ERASED, lw=0, zorder=0)
        ax.axvline(spectrum[m], color=INK, lw=1, ls=(0, (3, 2)))
        ax.set(xscale="log", xlabel="time $t$", title=f"$m$ = {m}", ylim=(-0.02, 1.02))
        ax.set_xticks([0.03, 0.1, 0.3, 1, 3], ["0.03", "0.1", "0.3", "1", "3"])
    axes[0, 0].set_ylabel(r"$I_\ell(t)\,/\,I_\ell(0)$")
    return Drawing(
        fig,
        "Two panels of falling curves. Left the curve of the class falls last, at a time above one; right it falls "
        "first and steepest, at a time near a tenth, and those of lower levels follow.",
    )


def decided(found: Mapping[int, Leads], times: Mapping[int, Sequence[Interval]]) -> Drawing:
    """How far the free entropy of the truth leads that of another symbol, by level, a panel for each number of rules.

    Args:
        found: number of rules → the leads. times: number of rules → when each level is decided, leaves … class.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(6, 3.2), sharey=True, squeeze=False)
    told = []
    for ax, (m, each) in zip(axes.flat, found.items(), strict=True):
        L = each.mean.shape[2] - 1
        for level, (colour, width) in enumerate(zip(palette(L), widths(L), strict=True)):
            ax.plot(each.t, each.ratio[:, level], color=colour, lw=width)
            if np.isfinite(times[m][level].value):
                ax.plot(times[m][level].value, 1, "o", color=colour, ms=4, zorder=4)
        ax.axhline(1, color=INK, lw=1, ls=(0, (3, 2)))
        ax.set(xscale="log", xlabel="time $t$", title=f"$m$ = {m}")
        ax.xaxis.set_minor_formatter("")
        ticks = [x for x in (0.05, 0.1, 0.2, 0.5, 1, 2) if each.t[0] <= x <= each.t[-1]]
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
        first, last = times[m][0].value, times[m][L].value
        leaves = f"that of the leaves at {first:.2f}" if np.isfinite(first) else "that of the leaves nowhere"
        told.append(f"with {m} rules the curve of the class falls through one at {last:.2f}, {leaves}")
    axes[0, 0].set_ylim(bottom=-0.1)
    axes[0, 0].set_ylabel("lead of the truth, mean / s.d.")
    return Drawing(fig, f"Panels of falling curves, one for each level and a line at one: {'; '.join(told)}.")
