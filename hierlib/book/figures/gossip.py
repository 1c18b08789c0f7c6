"""Figures of belief propagation: two sweeps over a tree, its factor graph, its cost, what a node hears from where."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from torch import Tensor

from hierlib import Beliefs, Grammar
from hierlib._devices import array
from hierlib.book.figures import trees
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.experiments.curves import normal_interval
from hierlib.experiments.heard import Heard


def two_sweeps(g: Grammar, evidence: Tensor, beliefs: Beliefs, truth: Sequence, leaf: int = 0) -> Drawing:
    """What every node believes after the way up and after the way down; live, step by step.

    Args:
        g: a small grammar.
        evidence: (1, s^L, v) of one datum. beliefs: what `infer` makes of it.
        truth: the symbols of the datum, one 1-d array a level, the leaves first.
        leaf: the one that the live figure looks at first.
    """
    fig, axes = plt.subplots(2, 1, figsize=(style.WIDTH, 2 * (0.5 + 0.72 * g.L)))
    ups = [up / up.sum(-1, keepdim=True) for up in beliefs.kinds[0]]
    titles = "after the way up: what each node heard from below", "after the way down: the exact posterior"
    for ax, levels, sign, title in zip(axes, (ups, beliefs.marginals), ("up", "marginal"), titles):

        def belief(level: int, node: int, levels: Sequence[Tensor] = levels) -> np.ndarray:
            return array(levels[level][0, node])

        def mark(level: int, node: int, sign: str = sign) -> str:
            return sign

        trees.beliefs(ax, truth, belief, mark=mark)
        ax.set_title(title)
    truth = [array(level).tolist() for level in truth]
    wrong = ups[0][0, leaf].argmax() != truth[0][leaf]
    right = beliefs.marginals[0][0, leaf].argmax() == truth[0][leaf]
    mended = f" Leaf {leaf + 1} believes in a wrong symbol above and in the true one below." if wrong and right else ""
    alt = (
        f"Two trees of {g.d} leaves with small bars at every node, one bar a symbol: above after the way up, below "
        f"after the way down, where the bars of the true symbols have grown.{mended}"
    )
    live = trees.stage("bp-step", g, evidence=evidence[0].tolist(), truth=truth, focus=leaf)
    return Drawing(fig, alt, live)


def factor_graph(truth: Sequence, s: int, L: int) -> Drawing:
    """The factor graph of a datum, and the two messages of one factor (figures 4 and 9 of the paper).

    Args:
        truth: the symbols of the datum, one 1-d array of s^(L-l) a level, the leaves first.
    """
    fig = plt.figure(figsize=(style.WIDTH, 4.4))
    grid = fig.add_gridspec(2, 2, height_ratios=(1.25, 1))
    of = min(2, L)
    trees.factor_graph(fig.add_subplot(grid[0, :]), truth, highlight=(of, 0), radius=8.5 if s**L <= 8 else 6)
    kids = [f"$x_{i + 1}$" for i in range(s)]
    up, down = r"$\nu_\uparrow({})$", r"$\nu_\downarrow({})$"
    new_up, new_down = r"$\tilde\nu_\uparrow({})$", r"$\tilde\nu_\downarrow({})$"
    heard = [up.format(f"x_{i + 1}") for i in range(s)]
    above, below = [new_up.format("y"), *heard], [down.format("y"), new_down.format("x_1"), *heard[1:]]
    for k, (upward, labels) in enumerate([(True, above), (False, below)]):
        ax = fig.add_subplot(grid[1, k])
        trees.factor(ax, kids, "$y$", upward=upward, labels=labels, colours=style.palette(L)[of - 1 : of + 1])
        ax.set_title("upward" if upward else "downward, to the first child")
    alt = (
        "A tree whose discs are symbols, with a square on every branching; one square is filled. Below, that square "
        "twice with its neighbours: arrows from the children in and one to the parent out, then arrows from the "
        "parent and one child in and one to the other child out."
    )
    return Drawing(fig, alt)


def cost(depths: Sequence[int], listing: Sequence[float], messages: Sequence[float]) -> Drawing:
    """Multiplications by the list of all derivations and by messages, on an axis that counts digits.

    Args:
        depths: (n,) levels L. listing, messages: (n,) log10 of the multiplications of each.
    """
    fig, ax = plt.subplots(figsize=(style.WIDTH, 2.7))
    ax.plot(depths, listing, "o-", color=style.INK, ms=4.5)
    ax.plot(depths, messages, "o-", color=style.palette(2)[1], ms=4.5)
    ax.set(yscale="log", xticks=depths, xlabel="levels $L$", xlim=(0.7, depths[-1] + 0.3), yticks=(1, 10, 100, 1000))
    ax.set_yticklabels(["$10$", "$10^{10}$", "$10^{100}$", "$10^{1000}$"])
    ax.set_ylabel("multiplications")
    ax.text(7.8, 300, "list of derivations", ha="right", va="bottom", fontsize=9)
    ax.minorticks_off()
    ax.text(9.7, 9.5, "two sweeps of messages", ha="right", va="bottom", fontsize=9)
    alt = (
        "Multiplications against the number of levels, on an axis that counts digits: the list of derivations rises to "
        f"{max(listing):.0f} digits at {depths[-1]} levels, the messages stay below {max(messages) + 1:.0f} digits."
    )
    return Drawing(fig, alt)


def halves(t: Sequence[float], found: Heard, at: float, v: int) -> Drawing:
    """Belief in the true leaf alone and with the grammar; by level, what comes from below, from above, and both.

    Args:
        t: (T,) times of the noise. found: means over nodes and data of each draw.
        at: the time of the panel by level. v: alphabet size, for chance.
    """
    L = found.halves.shape[2] - 1
    colours = style.palette(L)
    fig, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.3), width_ratios=(1.15, 1))
    curves: Mapping[str, tuple] = {
        "with the grammar": (found.together, "D", (0.075, 0.9)),
        "each leaf alone": (found.alone, "^", (0.012, 0.62)),
    }
    for name, (rows, marker, place) in curves.items():
        line = {"linestyle": "-", "linewidth": 1.2, "marker": marker}
        style.data(left, t, normal_interval(rows), color=colours[0], **line)
        left.text(*place, name, fontsize=9)
    left.axhline(1 / v, color=style.CHANCE, ls=":", lw=1.2)
    left.text(0.0105, 1 / v + 0.015, "chance", fontsize=9)
    left.set(xscale="log", xlabel="time $t$ of the noise", ylabel="belief in the true leaf", ylim=(0, 1.03))
    left.set(xticks=(0.01, 0.03, 0.1, 0.3), xticklabels=("0.01", "0.03", "0.1", "0.3"))
    left.minorticks_off()
    for kind, marker in ((2, "D"), (0, "^"), (1, "v")):
        rows = normal_interval(found.halves[:, kind])
        for level, colour in enumerate(colours):
            style.data(right, [level], rows.at([level]), color=colour, marker=marker)
        right.plot(range(L + 1), rows.value, color=style.INK, lw=0.6, zorder=0)
    right.text(4.1, 0.87, "from below", fontsize=9, va="center")
    right.text(4.1, 0.55, "from above", fontsize=9, va="center")
    right.text(0, 1.02, "both", fontsize=9, va="bottom")
    right.set(xlabel="level $\\ell$", ylim=(0, 1.1), xticks=range(0, L + 1, 2), title=f"$t = {at:.2f}$")
    alt = (
        "Left: belief in the true leaf falls with noise, much later with the grammar than for each leaf alone. "
        f"Right: by level at t = {at:g}, the message from below, the message from above, and their product, which "
        "lies above both at every level but the class, where it equals the message from below."
    )
    return Drawing(fig, alt)
