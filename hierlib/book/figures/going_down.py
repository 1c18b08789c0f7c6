"""The figures of the way down: messages at the truth node by node, their averages by level, and what they miss."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from hierlib._devices import array
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import (
    CHANCE,
    INK,
    Options,
    data,
    label_lines,
    level_bar,
    noise_ruler,
    palette,
    theory,
    widths,
)
from hierlib.experiments.curves import Interval
from hierlib.experiments.messages import Averaged, Compared, NodeBeliefs
from hierlib.theory import meanfield
from hierlib.theory.meanfield import MeanField

_STAGE = '<div class="live-stage" data-live="messages-at-truth"><script type="application/json">{data}</script></div>'
_SHOWN = 128  # nodes of the first datum that are drawn


def bad_message(
    found: Mapping[int, Sequence[NodeBeliefs]], expected: Mapping[int, MeanField], *, m: int, level: int
) -> Drawing:
    """Upward message, downward message and posterior at the true symbol of every node; sliders for m and the level.

    Args:
        found: number of rules → a level's `NodeBeliefs`, leaves first; points are the first datum's, standard
            deviations those of all. expected: number of rules → the mean field at the same noise.
        m, level: what is shown first, and in print.
    """
    rules, L = list(found), len(found[m])
    colour = palette(L)
    drawn: dict[str, list] = {"points": [], "sd": [], "mean": [], "theory": []}
    for n in rules:
        drawn["points"].append([[_rounded(kind[0][:_SHOWN], 3) for kind in each] for each in found[n]])
        drawn["sd"].append([[round(float(kind.std(correction=0)), 4) for kind in each] for each in found[n]])
        drawn["mean"].append([[round(float(kind.mean()), 4) for kind in each] for each in found[n]])
        drawn["theory"].append([_rounded([kind[l] for kind in expected[n]], 4) for l in range(L)])
    fig, axes = plt.subplots(1, 3, figsize=(6, 3.1), sharey=True)
    live = {"m": rules, "L": L, "colours": colour, "start": [rules.index(m), level], **drawn}
    points, sd, line = (drawn[key][rules.index(m)][level] for key in ("points", "sd", "theory"))
    for k, (ax, name) in enumerate(zip(axes, ("upward", "downward", "marginal"), strict=True)):
        ax.plot(range(len(points[k])), points[k], "o", color=colour[level], ms=2.6)
        ax.axhline(line[k], color=INK, lw=1.8)
        ax.set(ylim=(0, 1.03), xticks=[0, len(points[k])], xlabel="node", title=f"{name}, sd {sd[k]:.3f}")
    axes[0].set_ylabel(f"belief in the truth, level {level}")
    script = json.dumps(live, separators=(",", ":"))
    return Drawing(
        fig,
        "Three columns of points, one a node: upward beliefs in the truth close to one, downward beliefs scattered "
        "between 0.2 and 1 in stripes, posteriors all at one. With one rule a symbol the middle column collapses to "
        "one.",
        _STAGE.format(data=script),
    )


def _rounded(values: ArrayLike, digits: int) -> list[float]:
    return [round(float(y), digits) for y in array(values)]


def averaging(found: Averaged, *, v: int) -> Drawing:
    """How far the mean of the normalised message is from the annealed one, in per cent, by the siblings' belief."""
    ratio, shades = found.ratio, palette(10)
    fig, ax = plt.subplots()
    for i, q in enumerate(found.q):
        name = "q = 1/v" if np.isclose(q, 1 / v) else f"q = {q:g}"
        shade = shades[round(10 * i / max(1, len(found.q) - 1))]
        ax.plot(found.p, 100 * np.asarray(ratio.value)[i], color=shade, lw=1.0, label=f"${name}$")
        data(ax, found.p, Interval(*(100 * y for y in ratio.at(i))), color=shade)
    ax.axhline(0, color=CHANCE, lw=1, ls=":")
    ax.set(xlabel="belief $p$ in the true sibling", xlim=(0, 1))
    ax.set_ylabel("mean message over $F_\\downarrow(q, p)$, minus 1 (%)")
    label_lines(ax)
    return Drawing(
        fig,
        "The error of averaging against the siblings' belief p, for four beliefs q in the parent: it starts near zero "
        "and rises with p; the curves end several per cent above zero when rules are many.",
    )


class Levels(NamedTuple):
    """Beliefs of one kind, of all levels: measured and in the mean field."""

    eps: ArrayLike  #: (T,) noises
    found: Interval  #: (T, L+1) measured there
    expected: ArrayLike  #: (T, L+1) mean field there
    fine: ArrayLike  #: (n,) noises
    line: ArrayLike  #: (n, L+1) mean field there


def levels_of(eps: ArrayLike, found: Mapping[str, Compared], *, v: int, m: int, s: int, L: int) -> dict[str, Levels]:
    """What the figures of levels take, by kind of belief.

    Args:
        eps: (T,) noises. found: by kind, as `hierlib.experiments.messages.compared` gives it.
        v, m, s, L: of the mean field that the lines are of.
    """
    fine = np.linspace(0.005, 0.995, 200)
    lines = dict(zip(("up", "down", "marginal"), meanfield.solve(fine, v, m, s, L), strict=True))
    return {kind: Levels(eps, each.found, each.theory, fine, lines[kind]) for kind, each in found.items()}


def downward(levels: Levels, *, star: float, chance: float) -> Drawing:
    """The belief in the truth in the message from above, by level, and what the mean field misses (figure 13).

    Args:
        star: the threshold, marked if inside (0, 1). chance: level of chance.
    """
    fig = _panels(levels, "downward belief $q_\\ell$ in the truth", star, chance)
    return Drawing(
        fig,
        "Left: the downward belief in the truth against the noise, one curve a level, high at the leaves and at "
        "chance at the class; points of belief propagation follow the shape and lie above the curves at small noise. "
        "Right: the difference, largest at small noise, near zero beyond the threshold.",
    )


def marginals(levels: Levels, *, star: float, chance: float) -> Drawing:
    """The probability that a symbol of each level survives, and what the mean field misses (figure 14).

    Arguments as for `downward`; the band at the right is ±0.005.
    """
    fig = _panels(levels, "marginal $P_\\ell$ of the truth", star, chance)
    fig.axes[1].axhspan(-0.005, 0.005, color=CHANCE, alpha=0.2, lw=0)
    return Drawing(
        fig,
        "Left: probability that the true symbol survives against noise, one curve a level; all stay near one and then "
        "fall, the class most steeply, and the order of the levels turns around. Points lie on the lines. Right: "
        "differences within half a per cent except in a narrow spike at the threshold.",
    )


def _panels(levels: Levels, label: str, star: float, chance: float) -> plt.Figure:
    eps, found, line = levels.eps, levels.found, np.asarray(levels.line)
    L = line.shape[1] - 1
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.3))
    for level, (colour, width) in enumerate(zip(palette(L), widths(L), strict=True)):
        theory(left, levels.fine, line[:, level], color=colour, linewidth=width)
        data(left, eps, found.at(np.s_[:, level]), color=colour, markersize=2.8, elinewidth=0.8)
        right.plot(
            eps, (np.asarray(found.value) - np.asarray(levels.expected))[:, level], "o-", color=colour, ms=2.6, lw=0.9
        )
    left.set(xlim=(0, 1), ylim=(0, 1.03), ylabel=label)
    noise_ruler(left, label="noise $\\varepsilon$", chance=chance)
    right.axhline(0, color=INK, lw=0.8)
    if 0 < star < 1:
        _mark(right, star)
    right.set(xlim=(0, 1), xlabel="noise $\\varepsilon$", title="belief propagation minus theory")
    level_bar(fig, [left, right], L)
    return fig


def _mark(ax: Axes, star: float) -> None:
    ax.axvline(star, color=CHANCE, lw=1, ls=":")
    where: Options = {"xycoords": ("data", "axes fraction"), "xytext": (8, -9), "textcoords": "offset points"}
    ax.annotate("$\\varepsilon^{*}$", (star, 1), **where)


def synonyms(beliefs: ArrayLike, law: ArrayLike, *, mean_field: float, level: int, L: int) -> Drawing:
    """Downward beliefs at the nodes of a level, beside the law of the number of synonyms.

    Args:
        beliefs: (n,) beliefs in the truth. law: (k,) probability of 0, 1, … other rules that fit the same siblings.
        mean_field: its value. level, L: of the beliefs and of the class.
    """
    beliefs, law, colour = array(beliefs), np.asarray(law)[:4], palette(L)[level]
    marks = 1 / (1 + np.arange(4))
    nearest = np.abs(beliefs[:, None] - marks).argmin(1)
    fig, ax = plt.subplots(figsize=(6, 2.9))
    share: Options = {"weights": np.full(len(beliefs), 1 / len(beliefs)), "bins": np.linspace(0, 1.0001, 101)}
    ax.hist(beliefs, **share, color=colour, alpha=0.55, label="beliefs, bins of 0.01")
    shares = [(nearest == k).mean() for k in range(4)]
    ax.plot(marks, shares, "o", color=colour, ms=5, label="all beliefs next to a mark")
    ax.plot(marks, law, "D", mfc="none", mec=INK, ms=8, label="parent and siblings known: $1/(1+k)$")
    ax.axvline(mean_field, color=INK, lw=1.8)
    where: Options = {"textcoords": "offset points", "xycoords": ("data", "axes fraction")}
    ax.annotate("mean field", (mean_field, 0.35), (6, 0), **where)
    ax.set(xlabel=f"downward belief in the truth, level {level}, $\\varepsilon = 0.1$", xlim=(0, 1.03))
    ax.set_ylabel("share of the nodes")
    ax.set_xticks([0, 0.25, 1 / 3, 0.5, 1], ["0", "¼", "⅓", "½", "1"])
    ax.legend(loc="upper left")
    return Drawing(
        fig,
        "Histogram of downward beliefs in the truth: narrow spikes at one, one half, one third and one quarter "
        "instead of a hump; diamonds of the law of synonyms sit near the spikes; the mean-field value lies where no "
        "node is.",
    )


def leaves_and_class(levels: Levels, *, star: float, chance: float) -> Drawing:
    """The survival of leaves and class against noise (figure 7); arguments as for `downward`."""
    L = np.shape(levels.line)[1] - 1
    colour, width, fine = palette(L), widths(L), np.asarray(levels.fine)
    fig, ax = plt.subplots()
    for level, name, at, shift, side in ((0, "leaves", 0.5, 8, "left"), (L, "class", 0.6, -8, "right")):
        line = np.asarray(levels.line)[:, level]
        theory(ax, fine, line, color=colour[level], linewidth=width[level] + 0.6)
        data(ax, levels.eps, levels.found.at(np.s_[:, level]), color=colour[level])
        here = (fine[np.abs(line - at).argmin()], at)
        ax.annotate(name, here, (shift, 4), textcoords="offset points", ha=side)
    ax.set(xlim=(0, 1), ylim=(0, 1.03), ylabel="probability that the symbol survives")
    noise_ruler(ax, label="noise $\\varepsilon$", chance=chance, half=star if 0 < star < 1 else None)
    return Drawing(
        fig,
        "Two curves against noise: the leaves fall slowly and late, the class stays above them at small noise and "
        "then falls steeply; they cross. Points of belief propagation lie on both curves.",
    )
