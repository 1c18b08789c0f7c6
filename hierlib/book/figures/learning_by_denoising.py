"""The figures of learning by denoising: rules, marginals, copies and U-turns against the number of training strings.

They are drawn from a study of denoisers, the table of `hierlib.networks.learning.whole_seeds`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, CHANGED, INK, Options, data, label_lines, palette, widths
from hierlib.experiments.curves import Interval
from hierlib.networks.learnt import Needed, Turns

TITLES = {"mask": "masks", "gaussian": "Gaussian noise"}
_CLASS = palette(1)[1]


def _panels(table: xr.Dataset, height: float = 3.0) -> tuple[plt.Figure, dict[str, Axes]]:
    """A panel a noise process, with its name."""
    kinds = [kind for kind in TITLES if kind in table.process.values]
    fig, axes = plt.subplots(1, len(kinds), figsize=(6, height), sharey=True, squeeze=False)
    for ax, kind in zip(axes.flat, kinds, strict=True):
        ax.set_title(TITLES[kind])
    return fig, dict(zip(kinds, axes.flat, strict=True))


def _ends(axes: dict[str, Axes]) -> tuple[Axes, Axes]:
    """The first and the last panel."""
    panels = list(axes.values())
    return panels[0], panels[-1]


def _axis_of_data(ax: Axes, P: np.ndarray) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(P[::2], [f"{x}" for x in P[::2]])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("training strings $P$")


def _round_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    axis.set_ticks(ticks, [f"{x:g}" for x in ticks])
    axis.set_minor_locator(NullLocator())


def _squares(ax: Axes, P: np.ndarray, y: np.ndarray, colour: str, alpha: float, **line: Any) -> None:
    """Single grammars as squares (seeds, P), their mean as a line."""
    data(ax, np.tile(P, len(y)), np.ravel(y), kind="network", color=colour, alpha=alpha, markersize=3)
    ax.plot(P, y.mean(0), color=colour, **line)


def learnt_html(table: xr.Dataset, allowed: Interval, needed: Needed, *, chance: float, v: int, m: int) -> str:
    """The live figure (js/learnt.js): a slider sets the training strings. Arguments as for `learnt`."""
    P, places, levels = table.num_data.values, list(table.process.values), table.level.values
    mean = table.rule.sel(checkpoint="best").mean("seed").transpose("process", "level", "num_data").values
    kinds = []
    for kind, place in [(kind, places.index(kind)) for kind in TITLES if kind in places]:
        lo, hi = (np.asarray(end)[place].round(4).tolist() for end in allowed.bounds)
        half = [round(float(x), 1) if np.isfinite(x) else None for x in needed.mean[place]]
        kinds.append({"name": TITLES[kind], "kept": mean[place].round(4).tolist(), "lo": lo, "hi": hi, "half": half})
    data = {"P": P.tolist(), "chance": round(chance, 5), "colours": palette(len(levels))[1:], "kinds": kinds}
    data["law"] = [v * m ** (int(level) + 1) for level in levels]
    buttons = "".join(
        f'<label><input type="radio" name="learnt-noise" value="{i}"{"" if i else " checked"}> {each["name"]}</label>'
        for i, each in enumerate(kinds)
    )
    text = json.dumps(data, separators=(",", ":"))
    return _MARKUP.format(data=text, last=len(P) - 1, start=len(P) // 2, buttons=buttons)


_MARKUP = """<div class="live-stage" data-live="learnt">
<script type="application/json">{data}</script>
<div class="learnt-picture" style="min-height:312px"></div>
<label class="live-range"><span>training strings P</span> <output></output>
<input type="range" min="0" max="{last}" step="1" value="{start}"></label>
<div class="live-controls" role="radiogroup" aria-label="noise">{buttons}</div>
<p class="learnt-said" role="status"></p>
</div>"""


def learnt(table: xr.Dataset, allowed: Interval, needed: Needed, *, chance: float, v: int, m: int) -> Drawing:
    """The pairs that a rule allows, level by level, against the number of training strings (best checkpoint).

    Args:
        table: a study with `rule`. allowed: (process, level, num_data), `rule_interval` of it.
        needed: the strings that bring each level half-way. chance: the fraction of tuples that the grammar allows.
        v, m: of the grammar.
    """
    rule, P, L = table.rule.sel(checkpoint="best"), table.num_data.values, len(table.level)
    colours, wide = palette(L), widths(L)
    fig, axes = _panels(table)
    for kind, ax in axes.items():
        ax.axhline(chance, color=CHANCE, linestyle=":", linewidth=1.2)
        for l in range(1, L + 1):
            each = rule.sel(process=kind, level=l).transpose("seed", "num_data").values
            _squares(ax, P, each, colours[l], 0.45, linewidth=wide[l], label=f"level {l}")
            place = list(table.process.values).index(kind), l - 1
            lo, hi = (np.asarray(end)[place] for end in allowed.bounds)
            ax.vlines(P * 1.06 ** (l - 2), lo, hi, color=colours[l], lw=1.0)
        _axis_of_data(ax, P)
    first, last = _ends(axes)
    first.set(ylabel="allowed by a rule", ylim=(0.3, 1.03))
    label_lines(last)
    return Drawing(
        fig,
        "Two panels of three curves that rise from chance with the number of training strings: first that of level 1, "
        "then level 2, then level 3. Under masks all come near one; under Gaussian noise level 2 ends at about 0.8 and "
        "level 3 stays near 0.55. With few strings the bars of level 3 are long.",
        learnt_html(table, allowed, needed, chance=chance, v=v, m=m),
    )


def needed(table: xr.Dataset, found: Needed, *, v: int, m: int) -> Drawing:
    """The training strings that each level takes, beside v m^(ℓ+1).

    Args:
        table: a study. found: what it takes. v, m: of the grammar.
    """
    levels, colours = table.level.values, palette(len(table.level))
    fig, axes = _panels(table, 2.9)
    for i, (kind, ax) in enumerate(axes.items()):
        place = list(table.process.values).index(kind)
        ax.plot(levels, v * m ** (levels + 1.0), color=CHANCE, linewidth=1.4)
        if i == 0:
            where: Options = {"textcoords": "offset points", "ha": "right"}
            ax.annotate("$v\\,m^{\\ell+1}$", (1.3, v * m**2.3), (-6, 4), **where)
        single = found.each[place]
        for l in levels:
            x = l + 0.06 * (np.arange(len(single)) - (len(single) - 1) / 2)
            data(ax, x, single[:, l - 1], kind="network", color=colours[l])
        ax.plot(levels, found.mean[place], color=INK, linewidth=1.0)
        ax.set(xlabel=r"level $\ell$", xticks=levels, yscale="log", xlim=(0.7, len(levels) + 0.3))
    first, _ = _ends(axes)
    first.set_ylabel(r"strings needed, $P_\ell$")
    _round_ticks(first.yaxis, [10, 30, 100, 300, 1000])
    return Drawing(
        fig,
        "Two panels with a logarithmic axis of data: the number of strings needed rises from level to level along a "
        "nearly straight line, beside the grey line of the literature.",
    )


def gap(table: xr.Dataset, shown: Sequence[int]) -> Drawing:
    """Divergence from the exact marginals against the noise, and the loss beyond the exact one (best checkpoint).

    Args:
        table: a study with `gap_t`, `kl`, `excess`, `excess_se`. shown: numbers of training strings.
    """
    best = table.sel(checkpoint="best")
    fig, axes = _panels(table)
    for kind, ax in axes.items():
        one = best.sel(process=kind)
        t = one.gap_t.isel(seed=0, num_data=0).values
        for P, alpha in zip(shown, np.linspace(0.35, 1, len(shown)), strict=True):
            each = one.sel(num_data=P)
            ax.plot(t, each.kl.mean("seed"), color=INK, alpha=alpha, linewidth=1.8, label=f"P = {P}")
            bar = 1.96 * np.sqrt((each.excess_se**2).sum("seed").values) / len(table.seed)
            mid = each.excess.mean("seed").values
            data(ax, t, mid, (mid - bar, mid + bar), kind="samples", color=INK, alpha=alpha, markersize=3.5)
        ax.set_xlabel("noise $t$" + (": fraction masked" if kind == "mask" else ""))
        if kind == "gaussian":
            ax.set_xscale("log")
            _round_ticks(ax.xaxis, [0.01, 0.1, 1])
    first, last = _ends(axes)
    first.set_ylabel("KL to exact, nats a leaf")
    label_lines(last)
    return Drawing(
        fig,
        "Two panels: divergence from the exact marginals against the noise, humps that shrink as the training set "
        "grows; open diamonds lie on the lines.",
    )


def by_heart(table: xr.Dataset, heart: Mapping[str, ArrayLike]) -> Drawing:
    """Divergence from exact, mean over noises: of the networks, and of the denoiser that knows the strings by heart.

    Args:
        table: a study with `kl`. heart: by process, (seeds, P).
    """
    kl, P = table.kl.sel(checkpoint="best").mean("noise"), table.num_data.values
    fig, axes = _panels(table, 2.9)
    for kind, ax in axes.items():
        each = kl.sel(process=kind).transpose("seed", "num_data").values
        _squares(ax, P, each, INK, 0.5, linewidth=1.8, label="network")
        known = np.asarray(heart[kind]).mean(0)
        ax.plot(P, known, color=CHANGED, linewidth=1.8, linestyle=(0, (2, 1)), label="by heart")
        _axis_of_data(ax, P)
        ax.set(yscale="log")
    first, last = _ends(axes)
    first.set_ylabel("KL to exact, nats a leaf")
    _round_ticks(first.yaxis, [0.01, 0.03, 0.1, 0.3])
    label_lines(last)
    return Drawing(
        fig,
        "Two panels with logarithmic axes: the divergence of the networks falls steadily with the number of training "
        "strings and lies far below that of the denoiser that knows them by heart.",
    )


def copies(table: xr.Dataset) -> Drawing:
    """The generated strings that stand in the training set: at the end, at the best checkpoint, by chance, exact.

    Args:
        table: a study with `copied`, `copied_chance`, `copied_exact`.
    """
    P = table.num_data.values
    fig, axes = _panels(table)
    for kind, ax in axes.items():
        one = table.sel(process=kind)
        _axis_of_data(ax, P)
        for name, colour, label in (("last", CHANGED, "at the end"), ("best", INK, "at its best")):
            y = one.copied.sel(checkpoint=name).transpose("seed", "num_data").values
            _squares(ax, P, y, colour, 0.45, linewidth=1.8, label=label)
        chance, exact = (one[name].transpose("seed", "num_data").values for name in ("copied_chance", "copied_exact"))
        ax.plot(P, chance.mean(0), ":", color=CHANCE, linewidth=1.6, label="chance")
        data(ax, P, exact.mean(0), kind="bp", color=_CLASS, markersize=3)
        ax.set(ylim=(-0.03, 1))
    first, last = _ends(axes)
    first.set_ylabel("copies among generated strings")
    label_lines(last)
    return Drawing(
        fig,
        "Two panels: the fraction of copies is high for few training strings in networks trained to the end, at "
        "chance in networks stopped at their best.",
    )


def turns(
    found: Turns, shifts: Mapping[str, Mapping[int, Interval]], shown: Sequence[int], *, chance: float
) -> Drawing:
    """The survival of the class after learnt U-turns, and where it is at half height, in units of the exact one.

    Args:
        found: U-turns under Gaussian noise. shown: numbers of training strings to draw of them.
        shifts: by process, number of training strings → ln of the ratio of half-height noises.
        chance: belief in the class by chance.
    """
    t = found.t
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3.1), width_ratios=(1.15, 1))
    for P, alpha in zip(shown, np.linspace(0.35, 1, len(shown)), strict=True):
        look = {"color": INK, "alpha": alpha, "markersize": 3, "linewidth": 1.2}
        left.plot(t, found.learnt[P].mean(0), "s-", **look, label=f"P = {P}")
    left.plot(t, found.exact.mean(0), "o-", color=_CLASS, markersize=3.5, linewidth=2.2, label="exact")
    left.axhline(chance, color=CHANCE, linestyle=":", linewidth=1.2)
    left.set(xscale="log", xlabel="noise $t$", ylabel="class kept", ylim=(0, 1.03), title="Gaussian noise")
    left.set_xlim(t[0], 1)
    _round_ticks(left.xaxis, [0.03, 0.1, 0.3, 1])
    left.legend(loc="upper right", fontsize=8.5, handlelength=1.4)
    right.axhline(1, color=_CLASS, linewidth=1.8)
    for (kind, by_P), fill, x in zip(shifts.items(), (INK, "white"), (0.97, 1.03), strict=False):
        sizes = np.array(list(by_P))
        ratio = Interval(*np.exp(np.array(list(by_P.values()), float).T))
        data(right, sizes * x, ratio, kind="network", color=INK, markerfacecolor=fill, label=TITLES[kind])
    _axis_of_data(right, sizes)
    right.set(ylabel="half-height noise, learnt / exact")
    right.legend(loc="upper left", bbox_to_anchor=(0, 0.93), fontsize=9)
    return Drawing(
        fig,
        "Left, the probability that the class survives a U-turn falls with the noise; the curves of networks move to "
        "the right, to the exact one, with more training strings. Right, the ratio of half-height noises rises to "
        "one.",
    )
