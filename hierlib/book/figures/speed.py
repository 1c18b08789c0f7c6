"""Figures of speed: who takes how long, how near the machine's limit, and how time and memory grow."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.book.runs.benchmarks import PowerLaw, SymbolsAndFactors, about, power_law, spread

LIMIT = "the limit of this machine"
OURS = style.palette(10)[4]  # hierlib's compiled kernels
_KINDS = {  # of a limit: marker, name, height above the row
    "memory": ("v", "memory", 0.16),
    "multiply-adds": ("^", "multiply-adds", -0.16),
    "L1": ("|", "loads from the nearest cache", 0),
}


def peers(groups: Mapping[str, Mapping[str, tuple[float, float]]]) -> Drawing:
    """Dots on a logarithmic axis, one group of contenders a size of tree.

    Args:
        groups: by title, for each contender the microseconds a datum and how many times longer than hierlib that is.
            The contender "hierlib" is filled, the one named by `LIMIT` a grey mark.
    """
    heights = [len(rows) for rows in groups.values()]
    fig, axes = plt.subplots(
        len(groups), sharex=True, figsize=(6, 5.4), gridspec_kw={"height_ratios": heights}, squeeze=False
    )
    for ax, (title, rows) in zip(axes[:, 0], groups.items()):
        ax.set_title(title, fontsize=9.5)
        fastest_first = sorted(rows.items(), key=lambda row: row[1][0])
        for y, (name, (spent, ratio)) in enumerate(fastest_first):
            styles = {"hierlib": ("o", OURS, OURS), LIMIT: ("|", style.CHANCE, style.CHANCE)}
            marker, edge, fill = styles.get(name, ("o", style.INK, "white"))
            size = 11 if name == LIMIT else 6
            ax.plot(spent, y, marker, color=edge, markerfacecolor=fill, markersize=size, clip_on=False)
            if name not in styles:
                _beside(ax, f"{about(ratio)} ×", (spent, y), 8)
        ax.set_yticks(range(len(rows)), [name for name, _ in fastest_first])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x", color=style.ERASED, linewidth=0.7)
        ax.set_axisbelow(True)
    last = axes[-1, 0]
    last.set(xscale="log", xlabel="processor time, microseconds a datum")
    low, high = last.get_xlim()
    last.set_xlim(low, high * 12)
    return Drawing(
        fig,
        f"{len(groups)} groups of dots on a logarithmic axis of microseconds a datum, one group a size of tree. In "
        "each group hierlib's dot is far to the left, pgmpy's far to the right, PGMax and the authors' code "
        "in between.",
    )


def limits(cases: Mapping[str, Mapping]) -> Drawing:
    """What was measured, and the times that loads, arithmetic and memory alone would take.

    Args:
        cases: by name, as in roofline.json: `microseconds`, `limits_microseconds` by kind, `times_the_limit`.
    """
    fig, ax = plt.subplots(figsize=(6, 2.9))
    for y, case in enumerate(reversed([*cases.values()])):
        limit = max(case["limits_microseconds"].values())
        ax.plot([limit, case["microseconds"]], [y, y], color=OURS, linewidth=1.2, zorder=1)
        for kind, spent in case["limits_microseconds"].items():
            marker, _, off = _KINDS.get(kind, ("x", kind, 0))
            ax.plot(spent, y + off, marker, color=style.CHANCE, markersize=5 if off else 10, zorder=2)
        ax.plot(case["microseconds"], y, "o", color=OURS, markersize=7, zorder=3)
        _beside(ax, f"{about(case['times_the_limit'])} × the limit", (case["microseconds"], y), 9)
    ax.set_yticks(range(len(cases)), [*cases][::-1])
    ax.set(xscale="log", xlabel="microseconds a datum", ylim=(-0.6, len(cases) - 0.4))
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * 6)
    handles = [Line2D([], [], marker="o", color=OURS, linestyle="none", markersize=7, label="measured")]
    handles += [
        Line2D([], [], marker=marker, color=style.CHANCE, linestyle="none", markersize=6, label=label)
        for marker, label, _ in _KINDS.values()
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=9, handletextpad=0.1, columnspacing=1.2)
    return Drawing(
        fig,
        "For each size, the measured time a datum as a dot and three limits to its left as grey marks. With many data "
        "the dot is a few times the largest limit, with a single datum far from it.",
    )


def growth(rows: Mapping[str, Sequence[Mapping]], laws: Mapping[str, PowerLaw], model: SymbolsAndFactors) -> Drawing:
    """Time against leaves, and time a message against factors a message.

    Args:
        rows: by the parameter that grows, "d", "m", "v", "s", the points of scaling.json.
        laws: their exponents; model: fitted to the last three, of which the factors' part is drawn.
    """
    fig, (ax, by) = plt.subplots(1, 2, figsize=(6, 3.2))
    leaves = np.array([row["leaves"] for row in rows["d"]])
    ax.plot(leaves, laws["d"](leaves), color=OURS, linewidth=1.2)
    median, low, high = spread(rows["d"])
    style.data(ax, leaves, median, (low, high), color=OURS)
    ax.set(xscale="log", yscale="log", xlabel="leaves $d$", ylabel="microseconds a datum")
    ax.annotate(f"exponent\n{laws['d']}", (0.06, 0.86), xycoords="axes fraction", fontsize=9, va="center")
    for axis, marker, colour in zip("mvs", "osD", (style.INK, OURS, style.CHANCE)):
        messages = np.array([row["messages"] for row in rows[axis]])
        factors = np.array([row["factors"] for row in rows[axis]]) / messages
        median, low, high = 1000 * spread(rows[axis]) / messages
        look: style.Options = {"color": colour, "marker": marker, "markerfacecolor": "white" if axis == "m" else None}
        style.data(by, factors, median, (low, high), label=f"${axis}$: {laws[axis].exponent:.2f}", **look)
    line = np.geomspace(model.factors.min(), model.factors.max(), 50)
    by.plot(line, model.per_factor * line, ":", color=style.INK, linewidth=1.2)
    by.set(xscale="log", yscale="log", xlabel="factors a message $vms$", ylabel="nanoseconds a message")
    by.legend(loc="lower right", handletextpad=0.1, title="exponent along", title_fontsize=9, alignment="left")
    return Drawing(
        fig,
        f"Left, time a datum against the number of leaves from {leaves.min()} to {leaves.max()} on logarithmic axes: "
        "points on a straight line. Right, time a message against the number of factors: points for three kinds of "
        "growth come together on one line where there are many factors and lie above it where there are few.",
    )


def memory(batches: Sequence[Mapping], sizes: Sequence[Mapping]) -> Drawing:
    """Time a datum against the data in a call; peak memory of a call against the leaves.

    Args:
        batches, sizes: points of scaling.json, of growing batches and of growing trees.
    """
    fig, (ax, by) = plt.subplots(1, 2, figsize=(6, 3.0))
    many, (median, *ends) = np.array([row["parameters"]["batch"] for row in batches]), spread(batches)
    style.data(ax, many, median, (ends[0], ends[1]), color=OURS)
    ax.set(xscale="log", yscale="log", xlabel="data in a call", ylabel="microseconds a datum")
    low, high = np.min([median, *ends]) / 1.3, np.max([median, *ends]) * 1.3
    ticks = [x for k in range(-1, 5) for x in (10**k, 2 * 10**k, 5 * 10**k) if low < x < high]
    ax.set_yticks(ticks, [about(x) for x in ticks])
    ax.yaxis.minorticks_off()
    d, peak = np.array([row["leaves"] for row in sizes]), [row["peak_growth_MiB"] for row in sizes]
    returned = [row["marginals_MiB"] for row in sizes]
    by.plot(d, returned, color=style.INK, linewidth=1.2, label="the marginals returned")
    style.data(by, d, peak, color=OURS, label="peak of the process")
    by.legend(loc="upper left", handletextpad=0.4)
    unit = f"MiB for {sizes[0]['parameters']['batch']} data"
    by.set(xscale="log", yscale="log", xlabel="leaves $d$", ylabel=unit)
    return Drawing(
        fig,
        "Left, time a datum against the data in a call: it falls until a tile is full, then is level. Right, peak "
        "memory against leaves: points on the line of the size of the marginals.",
    )


def batches(tables: Sequence[Mapping]) -> Drawing:
    """Time a datum, relative to that of a batch of whole tiles, against the data in a call; a panel a grammar.

    Args:
        tables: as in scaling.json under "batches".
    """
    fig, axes = plt.subplots(1, len(tables), sharey=True, figsize=(6, 3.2), squeeze=False)
    for ax, table in zip(axes[0], tables):
        n, times = np.array(table["batch"]), table["times_that_of_the_whole"]
        for (name, rows), colour in zip(times.items(), style.palette(len(times) - 1), strict=True):
            ax.plot(n, [row["median"] for row in rows], "o-", color=colour, markersize=3, linewidth=1, label=name)
        ax.axhline(1, color=style.CHANCE, linewidth=0.7, zorder=0)
        ax.set(xscale="log", yscale="log", xlabel="data in a call")
        ax.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"])
        ax.set_yticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        ax.minorticks_off()
        ax.set_title(", ".join(f"${k}={table['parameters'][k]}$" for k in "vmsL"), fontsize=9.5)
    axes[0, 0].set_ylabel(f"time a datum, that in {tables[0]['parameters']['of']} = 1")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
    return Drawing(
        fig,
        f"{len(tables)} panels of curves, one curve a function: time a datum against the data in a call, in units of "
        "its time in a call of whole tiles. All fall towards one, and stay near it between whole tiles, too.",
    )


def backends(leaves: ArrayLike, microseconds: Mapping[str, Sequence[float]]) -> Drawing:
    """Time a datum against leaves with the compiled kernels ("cpu") and plain torch ("torch"), and fitted exponents."""
    leaves = np.asarray(leaves)
    fig, ax = plt.subplots(figsize=(6, 3))
    for backend, label, colour, fill in (
        ("torch", "plain torch", style.INK, "white"),
        ("cpu", "compiled", OURS, OURS),
    ):
        spent = microseconds[backend]
        law = power_law(leaves, spent)
        ax.plot(leaves, law(leaves), color=colour, linewidth=1.0)
        style.data(ax, leaves, spent, color=colour, markerfacecolor=fill)
        _beside(ax, f"{label}\n{law.exponent:.2f}", (leaves[-1], spent[-1]), 9, fontsize=9.5, annotation_clip=False)
    ax.set(xscale="log", yscale="log", xlabel="leaves $d$", ylabel="microseconds a datum")
    ax.set_xticks(leaves, [f"{x:,}" for x in leaves])
    ax.minorticks_off()
    return Drawing(
        fig,
        "Time a datum against leaves on logarithmic axes, measured while the page was made: two rising lines, plain "
        "torch and the compiled kernels.",
    )


def _beside(ax: Axes, words: str, at: tuple[float, float], off: int, **kw: Any) -> None:
    ax.annotate(words, at, (off, 0), textcoords="offset points", va="center", **{"fontsize": 9, **kw})
