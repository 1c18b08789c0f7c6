"""The figures of saying several words at once: prices of orders, where they are paid, what is legal, who else pays."""

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


GAUSSIAN = ("DDPM", "DDIM", "DPM-Solver", "Heun")


def audits(found: Mapping[str, Sequence[Audit]], levels: Mapping[str, Audit]) -> Drawing:
    """Divergence of the data from the strings of samplers against the denoiser's calls; and legal symbols by level.

    Args:
        found: by the name of a sampler its audits; those in `GAUSSIAN` have a panel of their own. A triangle is a lower
            bound.
        levels: by the name of a curve an audit of longer strings.
    """
    fig = plt.figure(figsize=(6, 5.6))
    (above,), (below,) = fig.subfigures(2, 1, squeeze=False, height_ratios=(3.4, 2.2))
    colours = (INK, _CLASS, _LEAF, CHANGED, _MIDDLE, CHANCE, _CLASS, _LEAF)
    for ax, right in zip(above.subplots(1, 2, sharey=True), (False, True), strict=True):
        samplers = {name: each for name, each in found.items() if (name in GAUSSIAN) == right}
        ax.axhline(0, color=CHANCE, ls=":", lw=1.2)
        for (name, each), colour in zip(samplers.items(), colours, strict=False):
            calls, nats = [one.calls for one in each], [one.nats for one in each]
            ax.plot(calls, [one.value for one in nats], color=colour, lw=1.2, label=name)
            for place, one, audit in zip(calls, nats, each, strict=True):
                bound = audit.law is not None and audit.law.least < audit.law.divergence
                style: Options = {"color": colour, "markerfacecolor": PAPER, "marker": "^" if bound else "D"}
                data(ax, [place], Interval(*(np.array([x]) for x in one)), kind="samples", **style)
        ax.set_yscale("symlog", linthresh=0.01)
        ax.set_yticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        ax.yaxis.set_minor_locator(NullLocator())
        _axis_of_rounds(ax, sorted({one.calls for each in samplers.values() for one in each}), "calls of the denoiser")
        ax.set_xticks([k for k in (1, 2, 4, 8, 16, 32, 64, 128) if ax.get_xlim()[0] <= k <= ax.get_xlim()[1]])
        ax.xaxis.set_major_formatter(lambda k, _: f"{k:.0f}")
        ax.legend(fontsize=7.5, loc="upper right")
        ax.set_ylabel("" if right else "divergence, nats")
    ax = below.subplots()
    for (name, one), colour in zip(levels.items(), colours, strict=False):
        height = one.levels.numpy()
        ax.plot(np.arange(len(height)), height, marker="o", markersize=3, color=colour, label=name)
    L = len(height) - 1
    ax.set(xlabel=r"level $\ell$", ylabel="legal symbols", ylim=(-0.03, 1.05))
    ax.set_xticks([0, *range(1, L), L], ["leaf", *map(str, range(1, L)), "class"])
    ax.legend(fontsize=8.5, loc="lower left")
    return Drawing(
        fig,
        "Above, two panels of points on falling lines. Left, for masks and uniform noise: some reach zero, one falls "
        "slowly, and a triangle stands above one. Right, for Gaussian noise: all fall below a hundredth from twenty "
        "calls on. Below, the fraction of legal symbols by level: with few steps it falls towards the class.",
    )


def audit_words(found: Mapping[str, Sequence[Audit]]) -> dict[str, str]:
    """What a table says of audits: "NAME-CALLS-nats" and "NAME-CALLS-legal" by level, the lowest that rules make first.

    >>> audit_words({})
    {}
    """
    words = {}
    for name, each in found.items():
        for one in each:
            key, nats = f"{name.lower().replace(' ', '-')}-{one.calls}", one.nats
            bound = one.law is not None and one.law.least < one.law.divergence
            half = f"± {nats.hi - nats.value:.3f}"
            exact = f"{nats.value:.3f} {half}".replace("-", "\N{MINUS SIGN}")
            words[f"{key}-nats"] = f"at least {nats.value:.1f}" if bound else exact
            words[f"{key}-legal"] = " ".join(f"{x:.3f}" for x in one.levels[1:].tolist())
    return words
