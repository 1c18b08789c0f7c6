"""Figures of the threshold of the ε-process: the map, the phase diagram, how errors spread, how a fall sharpens."""

import json
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.experiments.curves import Interval, mean_interval, normal_interval
from hierlib.experiments.spectrum import HOLDS, KeptDeeper
from hierlib.experiments.thresholds import Doubt, Thresholds, WeakNoise, mean_field_half_height
from hierlib.theory import meanfield

LEAF, CLASS = style.palette(1)


def staircases(v: int, m: int, s: int, L: int, nudge: float = 0.02) -> Drawing:
    """The hero: a nudge across the threshold flips the end of the staircase (figure 10 of the paper), live.

    Args:
        v, m, s, L: of the grammar; all is mean field.
        nudge: distance in ε of the two noises in print from the threshold.
    """
    size = {"v": v, "m": m, "s": s}
    threshold, phase = float(meanfield.critical_noise(**size)), str(meanfield.phase(**size))
    starts = np.clip([threshold - nudge, threshold + nudge], 0.005, 0.995)
    colours = CLASS, style.CHANGED
    fig = plt.figure(figsize=(style.WIDTH, 5))
    grid = fig.add_gridspec(2, 2, height_ratios=(1.8, 1))
    ax, web, under = (fig.add_subplot(grid[i]) for i in ((0, 0), (0, 1), (1, slice(None))))
    _plane_of_rules_and_noise(ax, v, s, min(v ** (s - 1), int(np.ceil(2 * float(meanfield.m_c(v, s))))))
    p = np.linspace(0, 1, 200)
    web.plot([0, 1], [0, 1], ":", color=style.CHANCE, linewidth=1.2)
    style.theory(web, p, meanfield.upward_map(p, **size), color=style.INK)
    for start, colour, marker in zip(starts, colours, "os"):
        up = meanfield.solve(start, **size, L=30).p
        web.plot(np.repeat(up, 2)[:-1], np.r_[0, np.repeat(up[1:], 2)], color=colour, linewidth=1.1)
        ax.plot(m, start, marker, color=colour, markersize=5)
        web.plot(up[0], 0, marker, color=colour, markersize=5, clip_on=False)
    _fixed_points(web, size, phase)
    web.set(xlabel=r"belief $p_\ell$", ylabel=r"belief $p_{\ell+1}$ one level up", xlim=(0, 1), ylim=(0, 1.02))
    cut = np.union1d(np.linspace(0, 1, 101), np.clip(threshold + np.linspace(-0.05, 0.05, 41), 0, 1))
    for curve, colour, width in zip(meanfield.solve(cut, **size, L=L).P.T, style.palette(L), style.widths(L)):
        under.plot(cut, curve, color=colour, linewidth=width)
    for start, colour in zip(starts, colours):
        under.axvline(start, color=colour, linewidth=1.1, linestyle="--")
    under.set(xlabel=rf"noise of the leaves $\varepsilon$, at $m={m}$", ylabel=r"belief $P_\ell$")
    under.set(xlim=(0, 1), ylim=(0, 1.02))
    style.level_bar(fig, under, L)
    data = json.dumps({**size, "eps": round(float(starts[0]), 3), "L": L, "colours": style.palette(10)})
    live = f'<div class="live-stage" data-live="map"><script type="application/json">{data}</script></div>'
    alt = (
        "Left, the plane of rules and noise: a falling curve bounds the region where the class is kept. Right, the "
        "map of the belief from one level to the next with its fixed points, and two staircases, from a noise just "
        "below the threshold and from one just above it. Below, the belief in each level falls with the noise: the "
        "class last and steeply, the leaves early and slowly."
    )
    return Drawing(fig, alt, live)


def _plane_of_rules_and_noise(ax: Axes, v: int, s: int, right: int) -> None:
    rules = np.linspace(1, right, 300)
    edge = meanfield.critical_noise(v, rules, s)
    ax.fill_between(rules, edge, color=CLASS, alpha=0.16, linewidth=0)
    style.theory(ax, rules, edge, color=CLASS)
    ax.set(xlabel="rules per symbol $m$", ylabel=r"noise of the leaves $\varepsilon$", xlim=(1, right), ylim=(0, 1))
    ax.annotate("class kept", (0.06, 0.07), xycoords="axes fraction")
    ax.annotate("class lost", (0.96, 0.9), xycoords="axes fraction", ha="right")


def _fixed_points(ax: Axes, size: dict, phase: str) -> None:
    """Full where stable, hollow where not."""
    chance, star, _ = meanfield.fixed_points(**size)
    for point, stable in ((chance, phase != "always"), (star, False), (1.0, phase != "never")):
        if chance <= point <= 1:
            face = style.INK if stable else "white"
            ax.plot(point, point, "o", color=style.INK, markersize=6, markerfacecolor=face, zorder=5)
    if phase == "below":
        ax.annotate(r"$p^{\ast}$", (star, star), (10, -12), textcoords="offset points")


def phase_diagram(found: Mapping[int, Thresholds], v: int, s: int, L: int) -> Drawing:
    """The noise at which the class is lost against the number of rules (figure 6 of the paper).

    Args:
        found: by number of rules m, thresholds of exact inference in trees of L levels.
        v, s: of the grammars.
    """
    fig, ax = plt.subplots(figsize=(style.WIDTH, 3.8))
    right = min(v ** (s - 1), 1.3 * float(meanfield.m_c(v, s)))
    handles = _phases(ax, found, v, s, L, right)
    ax.set(ylabel=r"noise of the leaves $\varepsilon$", xlabel="$s f$, children times fraction of tuples used")
    ax.annotate("class found", (0.08, 0.12), xycoords="axes fraction")
    ax.annotate("class lost", (0.7, 0.8), xycoords="axes fraction")
    per = (v**s - 1) / s

    def rules(filling: ArrayLike) -> np.ndarray:
        return (np.asarray(filling) * per + 1) / v

    def filled(rules: ArrayLike) -> np.ndarray:
        return (np.asarray(rules) * v - 1) / per

    upper = ax.secondary_xaxis("top", functions=(rules, filled))
    upper.set_xlabel("rules per symbol $m$")
    upper.set_xticks(list(found))
    ax.legend(handles=handles, loc="upper right", bbox_to_anchor=(1, 0.72))
    alt = (
        "The noise at which the class is lost falls from near 1 to 0 as the number of rules grows. Points of exact "
        "inference lie on the mean-field lines for both criteria."
    )
    return Drawing(fig, alt)


def phase_diagrams(trees: Sequence[tuple[int, int, int, Mapping[int, Thresholds]]]) -> Drawing:
    """Several of them side by side: (v, s, L, found) each, as of `phase_diagram`."""
    fig, axes = plt.subplots(1, len(trees), figsize=(style.WIDTH, 3.1), sharey=True, squeeze=False)
    for ax, (v, s, L, found) in zip(axes[0], trees):
        _phases(ax, found, v, s, L, 1.3 * float(meanfield.m_c(v, s)))
        ax.set_title(f"$s={s}$, $v={v}$, $L={L}$")
    axes[0, 0].set_ylabel(r"noise of the leaves $\varepsilon$")
    alt = (
        "The phase diagram for other numbers of children a node, with the same falling boundary as for two; points of "
        "exact inference on the lines of the mean field."
    )
    return Drawing(fig, alt)


def _phases(ax: Axes, found: Mapping[int, Thresholds], v: int, s: int, L: int, right: float) -> tuple[Line2D, Line2D]:
    """Mean field as lines, exact inference as points, against s·f."""

    def filling(rules: ArrayLike) -> np.ndarray:
        return s * (np.asarray(rules) * v - 1) / (v**s - 1)

    rules, some = np.linspace(1, right, 200), np.linspace(1, right, 40)
    edge = meanfield.critical_noise(v, rules, s)
    ax.fill_between(filling(rules), edge, color=CLASS, alpha=0.14, linewidth=0)
    line = style.theory(ax, filling(rules), edge, color=CLASS, label="criterion of the paper")
    half = [mean_field_half_height(v, m, s, L) for m in some]
    lines = line, style.theory(ax, filling(some), half, color=LEAF, linewidth=1.2, label="half height")
    for m, pair in found.items():
        for each, colour, face in zip(pair, (CLASS, LEAF), (CLASS, "white")):
            point = Interval(*(np.array([z]) for z in each))
            style.data(ax, [filling(m)], point, color=colour, markerfacecolor=face, zorder=4, clip_on=False)
    ax.set(xlim=(0, filling(right)), ylim=(0, 1), xlabel="$s f$")
    return lines


def doubt(found: Mapping[int, Doubt], eps: float, v: int, s: int, seed: int = 0) -> Drawing:
    """A small doubt at the leaves, level by level, for several numbers of rules.

    Args:
        found: by number of rules m, the doubt on its way up.
        eps: the noise of the leaves. v, s: of the grammars.
        seed: of the intervals over draws.
    """
    fig, ax = plt.subplots()
    for (m, (rows, _)), colour in zip(found.items(), style.palette(max(1, len(found) - 1))):
        levels = range(rows.shape[1])
        line = 1 - meanfield.solve(eps, v, m, s, len(levels) - 1).p
        style.theory(ax, levels, line, color=colour, label=f"$m={m}$")
        style.data(ax, levels, mean_interval(rows, seed=seed), color=colour)
    ax.set(yscale="log", xlabel=r"level $\ell$, from the leaves to the class", ylabel="doubt, 1 - belief in the truth")
    style.label_lines(ax)
    alt = (
        f"The doubt about the truth against the level, logarithmic, for {len(found)} numbers of rules: it falls by "
        "orders of magnitude for few rules, stays nearly level for an intermediate number, and rises to one for many."
    )
    return Drawing(fig, alt)


def never(found: Mapping[int, Mapping[int, np.ndarray]], eps: float, v: int, s: int) -> Drawing:
    """Belief in the class against the depth, for numbers of rules above the limit.

    Args:
        found: by number of rules and by depth, (draws,) belief in the class at noise eps.
    """
    fig, ax = plt.subplots()
    far = np.arange(1, 21)
    for (m, depths), colour in zip(found.items(), style.palette(max(1, len(found) - 1))):
        style.theory(ax, far, meanfield.solve(eps, v, m, s, 20).p[1:], color=colour, label=f"$m={m}$")
        for depth, rows in depths.items():
            style.data(ax, [depth], normal_interval(rows[:, None]), color=colour)
    ax.axhline(1 / v, color=style.CHANCE, linestyle=":", linewidth=1.2)
    ax.set(xlabel="levels $L$ of the tree", ylabel=rf"belief in the class at $\varepsilon={_short(eps)}$")
    ax.set(ylim=(0, 1), xlim=(0, 20), xticks=range(0, 21, 4))
    ax.legend(title="rules per symbol")
    alt = (
        f"Belief in the class against the depth of the tree for {len(found)} numbers of rules above the limit: it "
        "falls from near one to chance, and the sooner the more rules there are."
    )
    return Drawing(fig, alt)


def scaling(falls: Mapping[int, tuple[np.ndarray, np.ndarray]], v: int, m: int, s: int, seed: int = 0) -> Drawing:
    """Belief in the class for several depths, against the noise and against its stretched distance from the threshold.

    Args:
        falls: by depth L, noises (T,) and belief in the class (draws, T).
        v, m, s: of the grammars; where they have no threshold, distances are from .5 and not stretched.
        seed: of the intervals over draws.
    """
    size = {"v": v, "m": m, "s": s}
    there = str(meanfield.phase(**size)) == "below"
    centre = float(meanfield.critical_noise(**size)) if there else 0.5
    slope = float(meanfield.upward_map_derivative(meanfield.fixed_points(**size)[1], **size)) if there else 1.0
    fig, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.1), sharey=True)
    fine = np.linspace(0, 1, 1001)
    for (depth, (eps, rows)), colour in zip(falls.items(), style.palette(max(1, len(falls) - 1))):
        line = meanfield.solve(fine, **size, L=depth).p[:, -1]
        points, stretch = mean_interval(rows, seed=seed), slope**depth
        for ax, x, x_line in zip(axes, (eps, (eps - centre) * stretch), (fine, (fine - centre) * stretch)):
            style.theory(ax, x_line, line, color=colour, linewidth=1.4, label=f"$L={depth}$")
            style.data(ax, x, points, color=colour, markersize=3)
    axes[0].set(xlabel=r"noise of the leaves $\varepsilon$", ylabel="belief in the class", ylim=(0, 1.02))
    axes[0].set_xlim(*((centre - 0.25, min(1, centre + 0.2)) if there else (0, 1)))
    axes[1].set_xlabel(r"$F'(p^\ast)^L\,(\varepsilon-\varepsilon^\ast)$" if there else "no threshold here")
    axes[1].set_xlim(*((-2.2, 2.2) if there else (-0.5, 0.5)))
    axes[0].legend()
    alt = (
        "Left, belief in the class against the noise for several depths; the fall steepens with the depth and all "
        "curves cross at one point. Right, the same against the stretched distance from the threshold: one curve."
    )
    return Drawing(fig, alt)


def outvoted(found: Mapping[tuple[str, int], WeakNoise], v: int, s: int, *, eps: Mapping[str, float]) -> Drawing:
    """Belief in the class against the depth, for few rules, under several kinds of noise.

    Args:
        found: by name of the noise and number of rules.
        v, s: of the grammars.
        eps: by name, the ε of an ε-process, whose mean field is drawn, too.
    """
    names, rules = list(dict.fromkeys(name for name, _ in found)), list(dict.fromkeys(m for _, m in found))
    fig, axes = plt.subplots(1, len(names), figsize=(style.WIDTH, 3.0), sharey=True, squeeze=False)
    colours = dict(zip(rules, style.palette(max(1, len(rules) - 1))))
    for ax, name in zip(axes[0], names):
        for m, colour in colours.items():
            run = found[name, m]
            levels = range(1, len(run.population) + 1)
            style.theory(ax, levels, run.population, "population", color=colour, linewidth=1.4)
            if name in eps:
                line = meanfield.solve(eps[name], v, m, s, len(levels)).p[1:]
                style.theory(ax, levels, line, color=colour, linewidth=1.2)
            style.data(ax, run.depths, normal_interval(run.found), color=colour, label=f"$m={m}$")
        ax.axhline(1 / v, color=style.CHANCE, linestyle=":", linewidth=1.2)
        ax.set_title(name, fontsize=8.5)
        ax.set(xlabel="levels $L$", ylim=(0, 1.03), xticks=(2, 4, 6, 8))
    axes[0, 0].set_ylabel("belief in the class")
    axes[0, len(names) // 2].legend(loc="upper left", handletextpad=0.1, borderaxespad=0)
    alt = (
        f"Belief in the class against the depth for m = {', '.join(map(str, rules))} rules, under {len(names)} kinds "
        "of noise. For two and three rules it rises to one with the depth, for four it hardly moves, for six it "
        "falls to chance."
    )
    return Drawing(fig, alt)


def plane_of_children_and_rules(
    held: Mapping[tuple[int, int], KeptDeeper], found: Mapping[tuple[int, int], np.ndarray], v: int
) -> Drawing:
    """The three phases in the plane of children and rules, and what a census and exact inference make of the leaves.

    Args:
        held: by children and rules, what is kept as the tree gets deeper.
        found: by depth and rules, at three children, the accuracy of census and inference above chance, (2, draws).
        v: alphabet size.
    """
    children = np.arange(2, 6)
    lower, upper = meanfield.m_KS(v, children), meanfield.m_c(v, children)
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.9), width_ratios=[4, 5])
    regions = (np.full(4, 0.4), lower, upper, float(v) ** (children - 1))
    for low, high, colour in zip(regions, regions[1:], style.palette(2)):
        left.fill_between(children, low, high, color=colour, alpha=0.22, lw=0)
    for line in (lower, upper):
        left.plot(children, line, color=style.INK, lw=1.2)
    for (s, m), kept in held.items():
        face = style.INK if kept.holds else "white"
        left.plot(s, m, "o", color=style.INK, ms=3, mew=0.7, mfc=face)
        if kept.exact.value > HOLDS:
            left.plot(s, m, "s", color=style.INK, ms=5.4, mfc="none", mew=0.8)
    left.set(xlabel="children $s$", title="rules $m$", yscale="log", xlim=(1.8, 4.4), ylim=(0.4, 900), xticks=(2, 3, 4))
    left.text(3.3, 22, "threshold", fontsize=9)
    pointer = dict(arrowstyle="-", lw=0.8, color=style.INK)
    left.annotate("noise always\nwins", (3, 40), (1.9, 150), fontsize=9, arrowprops=pointer)
    left.text(2.4, 0.5, "noise never wins", fontsize=9)
    depths, rules = (sorted({key[i] for key in found}) for i in (0, 1))
    for depth, colour in zip(depths, style.palette(max(1, len(depths) - 1))):
        for i, mark in ((0, "o-"), (1, "s--")):
            y = [normal_interval(found[depth, m][i]) for m in rules]
            bars = [each.hi - each.value for each in y]
            label = f"$L={depth}$" if i == 0 else None
            kw = {"color": colour, "markersize": 4, "lw": 1.2, "label": label}
            right.errorbar(rules, [each.value for each in y], yerr=bars, fmt=mark, **kw)
    right.axvline(float(meanfield.m_KS(v, 3)), color=style.INK, lw=1)
    right.set(xscale="log", xlabel="rules $m$, at $s=3$", title="accuracy above chance", ylim=(-0.06, 1.05))
    right.set_xticks(rules, [str(m) for m in rules])
    right.xaxis.set_minor_locator(NullLocator())
    right.legend(loc="center right", title="census", fontsize=8.5)
    alt = (
        "Left, the plane of children and rules, cut by two rising lines into three regions; circles below the lower "
        "line are full, those above it open, and a square is around each. Right, accuracy against the number of "
        "rules: exact inference stays near one, a census falls, the more the deeper the tree once there are more "
        "rules than children."
    )
    return Drawing(fig, alt)


def _short(x: float) -> str:
    return f"{x:g}".removeprefix("0")
