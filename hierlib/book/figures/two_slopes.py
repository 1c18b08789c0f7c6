"""The figures of the exponents of language: two laws that fall, random places, short windows, networks beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
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
    data(ax, x, _positive(found), **look)
    at = min(at, len(value) - 1)
    if value[at] > 0:
        theory(ax, x, value[at] * (x / x[at]) ** -exponent, color=look["color"])


def _positive(found: Interval) -> Interval:
    """What a logarithmic axis can show: the positive values, their bars cut at a thirtieth."""
    value = np.asarray(found.value, float)
    there = value > 0
    low = np.where(there, np.maximum(found.lo, value / 30), np.nan)
    return Interval(np.where(there, value, np.nan), low, np.where(there, found.hi, np.nan))


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


def floor(
    learnt: Mapping[int, ArrayLike],
    readers: ArrayLike,
    missing: Interval,
    beginnings: Mapping[str, ArrayLike],
    last_leaf: tuple[Interval, Interval],
    gamma: float,
    s: int,
) -> Drawing:
    """Networks beside exact inference, place by place, and the two exponents that one would read off them.

    Args:
        learnt: strings seen → (s^L,) loss at each place, in nats. readers: (L+1, s^L) that of exact readers of the
            lowest 0 … L levels' rules; the last one is the floor.
        missing: (s^L,) what the networks have above the floor at the end.
        beginnings: name → (L+1,) mean loss over the first s^l places above its limit, of "exact" inference, of the
            "network" at the end, and of other readers, dotted "2 levels" and any other as dashes.
        last_leaf: (L,) how much less the loss of the last leaf is than in the block's last part, blocks of s, s², …
            leaves, of the networks at the end and of exact inference.
        gamma: of the law that the latter falls by. s: children of a node.
    """
    exact = np.asarray(readers, float)
    fig = plt.figure(figsize=(6, 6.2))
    top, missed, left, right = fig.subplot_mosaic("AA;BB;CD", height_ratios=(1.15, 0.95, 1.25)).values()
    place = np.arange(1, exact.shape[1] + 1)
    top.vlines(place, 0, exact[-1], color=CHANCE, lw=4, alpha=0.45)
    colours = palette(max(1, len(learnt) - 1))
    for (strings, loss), colour in zip(learnt.items(), colours, strict=False):
        top.plot(place, loss, color=colour, marker="s", ms=3, lw=0.9, label=f"{strings:,}".replace(",", "\u202f"))
    top.set(ylabel="loss, nats", ylim=(0, None), xlim=(0.2, len(place) + 0.8))
    top.legend(title="strings seen", ncols=len(learnt), fontsize=9, title_fontsize=9, loc="lower right",
               bbox_to_anchor=(1.0, 1.0))  # fmt: skip
    end = colours[len(learnt) - 1]
    data(missed, place, missing, kind="network", color=end, markersize=3.5)
    for levels, dashes in ((2, ":"), (3, "--")):
        if levels < len(exact) - 1:
            missed.plot(
                place, exact[levels] - exact[-1], color=CHANCE, ls=dashes, lw=1, label=f"exact, {levels} levels"
            )
    missed.set(xlabel="place of the leaf", ylabel="above the floor", xlim=(0.2, len(place) + 0.8), ylim=(0, None))
    missed.legend(fontsize=9, loc="upper left", ncols=2)
    length = float(s) ** np.arange(len(exact))
    looks: dict[str, Options] = {
        "exact": {"marker": "o", "ls": "-"},
        "network": {"marker": "s", "ls": "-", "color": end},
    }
    looks["2 levels"] = {"ls": ":"}
    for name, y in beginnings.items():
        look = {"color": CHANCE, "ms": 4.5, "lw": 1, "ls": "--", **looks.get(name, {})}
        left.plot(length, np.where(np.asarray(y, float) > 0, y, np.nan), label=name, **look)
    left.set(xlabel="leaves in the beginning", ylabel="mean loss above the limit")
    of_network, of_exact = last_leaf
    power_law(right, length[1:], of_exact, gamma, 1, color=CHANCE, marker="o", markersize=4.5, label="exact")
    data(right, length[1:], _positive(of_network), kind="network", color=end, markersize=4.5, label="network")
    right.set(xlabel="leaves in the block", ylabel="what its first part takes")
    for ax in (left, right):
        ax.set_xscale("log", base=s)
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.legend(fontsize=9, loc="lower left")
    return Drawing(
        fig,
        "Four panels. On top the loss at each place: grey sticks, the exact one, and lines above them that come down "
        "as more strings are seen, on the highest sticks first and on the lowest last. Below, what is still missing, "
        "about as exact readers of two or three levels miss. Bottom left, the exact mean falls along a straight line "
        "and that of the network bends away to the right. Bottom right, the network's points fall below the exact ones "
        "from some block on.",
    )
