"""Figures of the rules of a grammar: another way to write a class, which tuples are allowed, what leaves share."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from hierlib import Grammar
from hierlib._devices import array
from hierlib.book.figures import trees
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.experiments.curves import Interval, normal_interval
from hierlib.experiments.observables import PairInformation


def another_way(g: Grammar, before: Sequence, after: Sequence, start: int = 0) -> Drawing:
    """A datum, the datum after one node has used its next rule, and the rules themselves; live, any node can.

    Args:
        g: a small grammar.
        before, after: the symbols of the two data, one 1-d array a level, the leaves first.
        start: the derivation of the class with which the live figure starts.
    """
    wide = max(0, g.v - 4)
    fig = plt.figure(figsize=(style.WIDTH, 4.3 + 0.12 * (g.v - 4)))
    grid = fig.add_gridspec(2, 2, height_ratios=(2.4, 1 + 0.2 * wide))
    titles = f"a datum of class {int(before[-1][0])}", "another rule at one node"
    for k, (x, title) in enumerate(zip((before, after), titles)):
        ax = fig.add_subplot(grid[0, k])
        left = None if k == 0 else [""] * (g.L + 1)
        trees.tree(ax, x, start=before, radius=8 if g.d <= 8 else 5, left=left)
        ax.set_title(title)
    trees.rules(fig.add_subplot(grid[1, :]), g)
    share = int((array(before[0]) != array(after[0])).sum())
    alt = (
        f"Two trees of {g.d} leaves with the same class on top, and the table of rules below. In the right tree one "
        f"node has used its next rule, and {share} of the leaves under it are ringed as changed."
    )
    return Drawing(fig, alt, trees.stage("tree-rules", g, root=0, start=start))


def allowed_tuples(tables: Mapping[int, Tensor]) -> Drawing:
    """Whose tuple is which: a table of all tuples for each number of rules, a coloured cell one that is allowed.

    Args:
        tables: by number of rules, the rules of one level, (v, m, s).
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(style.WIDTH, 2.1), sharey=True, squeeze=False)
    colour = style.palette(3)[1]
    for ax, (ways, rule) in zip(axes[0], tables.items()):
        v, _, s = rule.shape
        wide = v ** (s - 1)
        rest = torch.stack([rule[..., 1 + i] * v ** (s - 2 - i) for i in range(s - 1)]).sum(0)
        owner = np.full((v, wide), np.nan)
        owner[array(rule[..., 0]), array(rest)] = np.arange(v)[:, None]
        ax.set(xticks=[], yticks=[], title=f"$m = {ways}$", xlim=(-0.5, wide - 0.5), ylim=(v - 0.5, -0.5))
        ax.add_patch(plt.Rectangle((-0.5, -0.5), wide, v, color=style.ERASED, lw=0))
        ax.set_aspect("equal" if wide <= 8 else "auto")
        ax.spines[:].set_visible(False)
        for (row, column), parent in np.ndenumerate(owner):
            if not np.isnan(parent):
                ax.add_patch(plt.Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, color=colour, lw=0))
                if wide <= 8:
                    ink = trees.ink_on(colour)
                    ax.text(column, row, int(parent), ha="center", va="center", fontsize=9, color=ink)
        ax.set_xlabel("$x_2$" if s == 2 else f"$x_2 … x_{s}$")
    axes[0, 0].set_ylabel("$x_1$", rotation=0, va="center", labelpad=10)
    alt = (
        f"Tables of all tuples, one for each of m = {', '.join(map(str, tables))}. With one rule a symbol only a few "
        "cells are coloured and the rest are blank; the coloured cells grow in number with m until none is blank."
    )
    return Drawing(fig, alt)


def mutual_information(found: Mapping[int, PairInformation], counted: Sequence[int], v: int) -> Drawing:
    """What two leaves tell about each other, by the level of their common ancestor, and of siblings by number of rules.

    Args:
        found: by number of rules m, at s = 2.
        counted: those m whose counts in data are drawn; the last has every tuple allowed and gives the floor.
        v: alphabet size.
    """
    levels = np.arange(1, found[counted[0]].exact.shape[1] + 1)
    last = levels[-1]
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.3), width_ratios=(1.25, 1))
    for m in counted:
        if m != counted[-1]:
            mean = found[m].exact.mean(0)
            left.plot(levels, mean, color=style.INK, lw=1.4)
            left.text(last + 0.08, mean[-1], f"$m = {m}$", fontsize=9, va="center")
        style.data(left, levels, normal_interval(found[m].counted), color=style.INK)
    floor = found[counted[-1]].floor.mean()
    left.plot([0.85, last + 0.2], [floor] * 2, color=style.CHANCE, ls=":", lw=1.2)
    left.text(last + 0.28, floor, f"floor, and\n$m = {counted[-1]}$", fontsize=9, va="center")
    left.set(yscale="log", ylim=(2e-6, 8), xlim=(0.85, last + 1.05), xticks=levels)
    left.set(xlabel="level of the common ancestor", ylabel="mutual information $I$ (nats)")
    curve = np.linspace(1.6, v, 60)
    right.plot(curve, np.log(v / curve), color=style.CHANCE, lw=1.2)
    at = 11 / 32 * v
    line = {"arrowstyle": "-", "lw": 0.6}
    right.annotate(r"$\ln(v/m)$", (at, np.log(v / at)), (13 / 32 * v, 1.6), fontsize=9, arrowprops=line)
    siblings = [normal_interval(each.exact[:, 0]) for each in found.values()]
    style.data(right, list(found), Interval(*map(np.array, zip(*siblings))), color=style.INK)
    ticks = [m for m in found if m != 4]
    right.set(xlabel="rules per symbol $m$", ylabel="$I$ of siblings (nats)", xticks=ticks, ylim=(-0.1, 3))
    alt = (
        "Left: mutual information on a logarithmic axis falls steeply with the level of the common ancestor, the "
        "steeper the more rules; counted points follow until a floor stops them. Right: the information of siblings "
        "falls with the number of rules and is zero where every tuple is allowed."
    )
    return Drawing(fig, alt)
