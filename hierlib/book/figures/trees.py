"""Pictures of small trees: a datum with its latent symbols, its factor graph, and beliefs on its nodes.

The class is on top. Coordinates are those of the data: x counts leaves, y is the level.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle

from hierlib import Grammar
from hierlib._devices import array
from hierlib._weights import refuse_uneven
from hierlib.book.page.style import CHANCE, CHANGED, INK, PAPER, Options, palette

BAR, HEIGHT, GAP = 0.085, 0.46, 0.025  # of a belief: width and height of a bar, space between two
ON_DARK, ON_LIGHT = "#FEFEFE", "#121212"  # digits inside discs; not PAPER and INK, which follow the page's mode


def positions(s: int, L: int) -> list[np.ndarray]:
    """Where the nodes stand, one array of x a level; a parent is above the middle of its children."""
    x = [np.arange(s**L, dtype=float)]
    for _ in range(L):
        x.append(x[-1].reshape(-1, s).mean(1))
    return x


def tree(
    ax: Axes,
    x: Sequence,
    *,
    start: Sequence | None = None,
    radius: float = 8.5,
    symbols: bool = True,
    left: Sequence[str] | None = None,
) -> None:
    """Draws one datum with its latent symbols as a tree of discs, the colour of a disc its level.

    Args:
        x: the symbols of one datum, one 1-d array of s^(L-l) nodes a level, the leaves first.
        start: another datum; nodes where x differs from it are empty, ringed and crossed.
        radius: of the discs, points; below 6 nothing is written inside.
        symbols: whether the symbol is written inside its disc.
        left: names of the levels, written at the left; "" for none.
    """
    x = _levels(x)
    start = x if start is None else _levels(start)
    L, s, where = _frame(ax, x)
    _edges(ax, where, s)
    for level, colour in enumerate(palette(L)):
        for at, symbol, kept in zip(where[level], x[level], x[level] == start[level], strict=True):
            disc(ax, at, level, colour, symbol if symbols else None, kept=kept, radius=radius)
    names = _names(L) if left is None else left
    for level, name in enumerate(names):
        ax.text(-0.75, level, name, ha="right", va="center", fontsize=9)


def disc(
    ax: Axes,
    x: float,
    y: float,
    colour: str,
    symbol: int | None = None,
    *,
    kept: bool = True,
    radius: float = 8.5,
    z: float = 3,
) -> None:
    """One node: filled where its symbol is kept, an empty ring with a small cross where it has changed."""
    face, edge = (colour, colour) if kept else (PAPER, CHANGED)
    ax.plot(x, y, "o", ms=2 * radius, mfc=face, mec=edge, mew=1.6, zorder=z)
    if not kept:  # the cross sits on the ring, so that the symbol can be read
        ax.annotate(
            "×", (x, y), (0.95 * radius, 0.8 * radius), textcoords="offset points", color=CHANGED,
            ha="center", va="center", fontsize=max(7, 1.25 * radius), zorder=z + 1,
        )  # fmt: skip
    if symbol is not None and radius >= 6:
        ink = ink_on(colour) if kept else CHANGED
        ax.text(
            x, y, str(int(symbol)), color=ink, ha="center", va="center", fontsize=1.15 * radius,
zorder=z + 1,
        )  # fmt: skip


def rules(ax: Axes, g: Grammar) -> None:
    """Writes the rules of a small grammar: a column a level, the class first; "2 → 01 13" is both rules of 2."""
    ax.set(xlim=(0, g.L), ylim=(max(g.v, g.num_classes) + 0.5, -1.2))
    ax.set_axis_off()
    names, colours = _names(g.L), palette(g.L)
    for column, level in enumerate(range(g.L, 0, -1)):
        ax.text(column, -0.6, f"{names[level]} → {names[level - 1]}", va="center", fontsize=9, color=INK)
        ax.plot([column, column + 0.8], [-0.05] * 2, color=colours[level], lw=2)
        for symbol, ways in enumerate(g.rules[level - 1].tolist()):
            right = "   ".join(" ".join(map(str, way)) for way in ways)
            ax.text(column, symbol + 0.5, f"{symbol} → {right}", va="center", fontsize=9)


def stage(figure: str, g: Grammar, **data: Any) -> str:
    """The markup of a live figure that knows a grammar: the element that book/_assets/js/live.js looks for."""
    refuse_uneven(g, "a live figure", "draw it without, its tree shows no weights")
    colours = palette(g.L)
    about = {name: getattr(g, name) for name in ("v", "m", "s", "L")}
    about |= {"rules": [rule.tolist() for rule in g.rules], "colours": colours, "inks": [ink_on(c) for c in colours]}
    script = f'<script type="application/json">{json.dumps(about | data)}</script>'
    return f'<div class="live-stage" data-live="{figure}">{script}</div>'


def factor_graph(ax: Axes, x: Sequence, *, highlight: tuple[int, int] | None = None, radius: float = 8.5) -> None:
    """Draws the factor graph of one datum: a disc a variable, a square a factor, which holds the rules (figure 4).

    Args:
        x: the symbols of one datum, as for `tree`.
        highlight: (level, node) of a parent whose factor is filled.
        radius: of the discs, points.
    """
    x = _levels(x)
    L, s, where = _frame(ax, x)
    for level in range(1, L + 1):
        for node, at in enumerate(where[level]):
            middle = level - 0.5
            ax.plot([at, at], [level, middle], color=INK, lw=1, zorder=1)
            for child in where[level - 1][s * node : s * (node + 1)]:
                ax.plot([at, child], [middle, level - 1], color=INK, lw=1, zorder=1)
            chosen = (level, node) == highlight
            ax.plot(at, middle, "s", ms=9, mfc=INK if chosen else PAPER, mec=INK, mew=1.4, zorder=3)
    for level, colour in enumerate(palette(L)):
        for at, symbol in zip(where[level], x[level], strict=True):
            disc(ax, at, level, colour, symbol, radius=radius)
    for level, name in enumerate(_names(L)):
        ax.text(-0.75, level, name, ha="right", va="center", fontsize=9)


def beliefs(
    ax: Axes,
    truth: Sequence,
    belief: Callable[[int, int], np.ndarray | None],
    *,
    mark: Callable[[int, int], str | None] | None = None,
) -> None:
    """Draws a tree whose nodes are beliefs: one bar a symbol, a tick under the true one.

    Args:
        truth: the symbols of one datum, as for `tree`.
        belief: (level, node) to the belief there, summing to one; None where nothing is known yet.
        mark: (level, node) to "up", "down", "marginal" or None: the sign beside the bars; by default none.
    """
    truth = _levels(truth)
    L, s, where = _frame(ax, truth, low=-0.3, high=0.65)
    _edges(ax, where, s, top=HEIGHT + 0.1, bottom=-0.12)
    for level, colour in enumerate(palette(L)):
        for node, at in enumerate(where[level]):
            sign = None if mark is None else mark(level, node)
            bars(ax, at, level, belief(level, node), colour, truth=int(truth[level][node]), sign=sign)
    for level, name in enumerate(_names(L)):
        ax.text(-0.75, level + HEIGHT / 2, name, ha="right", va="center", fontsize=9)


def bars(
    ax: Axes,
    x: float,
    y: float,
    belief: np.ndarray | None,
    colour: str,
    *,
    truth: int | None = None,
    sign: str | None = None,
) -> None:
    """Draws one belief as bars on (x, y), a flat line for None; a symbol believed above the true one is orange."""
    if belief is None:
        ax.plot([x - 0.2, x + 0.2], [y, y], color=CHANCE, lw=1)
        return
    belief = array(belief, float)
    wrong = int(belief.argmax()) if truth is not None and belief.argmax() != truth else None
    if len(belief) > 8:
        belief = _summary(belief, truth)
        truth, wrong = (None if truth is None else 0), (None if wrong is None else 1)
    left = x - len(belief) * (BAR + GAP) / 2
    for symbol, height in enumerate(belief):
        corner = (left + symbol * (BAR + GAP), y)
        ax.add_patch(Rectangle(corner, BAR, HEIGHT, fc="none", ec=CHANCE, lw=0.5, zorder=2))
        fill = CHANGED if symbol == wrong else colour
        ax.add_patch(Rectangle(corner, BAR, HEIGHT * height, fc=fill, ec="none", zorder=3))
    if truth is not None:
        tick = left + truth * (BAR + GAP)
        ax.add_line(Line2D([tick, tick + BAR], [y - 0.05, y - 0.05], color=INK, lw=2.2, solid_capstyle="butt"))
    if sign is not None:
        _sign(ax, sign, left - 0.11, y + 0.07)


def _sign(ax: Axes, sign: str, x: float, y: float) -> None:
    """▲ upward, ▼ downward, ◆ marginal, as markers: no font lacks them."""
    ax.plot(x, y, marker={"up": "^", "down": "v", "marginal": "D"}[sign], ms=4, color=INK, mew=0, zorder=3)


def factor(
    ax: Axes,
    children: Sequence[str],
    parent: str,
    *,
    upward: bool,
    receiver: int = 0,
    labels: Sequence[str],
    colours: Sequence[str],
) -> None:
    """Draws one factor node with the messages that meet there (figure 9).

    Args:
        children: names of the s variables below.
        parent: name of the variable above.
        upward: whether the factor sends to the parent; else to the child ``receiver``.
        receiver: which child it sends to.
        labels: the names of the messages on the edges: the parent's first, then the children's.
        colours: those of the children's level and of the parent's.
    """
    s = len(children)
    xs = np.arange(s) - (s - 1) / 2
    ends = [(0.0, 1.0), *((x * 1.5, -1.0) for x in xs)]
    out = 0 if upward else 1 + receiver
    for k, ((x, y), label) in enumerate(zip(ends, labels, strict=True)):
        tail, head = ((0, 0), (x, y)) if k == out else ((x, y), (0, 0))
        style = "-|>,head_length=5,head_width=2.6"
        arrow: Options = {"arrowstyle": style, "mutation_scale": 1, "shrinkA": 12, "shrinkB": 14, "zorder": 1}
        ax.plot([0, x], [0, y], color=CHANCE, lw=0.8, zorder=0)
        ax.add_patch(FancyArrowPatch(tail, head, lw=2.4 if k == out else 1.3, color=INK, **arrow))
        side = -1 if x < 0 else 1
        beside = (x / 2 + side * 0.16, y / 2), "right" if side < 0 else "left"
        below = (x, y - 0.34), "center"  # many children leave no room beside their lines
        at, align = beside if k == 0 or s == 2 else below
        ax.text(*at, label, ha=align, va="center", fontsize=10.5)
        name = parent if k == 0 else children[k - 1]
        colour = colours[1 if k == 0 else 0]
        ax.plot(x, y, "o", ms=23, mfc=colour, mec=colour, zorder=3)
        ax.text(x, y, name, color=ink_on(colour), ha="center", va="center_baseline", fontsize=10.5, zorder=4)
    ax.plot(0, 0, "s", ms=15, mfc=PAPER, mec=INK, mew=1.5, zorder=3)
    ax.text(0, 0, r"$\psi$", ha="center", va="center_baseline", fontsize=11, zorder=4)
    ax.set(xlim=(-(s + 1) * 0.62, (s + 1) * 0.62), ylim=(-1.35 if s == 2 else -1.55, 1.35))
    ax.set_axis_off()


def _frame(ax: Axes, x: list[np.ndarray], *, low: float = -0.4, high: float = 0.4) -> tuple[int, int, list[np.ndarray]]:
    """Axes for a tree; returns L, s and the positions of its nodes."""
    L = len(x) - 1
    s = len(x[0]) if L == 1 else len(x[-2])
    if [len(level) for level in x] != [s ** (L - l) for l in range(L + 1)]:
        raise ValueError(f"expected s^(L-l) nodes at each level, leaves first, got {[len(level) for level in x]}")
    d = len(x[0])
    ax.set(xlim=(-0.6, d - 0.3), ylim=(low, L + high))
    ax.set_axis_off()
    return L, s, positions(s, L)


def _edges(ax: Axes, where: list[np.ndarray], s: int, *, top: float = 0.0, bottom: float = 0.0) -> None:
    for level in range(1, len(where)):
        for node, at in enumerate(where[level]):
            for child in where[level - 1][s * node : s * (node + 1)]:
                ax.plot([at, child], [level + bottom, level - 1 + top], color=INK, lw=0.8, alpha=0.6, zorder=1)


def _levels(x: Sequence) -> list[np.ndarray]:
    return [array(level).reshape(-1) for level in x]


def _names(L: int) -> list[str]:
    return ["leaves", *(f"level {level}" for level in range(1, L)), "class"]


def ink_on(colour: str) -> str:
    """Dark or light, whichever can be read on this colour (relative luminance, WCAG)."""
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return ON_LIGHT if (luminance + 0.05) / 0.056 > 1.05 / (luminance + 0.05) else ON_DARK


def _summary(belief: np.ndarray, truth: int | None) -> np.ndarray:
    """A belief over many symbols as three bars: the true symbol, the best wrong one, all the rest."""
    if truth is None:
        top = np.sort(belief)[::-1]
        return np.array([top[0], top[1], top[2:].sum()])
    wrong = np.delete(belief, truth)
    return np.array([belief[truth], wrong.max(), wrong.sum() - wrong.max()])
