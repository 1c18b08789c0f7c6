"""The house style of the book's figures: one colour, one line width and one marker per quantity."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from hierlib.experiments.curves import Interval

Options = dict[str, Any]  # what matplotlib takes by name: of a type for each name

INK = "#1F2328"  # text and axes: the page turns it into currentColor, so one file serves light and dark
PAPER = "#FFFFFF"  # halos and hollow markers: becomes the page's background
CHANGED = "#D55E00"  # a symbol that the way back has changed
CHANCE = "#7F7F7F"  # chance level, and values quoted from the paper
ERASED = "#E4E4E4"  # a cell whose symbol is gone; darker in dark mode

_FONT = Path(__file__).parents[3] / "book" / "_fonts" / "SourceSans3-Regular.ttf"
WIDTH = 6.0  # inches, the width of the text
# The leaf is teal and the class red; the stops have contrast >= 3 on white and on #121212.
_STOPS = (
    *("#00A5AC", "#009EBA", "#1695C4", "#3A8ACB", "#557FCD", "#6A73CA"),
    *("#7D66C1", "#8C5BB2", "#984F9F", "#A14588", "#A73B6D"),
)

THEORY: dict[str, Options] = {
    "mean field": {"linestyle": "-", "linewidth": 1.8},
    "population": {"linestyle": (0, (7, 3)), "linewidth": 1.8},
}
DATA: dict[str, Options] = {
    "bp": {"marker": "o", "markersize": 4.5},
    "samples": {"marker": "D", "markersize": 4.5, "markerfacecolor": PAPER},
    "network": {"marker": "s", "markersize": 4.5},
    "quoted": {"marker": "*", "markersize": 9, "markerfacecolor": PAPER, "color": CHANCE},
}

_RC: Options = {
    "figure.figsize": (WIDTH, 3.4),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "hierlib",  # the same file from the same figure
    "font.family": ["Source Sans 3", "DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "regular",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "mathtext.fontset": "cm",  # as the equations of the page
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "patch.edgecolor": INK,
    "hatch.color": INK,
    "lines.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "errorbar.capsize": 0,
    "image.cmap": "viridis",
}


def use() -> None:
    """Draws all figures from now on in the house style."""
    if _FONT.exists() and "Source Sans 3" not in font_manager.get_font_names():
        font_manager.fontManager.addfont(_FONT)
    mpl.rcParams.update(mpl.RcParams(_RC))
    if not _FONT.exists():  # outside the checkout
        mpl.rcParams["font.family"] = "DejaVu Sans"
    mpl.rcParams["axes.prop_cycle"] = cycler(color=[_STOPS[i] for i in (10, 5, 0, 7, 2)])


def palette(L: int) -> list[str]:
    """The L + 1 hex colours of the levels, leaf (l = 0) first and class (l = L) last."""
    if L < 1:
        raise ValueError(f"palette needs at least one level above the leaves, got L={L}")
    lab = np.array([_oklab(c) for c in _STOPS])
    u = np.linspace(0, len(_STOPS) - 1, L + 1)
    return [_hex(np.array([np.interp(x, range(len(_STOPS)), lab[:, k]) for k in range(3)])) for x in u]


def widths(L: int) -> np.ndarray:
    """The L + 1 line widths in points, 1.2 at the leaves to 2.4 at the class: level without colour."""
    return np.linspace(1.2, 2.4, L + 1)


def theory(ax: Axes, x: ArrayLike, y: ArrayLike, kind: str = "mean field", **kw: Any) -> Line2D:
    """Draws a theory as a line: `mean field` solid, `population` (dynamics) long dashes."""
    _known(kind, THEORY)
    return ax.plot(x, y, **{**THEORY[kind], **kw})[0]


def data(
    ax: Axes,
    x: ArrayLike,
    y: ArrayLike | Interval,
    interval: tuple[ArrayLike, ArrayLike] | None = None,
    kind: str = "bp",
    **kw: Any,
) -> ErrorbarContainer:
    """Draws measured values as points with their 95 % bars.

    Args:
        y: the values, or an `Interval` that has its own bars.
        interval: None, or the pair (lo, hi) of arrays shaped like y, in the units of y.
        kind: `bp` filled circle, `samples` open diamond, `network` square, `quoted` grey star.
    """
    _known(kind, DATA)
    if isinstance(y, Interval):
        interval, y = y.bounds, y.value
    bars = None if interval is None else np.abs(np.asarray(interval, float) - np.asarray(y, float))
    return ax.errorbar(x, y, yerr=bars, **{"linestyle": "none", "elinewidth": 1.0, **DATA[kind], **kw})


def _known(kind: str, table: dict) -> None:
    if kind not in table:
        raise ValueError(f"unknown kind {kind!r}: one of {', '.join(map(repr, table))}")


def label_lines(
    ax: Axes,
    lines: Sequence[Line2D] | None = None,
    labels: Sequence[str] | None = None,
    *,
    side: str = "right",
    gap: float = 1.3,
) -> list[Annotation]:
    """Names each curve at its end, in the margin; names that would touch are pushed apart.

    The names are in ink (level colours are too light for small text); a leader in the curve's colour
    ties each to its curve.

    Args:
        lines: the curves, all labelled ones by default.
        labels: their names, the lines' own labels by default.
        side: `right` or `left`, the end of the curves that is named.
        gap: least distance of two names, in line heights.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}")
    if lines is None:
        lines = [h for h in ax.get_lines() if not str(h.get_label()).startswith("_")]
    labels = [str(h.get_label()) for h in lines] if labels is None else list(labels)
    if len(labels) != len(lines):
        raise ValueError(f"{len(lines)} lines but {len(labels)} labels")
    ax.autoscale_view()
    fig, sign = whole(ax), 1 if side == "right" else -1
    fig.draw_without_rendering()  # settles the layout, so that display coordinates mean something
    edge = 1.0 if side == "right" else 0.0
    ends = [_end(ax, h, side) for h in lines]
    size = font_manager.FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()
    height = gap * size * fig.dpi / 72 / ax.bbox.height
    tops = _spread(np.array([y for _, y in ends]), height)
    texts = []
    for line, label, (x, y), top in zip(lines, labels, ends, tops):
        far = edge + sign * 14 * fig.dpi / 72 / ax.bbox.width
        style: Options = {"color": line.get_color(), "lw": 0.9, "clip_on": False, "transform": ax.transAxes}
        ax.add_line(Line2D([x, edge, far], [y, y if x == edge else top, top], **style))
        place: Options = {"xytext": (sign * 17, 0), "textcoords": "offset points", "annotation_clip": False}
        place |= {"ha": "left" if sign > 0 else "right", "va": "center", "fontsize": size}
        texts.append(ax.annotate(label, (edge, top), xycoords="axes fraction", **place))
    return texts


def whole(ax: Axes) -> Figure:
    """The figure that axes are in."""
    fig = ax.get_figure(root=True)
    if fig is None:
        raise ValueError("expected axes of a figure, got some that are removed from theirs")
    return fig


def _end(ax: Axes, line: Line2D, side: str) -> tuple[float, float]:
    """Where a curve meets the side of the axes, in axes coordinates (its last point if it stops short)."""
    points = np.asarray(line.get_xydata(), float)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ValueError(f"the line {line.get_label()!r} has no finite point to label")
    points = ax.transAxes.inverted().transform(ax.transData.transform(points))
    points = points[np.argsort(points[:, 0], kind="stable")]
    edge = 1.0 if side == "right" else 0.0
    if points[0, 0] <= edge <= points[-1, 0]:
        return edge, float(np.interp(edge, points[:, 0], points[:, 1]))
    x, y = points[-1] if side == "right" else points[0]
    return float(x), float(y)


def _spread(y: np.ndarray, gap: float) -> np.ndarray:
    """The positions nearest to y (in order, least squares) that are at least gap apart."""
    order = np.argsort(y, kind="stable")
    blocks: list[list[float]] = []  # [mean of y - gap * rank, count]: isotonic regression by pooling
    for rank, i in enumerate(order):
        blocks.append([y[i] - gap * rank, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, n), (b, k) = blocks[-2], blocks.pop()
            blocks[-1] = [(a * n + b * k) / (n + k), n + k]
    flat = np.concatenate([np.full(int(n), a) for a, n in blocks]) if blocks else np.array([])
    out = np.empty(len(y))
    out[order] = flat + gap * np.arange(len(y))
    return out


def log_axis(ax: Axes, lo: float, hi: float) -> None:
    """Makes the x axis logarithmic from lo to hi, with ticks at round numbers, as plain numbers.

    Args:
        lo, hi: its ends, 0 < lo < hi.
    """
    if not 0 < lo < hi:
        raise ValueError(f"a logarithmic axis needs 0 < lo < hi, got lo={lo}, hi={hi}")
    ax.set_xscale("log")
    ax.set_xlim(lo, hi)
    fine = (1, 2, 5) if hi > 8 * lo else (1, 2, 3, 4, 5, 6, 7, 8)
    decades = range(int(np.floor(np.log10(lo))), int(np.ceil(np.log10(hi))) + 1)
    ticks = [a * 10.0**k for k in decades for a in fine if lo <= a * 10.0**k <= hi]
    ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
    ax.xaxis.set_minor_locator(NullLocator())


def level_bar(fig: Figure, axes: Axes | Sequence[Axes], L: int, label: str = "level $\\ell$") -> Colorbar:
    """A colour bar of the levels, for a figure with more than four of them."""
    scale = mpl.cm.ScalarMappable(
        mpl.colors.BoundaryNorm(np.arange(-0.5, L + 1), L + 1), mpl.colors.ListedColormap(palette(L))
    )
    bar = fig.colorbar(scale, ax=axes, ticks=range(0, L + 1, max(1, L // 5)), aspect=30, pad=0.02, label=label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.ax.set_title("class", fontsize=9, loc="left", pad=4)
    bar.ax.text(0, -0.02, "leaf", fontsize=9, va="top", transform=bar.ax.transAxes)
    return bar


_APART = 0.3  # inches between two numbers of a ruler


def noise_ruler(
    ax: Axes,
    alpha_bar: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    half: float | Interval | None = None,
    band: tuple[float, float] | None = None,
    chance: float | None = None,
    label: str = "noise $t$",
) -> None:
    """The ruler below every figure whose x axis is a noise: it grows to the right.

    Args:
        alpha_bar: the schedule, monotone in x; a second row of ticks then shows it.
        half: the noise at which the class is at half height, marked by an open triangle; an `Interval` is shaded,
            too, and one that is not finite (there is no half height) leaves no mark.
        band: its 95 % interval, where half is a number.
        chance: the height of the dotted line of chance.
    """
    colour = _STOPS[-1]
    ax.set_xlabel(label)
    if chance is not None:
        ax.axhline(chance, color=CHANCE, linestyle=":", linewidth=1.2, zorder=0)
    if isinstance(half, Interval):
        found = [float(x) for x in half]
        half, band = (found[0], (found[1], found[2])) if np.isfinite(found).all() else (None, None)
    if band is not None:  # with an outline: to be seen in light and dark
        ax.axvspan(*band, facecolor=(colour, 0.3), edgecolor=colour, linewidth=0.6, zorder=0)
    if half is not None:
        mark: Options = {"marker": "v", "markersize": 7, "color": colour, "markerfacecolor": PAPER}
        ax.plot([half], [0.025], **mark, linestyle="none", transform=ax.get_xaxis_transform(), zorder=6)
    if alpha_bar is None:
        return
    lo, hi = sorted(ax.get_xlim())
    ax.set_xlim(lo, hi)
    x = np.linspace(max(lo, 0.0), hi, 512)
    value = np.asarray(alpha_bar(x), float)
    if value[0] > value[-1]:
        x, value = x[::-1], value[::-1]
    ticks = [a for a in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(*value[[0, -1]])]
    ticks = [a for a in ticks if value[0] <= a <= value[-1]]
    ruler = ax.secondary_xaxis(-0.24)
    kept: list[tuple[float, float]] = []  # where a schedule falls fast, numbers would run into each other
    for place, a in sorted(zip(np.interp(ticks, value, x), ticks)):
        if not kept or ax.transData.transform([(place, 0), (kept[-1][0], 0)])[:, 0] @ [1, -1] >= _APART * ax.figure.dpi:
            kept.append((place, a))
    ruler.set_xticks([place for place, _ in kept], [f"{a:g}" for _, a in kept])
    ruler.xaxis.set_minor_locator(NullLocator())
    ruler.set_xlabel(r"signal kept $\bar\alpha$")


def _oklab(colour: str) -> np.ndarray:
    """Björn Ottosson's OKLab coordinates of a hex colour."""
    c = np.array(mpl.colors.to_rgb(colour))
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return _LMS_TO_LAB @ np.cbrt(_RGB_TO_LMS @ c)


def _hex(lab: np.ndarray) -> str:
    c = np.linalg.solve(_RGB_TO_LMS, np.linalg.solve(_LMS_TO_LAB, lab) ** 3).clip(0, 1)
    c = np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** (1 / 2.4) - 0.055)
    r, g, b = map(float, c.clip(0, 1))
    return mpl.colors.to_hex((r, g, b)).upper()


_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
