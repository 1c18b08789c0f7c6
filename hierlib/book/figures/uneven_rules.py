"""The figures of rules of unequal weights: the class against noise, its rescue, other noises, and covariances."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from hierlib.book.figures.two_slopes import power_law
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, Options, data, palette, theory
from hierlib.experiments.curves import Interval

_MARKS = ("o", "s", "^", "v")


def _name(a: float) -> str:
    return "uniform" if a == 0 else f"$k^{{-{a:g}}}$"


def _belief(
    ax: Axes, eps: Mapping[float, ArrayLike], beliefs: Mapping[float, Interval], pools: Mapping[float, ArrayLike]
) -> None:
    """Belief in the class against ε, points by inference and lines of the pool, a colour an exponent of the weights."""
    for i, (a, colour) in enumerate(zip(beliefs, palette(max(1, len(beliefs) - 1)), strict=True)):
        theory(ax, eps[a], pools[a], "population", color=colour)
        data(ax, eps[a], beliefs[a], color=colour, marker=_MARKS[i % 4], markersize=4, label=_name(a))
    ax.set(xlabel=r"noise $\varepsilon$", ylabel="belief in the true class", ylim=(-0.03, 1.05))


def uneven(
    eps: Mapping[float, ArrayLike], beliefs: Mapping[float, Interval], pools: Mapping[float, ArrayLike]
) -> Drawing:
    """The class against noise for rules weighted by a few powers.

    Args:
        eps: exponent of the weights → (T,). beliefs: → (T,) by inference. pools: → (T,) of the pool of beliefs.
    """
    fig, ax = plt.subplots(figsize=(6, 3.6))
    _belief(ax, eps, beliefs, pools)
    ax.legend(title="weights", loc="lower left")
    return Drawing(
        fig,
        "Falling curves of the belief in the class against noise, one for each unevenness of the rules. The more "
        "uneven they are, the farther right the curve falls; points lie on dashed lines.",
    )


def rescue(
    eps: Mapping[float, ArrayLike],
    beliefs: Mapping[float, Interval],
    pools: Mapping[float, ArrayLike],
    levels: Mapping[float, ArrayLike],
    certain: ArrayLike,
) -> Drawing:
    """The same where every tuple is some rule's; and the pool from level to level.

    Args:
        eps, beliefs, pools: as for `uneven`.
        levels: exponent of the weights → (levels+1,) beliefs of the pool. certain: (levels+1,) from next to no noise.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.5))
    _belief(left, eps, beliefs, pools)
    fig.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=len(beliefs))
    for a, colour in zip(levels, palette(max(1, len(levels) - 1)), strict=True):
        y = np.asarray(levels[a], float)
        theory(right, np.arange(len(y)), y, "population", color=colour, label=_name(a))
    right.plot(np.arange(len(np.asarray(certain))), certain, color=CHANCE, ls=":", lw=1.6)
    right.set(xlabel=r"level $\ell$", ylabel="mean belief on the way up", ylim=(-0.03, 1.05))
    return Drawing(
        fig,
        "Left, belief in the class against noise: with uniform rules it falls at once, with the most uneven ones it "
        "stays high over most of the range. Right, belief from level to level: with uniform rules it falls to chance, "
        "with the most uneven ones it rises to a plateau just below one, to which it falls from nearly certain leaves, "
        "too.",
    )


def noises(found: Mapping[str, Mapping[float, Interval]]) -> Drawing:
    """Half heights over those with uniform rules, for a few noises.

    Args:
        found: noise → exponent of the weights, 0 first → half height.
    """
    fig, ax = plt.subplots(figsize=(6, 3.2))
    for i, ((name, of), colour) in enumerate(zip(found.items(), palette(max(1, len(found) - 1)), strict=True)):
        a = np.array([*of], float)
        first = float(of[0].value)
        y, lo, hi = (np.array([float(getattr(each, k)) for each in of.values()]) / first for k in ("value", "lo", "hi"))
        ax.plot(a, y, color=colour, lw=1)
        data(ax, a, Interval(y, lo, hi), color=colour, marker=_MARKS[i % 4], markersize=5, label=name)
    ax.set(xlabel="exponent $a$ of the weights $k^{-a}$", ylabel="half height over that of uniform rules")
    ax.legend()
    return Drawing(
        fig,
        "Lines that rise from one with the unevenness of the rules, one for each noise. That of Gaussian noise rises "
        "most, that of the theory's own process least.",
    )


def covariance(found: Mapping[str, Interval], laws: Mapping[str, float], s: int) -> Drawing:
    """Root mean square covariance against distance, for rules uneven nowhere, at one level, or at all.

    Args:
        found: name → (L,) of leaves that meet at levels 1 … L. laws: name → exponent. s: children of a node.
    """
    fig, ax = plt.subplots(figsize=(6, 3.4))
    for i, ((name, each), colour) in enumerate(zip(found.items(), palette(max(1, len(found) - 1)), strict=True)):
        apart = float(s) ** np.arange(len(each.value))
        look: Options = {"color": colour, "marker": _MARKS[i % 4], "markersize": 4.5, "label": name}
        power_law(ax, apart, each, laws[name], len(apart) // 2, **look)
    ax.set_xscale("log", base=s)
    ax.set_yscale("log")
    ax.set(xlabel="distance of two leaves", ylabel="their covariance")
    ax.legend(fontsize=9)
    return Drawing(
        fig,
        "Straight lines on logarithmic axes. Those of rules that are uneven at every level are flatter; one uneven "
        "level moves the line without tilting it.",
    )
