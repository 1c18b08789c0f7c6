"""The figures of saying several words at once: prices of orders, where they are paid, what is legal, who else pays."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from hierlib.book.figures.strata import draw_strata
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, CHANGED, ERASED, INK, PAPER, Options, data, label_lines, palette
from hierlib.experiments.curves import Interval, normal_interval
from hierlib.networks.haste import Bill
from hierlib.networks.schedulers import Audit

_LEAF, _MIDDLE, _CLASS = (palette(2)[i] for i in range(3))
LOOKS: dict[str, Options] = {
    "strided": {"color": _CLASS, "lw": 2.2},
    "digit-reversed": {"color": _CLASS, "lw": 1.2, "ls": (0, (4, 2))},
    "random": {"color": _LEAF, "lw": 2.2},
    "least certain first": {"color": _MIDDLE, "lw": 1.4},
    "most certain first": {"color": CHANGED, "lw": 2.0},
    "blocks": {"color": CHANCE, "lw": 1.6},
}


class Prices(NamedTuple):
    """The price of an order."""

    rounds: Sequence[int]  #: (K,) numbers of rounds
    nats: Interval  #: (K,) and their 95 % intervals
    bars: bool = True  #: whether these are drawn: of two grammars they say little


def _axis_of_rounds(ax: Axes, rounds: Sequence[int], label: str = "rounds $K$") -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(rounds, [f"{K}" for K in rounds])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(label)


def price(found: Mapping[str, Prices], *, guides: Mapping[str, int], at: int) -> Drawing:
    """The price of every order against the number of rounds, on logarithmic axes.

    Args:
        found: by the name of an order, one of `LOOKS`.
        guides: order → the power k of a dotted line K^-k through its price at `at` rounds.
        at: number of rounds, one of each such order's.
    """
    fig, ax = plt.subplots(figsize=(6, 4))
    for name, each in found.items():
        value = np.asarray(each.nats.value)
        ax.plot(each.rounds, value, label=name, **LOOKS[name])
        marker: Options = {"color": LOOKS[name]["color"], "markersize": 3.5}
        if each.bars:
            low = np.maximum(each.nats.lo, value / 30)  # a bar that reaches zero has no end on this axis
            data(ax, each.rounds, Interval(value, low, each.nats.hi), **marker)
        else:
            data(ax, each.rounds, value, **marker)
    for name, power in guides.items():
        rounds = np.array(found[name].rounds, float)
        through = float(np.asarray(found[name].nats.value)[list(found[name].rounds).index(at)])
        ax.plot(rounds, through * (rounds / at) ** -power, ":", color=INK, lw=1.0, zorder=0)
    _axis_of_rounds(ax, max((each.rounds for each in found.values()), key=len), "rounds $K$")
    ax.set(yscale="log", ylabel="price, nats")
    label_lines(ax)
    return Drawing(
        fig,
        "Six curves on logarithmic axes against the number of rounds. Blocks and most certain first stay level near "
        "the top. Random and least certain first fall. Strided and digit-reversed fall twice as steeply and end "
        "lowest, more than a factor of ten below random.",
    )


class Way(NamedTuple):
    """Where on the way an order pays."""

    hidden: ArrayLike  #: (K,) fraction hidden before each round
    share: ArrayLike  #: (K,) of the price that is paid in each


def where(hidden: ArrayLike, entropies: ArrayLike, rounds: int, paid: Mapping[str, Way]) -> Drawing:
    """The entropy of a hidden leaf with the steps of some equal rounds; and how much of the price is paid when.

    Args:
        hidden: (n,) fraction of hidden leaves, increasing. entropies: (n,) of one of them, in nats.
        rounds: number of equal steps to draw.
        paid: by the name of an order.
    """
    hidden, entropies = np.asarray(hidden, float), np.asarray(entropies, float)
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.1))
    edges = 1 - np.arange(rounds + 1) / rounds
    for start, end in pairwise(edges):
        inside = np.linspace(end, start, 30)
        top = np.full_like(inside, np.interp(start, hidden, entropies))
        left.fill_between(inside, np.interp(inside, hidden, entropies), top, color=ERASED, lw=0)
        left.plot([end, start], top[:2], color=CHANCE, lw=1)
    left.plot(hidden, entropies, color=_LEAF)
    left.set(xlabel="leaves hidden", ylabel="entropy of a hidden leaf, nats", ylim=(0, None), xlim=(1, 0))
    for name, way in paid.items():
        before = np.append(np.asarray(way.hidden, float), 0)
        right.plot(before, np.append(0, np.cumsum(way.share)), label=name, **LOOKS[name])
    right.set(xlabel="leaves hidden", ylabel="share of the price paid so far", ylim=(-0.02, 1.05), xlim=(1, 0))
    right.legend(loc="lower right")
    return Drawing(
        fig,
        "Left, a curve that falls from all leaves hidden to none, steepest at about a quarter "
        "hidden; steps above it, the areas between shaded. Right, two curves from 0 to 1: that of strides is flat, "
        "jumps up near a third hidden and is flat again, that of random leaves rises all the way.",
    )


def legal(strings: Mapping[str, Sequence[np.ndarray]], levels: Mapping[str, ArrayLike]) -> Drawing:
    """Which symbols of one string of each order are legal, as strata; and the fraction of them, level by level.

    Args:
        strings: order → per level, leaves first, bool (nodes,).
        levels: order → (L+1,) fractions.
    """
    columns = 3
    lines = -(-len(strings) // columns)
    fig = plt.figure(figsize=(6, 1.5 * lines + 2.6))
    (above,), (below,) = fig.subfigures(2, 1, squeeze=False, height_ratios=(1.5 * lines, 2.6))
    panels = above.subplots(lines, columns, squeeze=False)
    for ax in panels.flat[len(strings) :]:
        ax.remove()
    for ax, (name, each) in zip(panels.flat, strings.items(), strict=False):
        draw_strata(ax, [np.asarray(level, bool) for level in each])
        ax.set_title(name, fontsize=9.5, pad=3)
        if ax not in panels[:, 0]:
            ax.set_yticklabels([])
    ax = below.subplots()
    for name, fractions in levels.items():
        shown = np.asarray(fractions)
        ax.plot(np.arange(len(shown)), shown, marker="o", markersize=3, label=name, **LOOKS[name])
    L = len(np.asarray(next(iter(levels.values())))) - 1
    ax.set(xlabel=r"level $\ell$", ylabel="legal symbols", ylim=(-0.03, 1.05))
    ax.set_xticks([0, *range(1, L), L], ["leaf", *map(str, range(1, L)), "class"])
    ax.legend(fontsize=8.5, loc="upper left", bbox_to_anchor=(1.0, 1.05))
    return Drawing(
        fig,
        "Above, one picture an order, a row a level with the class on top: under strides most cells are coloured, "
        "with random leaves the upper half is empty, with blocks and the most certain leaves all but the lowest rows."
        " Below, the fraction of coloured cells falls from level to level, latest for strides.",
    )


def trained(rounds: Sequence[int], bills: Mapping[int, Mapping[str, Bill]]) -> Drawing:
    """Haste and a network's own error, stacked, for two orders side by side; a panel a network.

    Args:
        rounds: (K,) numbers of rounds.
        bills: number of training strings → order → what is paid.
    """
    fig, axes = plt.subplots(1, len(bills), figsize=(6, 3.2), sharey=True, squeeze=False)
    place = np.arange(len(rounds))
    for ax, (P, by_order) in zip(axes.flat, bills.items(), strict=True):
        wide = 0.8 / len(by_order)
        for i, (name, bill) in enumerate(by_order.items()):
            x = place + (i - (len(by_order) - 1) / 2) * wide
            colour, haste, error = LOOKS[name]["color"], bill.haste.mean(0).numpy(), bill.error.mean(0).numpy()
            ax.bar(x, haste, 0.9 * wide, color=colour, lw=0, label=f"haste, {name}")
            own = None if i else "own error"
            ax.bar(x, error, 0.9 * wide, bottom=haste, color=ERASED, edgecolor=colour, lw=0.8, label=own)
            data(ax, x, normal_interval(bill.total.numpy()), kind="network", color=INK, markersize=3)
        ax.set_xticks(place, [f"{K}" for K in rounds])
        ax.set(xlabel="rounds $K$", title=f"{P:,d} training strings".replace(",", "\N{NO-BREAK SPACE}"))
    axes[0, 0].set_ylabel("price, nats")
    axes[0, -1].legend(fontsize=8.5)
    return Drawing(
        fig,
        "Two panels of stacked bars against the number of rounds. With few training strings the upper part, the own "
        "error, grows as the lower part, haste, goes; with many it stays small and the bars fall. Squares stand on "
        "their tops.",
    )


class Audited(NamedTuple):
    """A setting of a scheduler."""

    rounds: Sequence[int]  #: (K,)
    nats: Interval  #: (K,) divergence of the data from its runs


def amused(
    temperature: ArrayLike,
    said: ArrayLike,
    runs: tuple[ArrayLike, Interval],
    settings: Mapping[str, Audited],
    expected: tuple[Sequence[int], ArrayLike],
    *,
    truth: float,
) -> Drawing:
    """The law of two leaves under diffusers' AmusedScheduler; and its divergence from the data of a grammar.

    Args:
        temperature: (n,) increasing. said: (n,) how often the likelier symbol comes, written out.
        runs: temperatures and how often it came.
        settings: divergences by the name of a setting. expected: rounds and price of random sets.
        truth: how often the likelier symbol should come.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.2), width_ratios=(1, 1.25))
    left.axhline(truth, color=CHANCE, ls=":", lw=1.2)
    left.plot(temperature, said, color=_CLASS)
    data(left, *runs, kind="samples", color=_CLASS, markerfacecolor=PAPER)
    left.set(xscale="log", xlabel="temperature", ylabel="the likelier symbol comes")
    left.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    right.plot(*expected, color=_LEAF, lw=1.6, label="price of random sets")
    looks = [(CHANGED, "D", PAPER), (INK, "D", PAPER), (_LEAF, "D", PAPER)]
    for shift, (colour, marker, fill), (name, each) in zip((-0.12, 0, 0.12), looks, settings.items(), strict=False):
        style: Options = {"color": colour, "marker": marker, "markerfacecolor": fill, "label": name}
        data(right, np.array(each.rounds) * 2**shift, each.nats, kind="samples", **style)
    right.axhline(0, color=CHANCE, ls=":", lw=1.2)
    _axis_of_rounds(right, expected[0])
    right.set_ylabel("divergence, nats")
    right.legend(fontsize=8.5)
    return Drawing(
        fig,
        "Left, a curve that falls with the temperature to a dotted line at 0.7, with points on it. Right, against the"
        " number of rounds, a line that falls to zero at eight rounds; points for one setting lie on it, those for "
        "the default above it.",
    )


GAUSSIAN = ("DDPM", "DDIM", "DPM-Solver++", "Heun")


def _bound(one: Audit) -> bool:
    """Whether the divergence is a lower bound, as some data never came."""
    return one.law is not None and one.law.least < one.law.divergence


def audits(found: Mapping[str, Sequence[Audit]], levels: Mapping[str, Audit]) -> Drawing:
    """Divergence of the data from the strings of samplers, and the legal symbols of longer strings by level.

    Args:
        found: by the name of a sampler its audits. Those in `GAUSSIAN` are drawn against the calls of the denoiser, of
            the others the last one on a line of its own; a triangle is a lower bound.
        levels: by the name of a curve an audit of longer strings.
    """
    fig = plt.figure(figsize=(6, 5.4))
    (above,), (below,) = fig.subfigures(2, 1, squeeze=False, height_ratios=(2.6, 2.8))
    ax, (left, right) = above.subplots(), below.subplots(1, 2)
    others = {f"{name}, {each[-1].calls} calls": each[-1] for name, each in found.items() if name not in GAUSSIAN}
    ax.axvline(0, color=CHANCE, ls=":", lw=1.2)
    for place, one in enumerate(others.values()):
        value, low, high = one.nats
        style: Options = {"color": CHANGED if low > 0.02 else _CLASS, "markerfacecolor": PAPER}
        ax.plot([low, high], [place, place], lw=1, color=style["color"])
        ax.plot([value], [place], ">" if _bound(one) else "D", markersize=4.5, **style)
    ax.set_yticks(range(len(others)), list(others))
    ax.set(ylim=(len(others) - 0.5, -0.5), xlabel="divergence, nats")
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xlim(left=min(-0.004, *(1.2 * one.nats.lo for one in others.values())))
    left.axhline(0, color=CHANCE, ls=":", lw=1.2)
    for name, colour in zip(GAUSSIAN, (INK, _CLASS, _LEAF, CHANGED), strict=True):
        if each := found.get(name):
            calls, nats = [one.calls for one in each], Interval(*np.array([one.nats for one in each]).T)
            left.plot(calls, np.asarray(nats.value), color=colour, lw=1.2, label=name)
            data(left, calls, nats, kind="samples", color=colour, markerfacecolor=PAPER)
    left.set_yscale("symlog", linthresh=0.01)
    _axis_of_rounds(left, (5, 10, 20), "calls of the denoiser")
    left.set_ylabel("divergence, nats")
    left.legend(fontsize=8, loc="lower left")
    for axis in (ax.xaxis, left.yaxis):
        axis.set_ticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        axis.set_minor_locator(NullLocator())
    for (name, one), colour in zip(levels.items(), (INK, _CLASS, _LEAF), strict=False):
        right.plot(one.levels.numpy(), marker="o", markersize=3, lw=1.2, color=colour, label=name)
    L = len(one.levels) - 1
    right.set(xlabel=r"level $\ell$", ylabel="legal symbols", ylim=(-0.03, 1.05))
    right.set_xticks([0, *range(1, L), L], ["leaf", *map(str, range(1, L)), "class"], fontsize=8)
    right.legend(fontsize=8, loc="lower left")
    return Drawing(
        fig,
        "Above, a list of samplers with a point each on an axis of nats: some are at zero, some at a tenth or more, "
        "and one, a lower bound, lies above one. Below left, four falling curves for Gaussian noise that come to a "
        "hundredth or less at twenty calls. Below right, the fraction of legal symbols by level: with 10 steps it "
        "falls to zero towards the class, with 50 it stays at one.",
    )


def audit_words(found: Mapping[str, Sequence[Audit]]) -> dict[str, str]:
    """What a table says of audits, "NAME-CALLS-nats" and, level by level from 1 on, "NAME-CALLS-legal".

    >>> audit_words({})
    {}
    """
    words = {}
    for name, one in ((name, one) for name, each in found.items() for one in each):
        key, (value, _, high) = f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}-{one.calls}", one.nats
        exact = f"{value:.3f} ± {high - value:.3f}".replace("-", "\N{MINUS SIGN}")
        words[f"{key}-nats"] = f"at least {value:.1f}" if _bound(one) else exact
        words[f"{key}-legal"] = " ".join(f"{x:.3f}" for x in one.levels[1:].tolist())
    return words
