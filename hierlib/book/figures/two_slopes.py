"""The figures of the exponents of language: two laws that fall, entropies at random places, and short windows."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, Options, data, palette, theory, widths
from hierlib.experiments.curves import Interval
from hierlib.language import Exponents

_COLOURS = [palette(2)[i] for i in (0, 1, 2)]  # of few, some and many rules
_MARKS = ("o", "s", "^")


def falls(
    drops: Mapping[int, Interval], covariances: Mapping[int, Interval], laws: Mapping[int, Exponents], s: int
) -> Drawing:
    """Two quantities that fall with the length of blocks, for a few numbers of rules, and the slopes that theory gives.

    Args:
        drops: m → (L,) how much less the entropy of the last leaf of a block of s^l leaves is than that of its last
            part, l = 1 … L. covariances: m → (L,) root mean square covariance of leaves that meet at level l.
        laws: m → exponents. s: children of a node.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.4))
    for i, (m, law) in enumerate(laws.items()):
        look: Options = {"color": _COLOURS[i % 3], "marker": _MARKS[i % 3], "markersize": 4.5}
        for ax, found, exponent, apart, at in (
            (left, drops[m], law.gamma, 1, 4),
            (right, covariances[m], law.beta, 0, 2),
        ):
            length = float(s) ** (np.arange(len(found.value)) + apart)
            power_law(ax, length, found, float(exponent), at - 1, label=f"$m={m}$", **look)
    left.set(xlabel="leaves in the block", ylabel="entropy that its first part takes, nats", ylim=(1e-4, 4))
    right.set(xlabel="distance of two leaves", ylabel="their covariance")
    for ax in (left, right):
        ax.set_xscale("log", base=s)
        ax.set_yscale("log")
    right.legend(loc="lower left")
    return Drawing(
        fig,
        "Two panels on logarithmic axes, points and straight lines for three numbers of rules. Right, all points lie "
        "on their lines, the steeper the more rules there are. Left, the points bend down first and take the slope of "
        "their line later, the later the more rules there are; there more rules mean a flatter line.",
    )


def power_law(ax: Axes, length: ArrayLike, found: Interval, exponent: float, at: int, **look: Any) -> None:
    """Points of what falls, those that are positive, and a line of an exponent through one of them.

    Args:
        length: (n,) of blocks, or distances. found: (n,) what falls with it, its bars cut at a thirtieth.
        exponent: of the line. at: through which point it goes; through the last if there are fewer.
        look: of the points; the line has their colour.
    """
    x, value = np.asarray(length, float), np.asarray(found.value, float)
    there = value > 0
    low = np.where(there, np.maximum(found.lo, value / 30), np.nan)
    data(ax, x, Interval(np.where(there, value, np.nan), low, np.where(there, found.hi, np.nan)), **look)
    at = min(at, len(value) - 1)
    if there[at]:
        theory(ax, x, value[at] * (x / x[at]) ** -exponent, color=look["color"])


def places(inferred: ArrayLike, excess: Mapping[int, ArrayLike], s: int) -> Drawing:
    """Entropy of each leaf given all before it, and what is left of its mean over a block above the limit.

    Args:
        inferred: (s^L,) nats. excess: m → (L+1,) nats, blocks of s^l leaves. s: children of a node.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1.25, 1))
    shown = np.asarray(inferred, float)[: s**5]
    left.vlines(np.arange(1, len(shown) + 1), 0, shown, color=_COLOURS[1], lw=2.2)
    left.set(xlabel="place of the leaf", ylabel="its entropy given all before, nats", ylim=(0, None))
    for i, (m, each) in enumerate(excess.items()):
        y = np.asarray(each, float)
        length = float(s) ** np.arange(len(y))
        right.plot(length, y, color=_COLOURS[i % 3], marker=_MARKS[i % 3], markersize=4.5, lw=1, label=f"$m={m}$")
        right.plot(length, y[0] / length, color=CHANCE, ls=":", lw=1)
    right.set(xlabel="leaves in the block", ylabel="mean entropy above the limit, nats")
    right.set_xscale("log", base=s)
    right.set_yscale("log")
    right.legend()
    return Drawing(
        fig,
        "Left, a stick for each leaf: the last of each tuple is easy to say, and those that open a longer block are "
        "the hardest. Right, three straight lines on logarithmic axes, nearly one on the other, of slope minus one.",
    )


def staircase(windows: Sequence[int], legal: Interval, s: int) -> Drawing:
    """Legal nodes against the leaves that each leaf sees, a line a level.

    Args:
        windows: (K,) leaves seen. legal: (K, L) shares with their intervals, levels 1 … L. s: children of a node.
    """
    k = np.asarray(windows, float)
    L = np.shape(legal.value)[1]
    fig, ax = plt.subplots(figsize=(6, 3.4))
    for level, (colour, width) in enumerate(zip(palette(L)[1:], widths(L)[1:], strict=True), 1):
        name = "class" if level == L else f"level {level}"
        each = legal.at((slice(None), level - 1))
        ax.plot(k, each.value, color=colour, lw=width, label=name)
        data(ax, k, each, color=colour, markersize=3.5)
        if s**level - 1 <= k.max():
            ax.axvline(s**level - 1, color=colour, ls=":", lw=1)
    ax.set(xlabel="leaves seen before each leaf", ylabel="legal nodes", ylim=(-0.03, 1.05))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=9)
    return Drawing(
        fig,
        "Five rising lines, one a level, that reach one after the other, the low levels first; a dotted line marks the "
        "window from which on each is exactly one.",
    )
