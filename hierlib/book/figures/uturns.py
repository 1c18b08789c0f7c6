"""Figures of U-turns: what a datum becomes, the curves of all levels, their order, their sharpening, what survives."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import NullLocator

from hierlib._devices import array
from hierlib.book.figures.trees import tree
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing, Shown
from hierlib.experiments.curves import Interval, mean_interval, normal_interval
from hierlib.experiments.levels import Depth, GivenChanged
from hierlib.experiments.observables import Calibration


def trees_of_turns(start: Sequence, ends: Sequence[Sequence], t: Sequence[float]) -> Drawing:
    """A datum as a tree, and below it where three U-turns of growing length end; changed nodes are crossed.

    Args:
        start: the symbols of the datum, one 1-d array a level, the leaves first.
        ends: three data, as `start`.
        t: (3,) times of Gaussian noise at which they turned.
    """
    fig, axes = plt.subplots(
        1 + len(ends), 1, figsize=(style.WIDTH, 2.2 * (1 + len(ends))), layout=ConstrainedLayoutEngine(h_pad=0.12)
    )
    tree(axes[0], start)
    axes[0].set_title("the datum")
    leaves = len(start[0])
    for ax, end, time in zip(axes[1:], ends, t, strict=True):
        tree(ax, end, start=start)
        kept = int(np.sum(array(end[0]) == array(start[0])))
        word = "kept" if int(end[-1][0]) == int(start[-1][0]) else "changed"
        signal = rf"$t = {time:.2f}$ ($\bar\alpha = {np.exp(-2 * time):.2f}$)"
        ax.set_title(f"back from {signal}: {kept} of {leaves} leaves kept, class {word}")
    alt = (
        f"Four trees with {leaves} leaves. In the first all discs are filled. In the second a leaf or two is ringed "
        "and crossed. In the third whole branches are, but not the class. In the fourth the class and most upper nodes "
        "are crossed while more than half of the leaves are still filled."
    )
    return Drawing(fig, alt)


def calibration(found: Calibration) -> Drawing:
    """Frequency against belief, with 95 % bars, on the diagonal."""
    fig, ax = plt.subplots(figsize=(style.WIDTH, 2.9))
    _diagonal(ax)
    bars = found.frequency - 1.96 * found.error, found.frequency + 1.96 * found.error
    style.data(ax, found.belief, found.frequency, bars, color=style.palette(2)[0])
    ax.set(xlabel="belief in a symbol, by the softmax", ylabel="how often it was that", xlim=(0, 1), ylim=(0, 1))
    return Drawing(
        fig,
        f"{len(found.belief)} points with short bars lie on the diagonal of the unit square: frequency against belief.",
    )


def two_ways_back(walked: np.ndarray, drawn: np.ndarray, steps: Sequence[int], alpha_bar: Sequence[float]) -> Drawing:
    """How often each level is kept by the reverse process step by step, and by a draw from the posterior.

    Args:
        walked, drawn: (K, runs, L+1), 1 or a fraction of nodes that kept their symbol.
        steps: (K,) at which the process turned round.
        alpha_bar: (K,) the signal left there.
    """
    fig, ax = plt.subplots(figsize=(style.WIDTH, 3.1))
    L = walked.shape[2] - 1
    for l, colour in enumerate(style.palette(L)):
        at = np.array(steps) + 24 * (l - L / 2)
        for kept, kind, shift in ((walked, "bp", -2), (drawn, "samples", 2)):
            style.data(ax, at + shift, normal_interval(kept[:, :, l].T), kind=kind, color=colour)
        name = {0: "leaves", L: "class"}.get(l, str(l))
        above = (at[0], walked[0, :, l].mean())
        ax.annotate(name, above, (0, 9), textcoords="offset points", ha="center", fontsize=9)
    ax.set_xticks(steps, [f"{k}\n" + rf"$\bar\alpha={a:.2f}$" for k, a in zip(steps, alpha_bar, strict=True)])
    ax.set(xlabel="step at which the process turns round", ylabel="probability of being kept", ylim=(0, 1))
    alt = (
        f"{len(steps)} groups of {L + 1} pairs of points, one pair a level of the tree. In each pair the filled circle "
        "and the open diamond are at the same height; the heights fall from group to group."
    )
    return Drawing(fig, alt)


def level_curves(t: np.ndarray, kept: Interval, view: tuple[float, float], *, half: Interval, chance: float) -> Drawing:
    """The probability that each level survives a U-turn, against the noise (figure 5 of the paper).

    Args:
        t: (T,) times of Gaussian noise. kept: (T, L+1), with its intervals.
        view: the ends of the axis.
        half: the half height of the class; not finite where there is none.
        chance: of the class.
    """
    values = np.asarray(kept.value)
    L = values.shape[1] - 1
    colours = style.palette(L)
    fig, ax = plt.subplots(figsize=(style.WIDTH, 4.2))
    for curve, colour, width in zip(values.T, colours, style.widths(L)):
        ax.plot(t, curve, color=colour, lw=width)
    few = np.unique(np.searchsorted(t, np.geomspace(1.12 * view[0], view[1] / 1.09, 26)).clip(0, len(t) - 1))
    for l in (0, L):
        style.data(ax, t[few], kept.at((few, l)), color=colours[l])
    style.log_axis(ax, *view)
    ax.set(ylabel=r"probability that a symbol is unchanged, $P_\ell$", ylim=(0, 1.02))
    label = "noise: time $t$ at which the process turns round"
    style.noise_ruler(ax, _signal, half=half, chance=chance, label=label)
    ax.text(view[0] * 1.03, chance + 0.015, "chance", color=style.CHANCE, fontsize=9)
    style.level_bar(fig, ax, L)
    alt = (
        f"{L + 1} falling curves against the noise, coloured from teal (leaves) to red (class). The leaves fall slowly "
        "over the whole width. The class stays near one longer and then falls to chance in a narrow range, below all "
        "other curves, where most of the leaves are still unchanged."
    )
    return Drawing(fig, alt)


def lead_over_the_leaves(t: np.ndarray, lead: Interval, cross: np.ndarray, *, half: Interval) -> Drawing:
    """By how much each level is kept better than the leaves, and where it falls behind them.

    Args:
        t: (T,) times of Gaussian noise. lead: (T, L+1), P_l - P_0 with its intervals.
        cross: (L+1,) where each level falls behind; not finite where it does not.
        half: the half height of the class; not finite where there is none.
    """
    ahead, lo, hi = map(np.asarray, lead)
    L = ahead.shape[1] - 1
    colours = style.palette(L)
    fig, ax = plt.subplots(figsize=(style.WIDTH, 3.5))
    ax.axhline(0, color=style.INK, lw=0.8)
    for l in range(1, L + 1):
        ax.plot(t, ahead[:, l], color=colours[l], lw=style.widths(L)[l])
        if np.isfinite(cross[l]):
            ax.plot(cross[l], 0, "o", ms=4.5, color=colours[l], zorder=5)
    ax.fill_between(t, lo[:, L], hi[:, L], facecolor=(colours[L], 0.3), edgecolor=colours[L], lw=0.6)
    style.log_axis(ax, t[0], t[-1])
    top = max(0.02, float(ahead.max()) * 1.3)
    ax.set(ylabel=r"lead over the leaves, $P_\ell - P_0$", ylim=(-1.3 * top, top))
    style.noise_ruler(ax, _signal, half=half, label="noise: time $t$")
    style.level_bar(fig, ax, L)
    alt = (
        "Curves of the lead over the leaves against noise. All rise above zero, the middle levels highest; then they "
        "turn down and cross zero one after the other, the class first, the level next to the leaves last."
    )
    return Drawing(fig, alt)


def depths(leads: Mapping[int, Mapping[int, Interval]], needed: Mapping[int, int | None], *, limit: float) -> Drawing:
    """The lead of the class over the leaves for growing depth, and the depth at which it has one, for several rules.

    Args:
        leads: by the number of rules m and by depth L.
        needed: by m, the fewest levels with which the mean field lets the class lead; None where it never does.
        limit: m_c, from which on no depth is enough.
    """
    fig, (ax, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.2), width_ratios=[3, 2])
    ax.axhline(0, color=style.INK, lw=0.8)
    top = style.palette(1)[1]
    for mark, shift, (m, found) in zip("sDo", (-0.08, 0, 0.08), sorted(leads.items()), strict=False):
        at = np.array(sorted(found))
        value, lo, hi = (np.array([float(found[L][i]) for L in at]) for i in range(3))
        ax.plot(at + shift, value, color=top, lw=1)
        style.data(ax, at + shift, Interval(value, lo, hi), color=top, marker=mark, markersize=5)
        ax.annotate(f"$m={m}$", (at[-1] + shift, value[-1]), (6, -3), textcoords="offset points", fontsize=9)
    ax.set(xlabel="depth $L$", ylabel=r"lead of the class, $P_L - P_0$")
    ax.margins(x=0.18)
    levels = {m: L for m, L in needed.items() if L}
    right.plot(list(levels), list(levels.values()), "o", ms=4.5, color=style.INK)
    if limit <= 1.3 * max(needed):
        right.axvline(limit, color=style.CHANCE, ls=":", lw=1.6)
        right.annotate("$m_c$", (limit, 0.9), (-5, 0), xycoords=("data", "axes fraction"),
                       textcoords="offset points", ha="right", fontsize=9)  # fmt: skip
    right.set(xlabel="rules a symbol, $m$", ylabel="levels needed (mean field)")
    right.set_ylim(bottom=0)
    alt = (
        "Left: the lead of the class against depth, one line a number of rules. All start at or below zero and rise; "
        "the fewer the rules, the sooner and the higher. Right: the depth needed grows with the number of rules, "
        "slowly at first and steeply near a dotted upright line."
    )
    return Drawing(fig, alt)


def depth_rows(found: Sequence[Depth], lines: int = 4) -> dict[str, Shown]:
    """The cells of a table of depths, for `hierlib.book.numbers`: row0_L, row0_t, row0_slope, row0_lead, row0_best, ….

    Args:
        found: of each depth, the shallowest first.
        lines: of the table; the first ones stay empty if there are fewer depths.
    """
    cells: dict[str, Shown] = {
        f"row{i}_{name}": "–" for i in range(lines) for name in ("L", "t", "slope", "lead", "best")
    }
    for i, each in enumerate(found, lines - len(found)):
        cells |= {f"row{i}_L": each.L, f"row{i}_t": (each.at, ".4f"), f"row{i}_slope": (each.slope, ".2f")}
        cells |= {f"row{i}_lead": (each.lead, ".4f"), f"row{i}_best": each.best}
    return cells


def sharpening(
    t: np.ndarray,
    curves: Mapping[int, np.ndarray],
    slopes: Mapping[int, Interval],
    leaf_slopes: Sequence[float],
    view: tuple[float, float],
) -> Drawing:
    """Class and leaves for growing depth, and how steeply they fall at the half height of the class.

    Args:
        t: (T,) times of noise. curves: by depth L, (T, L+1), the mean curves of all levels.
        slopes: by depth, of the class at its half height. leaf_slopes: (depths,), of the leaves at one noise.
        view: the ends of the left axis.
    """
    sizes = list(curves)
    leaf, top = style.palette(1)
    fig, (ax, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.3), width_ratios=[3, 2])
    for share, kept in zip(np.arange(1, len(sizes) + 1) / len(sizes), curves.values()):
        for l, colour in ((-1, top), (0, leaf)):
            ax.plot(t, kept[:, l], color=colour, alpha=0.5 + 0.5 * share, lw=1 + 1.4 * share)
    style.log_axis(ax, *view)
    ax.set(ylabel="probability of being kept", ylim=(0, 1.02), xlabel="noise $t$")
    note = {"fontsize": 9, "transform": ax.transAxes}
    ax.text(0.97, 0.62, f"leaves,\nall {len(sizes)} depths", color=style.INK, ha="right", **note)
    ax.text(0.04, 0.12, f"class, $L={sizes[0]}$\n(faint) … ${sizes[-1]}$", **note)
    steep = Interval(*(np.array(z, float) for z in zip(*(slopes[n] for n in sizes))))
    if len(sizes) > 1 and np.isfinite(steep.value).all():
        line = np.linspace(sizes[0], sizes[-1], 50)
        fit = np.polyfit(sizes, np.log(steep.value), 1)
        right.plot(line, np.exp(np.polyval(fit, line)), color=style.CHANCE, lw=1.2)
    style.data(right, sizes, steep, color=top)
    style.data(right, sizes, leaf_slopes, color=leaf)
    right.set_yscale("log")
    right.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    right.yaxis.set_minor_locator(NullLocator())
    right.set_xticks(sizes)
    right.set(xlabel="depth $L$", ylabel=r"slope, $-dP/d\,\ln t$")
    alt = (
        f"Left: class curves of {len(sizes)} depths, steeper with depth; the leaf curves of all depths lie on each "
        "other. Right: the slope of the class rises along a straight line on a logarithmic axis, that of the leaves "
        "stays level."
    )
    return Drawing(fig, alt)


def survivors(found: GivenChanged, told: np.ndarray, untold: np.ndarray, t: float) -> Drawing:
    """What survives a change of the class, by level, and what it would help to be told the class.

    Args:
        found: of U-turns at time t.
        told, untold: (draws, L+1) the probability of being kept just beyond the threshold, the way back being told
            the class or not.
    """
    L = told.shape[1] - 1
    level, colours = np.arange(L + 1), style.palette(L)
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.3), sharey=True)
    left.plot(level[:-1], found.accident[:-1], color=style.CHANCE, ls=":", lw=1.6)
    if np.isfinite(found.accident[0]):
        at: style.Options = {"xytext": (4, 5), "textcoords": "offset points"}
        left.annotate("by accident", (0, found.accident[0]), color=style.CHANCE, fontsize=9, **at)
    for l in level[:-1]:
        style.data(left, [l], found.kept.at([l]), kind="samples", color=colours[l])
    left.set(xlabel=r"level $\ell$", ylabel="probability of being kept", ylim=(-0.02, 1.02))
    left.set_title(f"class changed ($t={t:.2f}$)")
    for name, rows, line, shift in (("told the class", told, "-", -8), ("not told", untold, "--", -30)):
        kept = mean_interval(rows, num=400)
        right.plot(level, kept.value, color=style.INK, lw=1.2, ls=line, zorder=1)
        for l in level:
            face = colours[l] if line == "-" else style.PAPER
            style.data(right, [l], kept.at([l]), color=colours[l], markerfacecolor=face)
        at = {"xytext": (shift, -4), "textcoords": "offset points"}
        right.annotate(name, (L, np.asarray(kept.value)[L]), ha="right", fontsize=9, **at)
    right.set(xlabel=r"level $\ell$", title=r"$t = 1.15\,t^{\!*}$")
    for ax in (left, right):
        ax.set_xticks([0, *range(2, L, 2), L], ["leaf", *map(str, range(2, L, 2)), "class"])
    alt = (
        "Left: what is kept given a changed class falls from more than half at the leaves towards the accidental level "
        "near the class. Right: with the class told, the upper levels rise to one while the leaves hardly move."
    )
    return Drawing(fig, alt)


def nishimori(found: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Drawing:
    """Sum of squared beliefs against belief in the truth: on the diagonal where beliefs are those of a Bayesian.

    Args:
        found: by the name of the noise, the two as (T, L+1) arrays.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(style.WIDTH, 2.7), sharey=True, sharex=True)
    for ax, (name, (truth, squared)) in zip(axes, found.items(), strict=True):
        _diagonal(ax)
        pick = slice(None, None, 3) if len(truth) > 10 else slice(None)
        for l, colour in enumerate(style.palette(truth.shape[1] - 1)):
            ax.plot(truth[pick, l], squared[pick, l], "o", ms=3.5, color=colour)
        ax.set(title=name, xlim=(0, 1.02), ylim=(0, 1.02), xticks=(0, 0.5, 1))
    axes[0].set_ylabel("sum of squared beliefs")
    axes[len(axes) // 2].set_xlabel("belief in the true symbol")
    alt = (
        "Squares, one for each noise. For Gaussian noise and masks points of all levels lie on the diagonal. For the "
        "epsilon-process they hang far below it."
    )
    return Drawing(fig, alt)


def _diagonal(ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color=style.CHANCE, lw=1.2, ls=":")


def _signal(t: np.ndarray) -> np.ndarray:
    """Of Gaussian noise at time t."""
    return np.exp(-2 * t)
