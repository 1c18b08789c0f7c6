"""Figures of images on a U-turn: rows of images against inversion time, live and in print (figures 1 and 2, left)."""

import base64
import io
import json
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from hierlib.book.figures.trees import ON_DARK, ON_LIGHT
from hierlib.book.page import style
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANGED, INK, WIDTH
from hierlib.experiments.curves import Interval
from hierlib.images.kept import ClassKept
from hierlib.images.patches import Parts


def pictures_html(
    t: ArrayLike,
    images: ArrayLike,
    names: Sequence[Sequence[str]],
    found: ArrayLike | None = None,
    start: int = 0,
) -> str:
    """The live figure (js/pictures.js): images on cards, a slider of inversion times.

    Args:
        t: (T,) inversion times, increasing, the first of them 0: the starts themselves.
        images: (T, n, h, w) grey or (T, n, h, w, 3) colour, uint8.
        names: T lists of n classes, as a network names them.
        found: (T, n, rows, columns) bool, which patches of a sample are found again in its start; None: no switch.
        start: the stop at which the slider stands first.
    """
    t, images = np.asarray(t, float), np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (4, 5) or len(images) != len(t):
        raise ValueError(f"images: expected uint8 (T, n, h, w) with T = {len(t)}, got {images.dtype} {images.shape}")
    if [len(row) for row in names] != [images.shape[1]] * len(t) or not 0 <= start < len(t):
        raise ValueError(f"expected {images.shape[1]} names for each of {len(t)} times, and start among them")
    if found is not None and np.shape(found)[:2] != images.shape[:2]:
        raise ValueError(f"found: expected {images.shape[:2]} and two axes of patches, got {np.shape(found)}")
    sheet = np.concatenate(list(np.concatenate(list(images), 2)), 0)  # rows: images, columns: times
    stored = io.BytesIO()
    Image.fromarray(sheet).save(stored, "png", optimize=True)
    data = {"t": t.round(4).tolist(), "names": [list(row) for row in names], "start": start}
    if found is not None:
        bits = np.asarray(found, bool)
        data["found"] = {
            "shape": list(bits.shape[2:]),
            "bits": base64.b64encode(np.packbits(bits.ravel()).tobytes()).decode(),
        }
    cards = "".join(
        '<div class="pictures-card"><div role="img"></div><span></span></div>' for _ in range(len(names[0]))
    )
    return _MARKUP.format(
        data=json.dumps(data, separators=(",", ":")),
        sheet=base64.b64encode(stored.getvalue()).decode(),
        cards=cards,
        last=len(t) - 1,
        switch="" if found is None else _SWITCH,
    )


def strips(t: ArrayLike, images: ArrayLike, names: Sequence[Sequence[str]], show: Sequence[int]) -> Figure:
    """The static twin: a row for each image, a column for each time of `show` (indices into t), changed ones crossed.

    Args:
        t, images, names: as for `pictures_html`.
    """
    t, images = np.asarray(t, float), np.asarray(images)
    rows, columns = images.shape[1], len(show)
    side = WIDTH / (columns + 0.1)
    size = (WIDTH, rows * (side + 0.17) + 0.25)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    fig.set_layout_engine(ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02))
    for (i, j), ax in np.ndenumerate(axes):
        at = show[j]
        ax.imshow(images[at, i], cmap="gray", vmin=0, vmax=255, interpolation="nearest", rasterized=True)
        ax.set(xticks=[], yticks=[])
        new = names[at][i] != names[0][i]
        ax.spines[:].set(visible=True, color=CHANGED if new else INK, linewidth=1.6 if new else 0.4)
        ax.set_xlabel(f"{'× ' if new else ''}{names[at][i]}", fontsize=7.5, labelpad=2, color=CHANGED if new else INK)
        if i == 0:
            ax.set_title("start" if at == 0 else f"$t/T$ = {t[at]:g}", fontsize=9, loc="center", pad=3)
    return fig


_SWITCH = (
    '<label><input type="checkbox"> colour by origin: <span class="pictures-key pictures-found"></span> in its start, '
    '<span class="pictures-key pictures-new"></span> new</label>'
)
_MARKUP = """<div class="live-stage pictures" data-live="pictures">
<script type="application/json">{data}</script>
<style>.pictures {{ --sheet: url(data:image/png;base64,{sheet}); }}</style>
<div class="pictures-cards">{cards}</div>
<label class="live-range">inversion time <output></output>
<input type="range" min="0" max="{last}" step="1" aria-label="inversion time t/T"></label>
<p class="pictures-word" role="status"></p>
<div class="live-controls">{switch}</div>
</div>"""


def turned(
    t: ArrayLike,
    images: ArrayLike,
    names: Sequence[Sequence[str]],
    found: ArrayLike,
    *,
    start: int,
    show: Sequence[int],
) -> Drawing:
    """Cards of images, live; in print rows of six of them.

    Args:
        t, images, names, found, start: as for `pictures_html`. show: the times in print, as for `strips`.
    """
    fig = strips(t, np.asarray(images)[:, :6], [row[:6] for row in names], show)
    alt = (
        "Rows of small images against inversion time. For small times only details differ from the start; from the "
        "middle on most have become another thing, framed and crossed."
    )
    return Drawing(fig, alt, pictures_html(t, images, names, found, start=start))


def noised(
    start: ArrayLike,
    states: Sequence[ArrayLike],
    ends: Sequence[ArrayLike],
    names: Sequence[str],
    titles: Sequence[str],
) -> Drawing:
    """One image with more and more noise, and what the way back makes of it.

    Args:
        start: (channels, h, w) uint8.
        states, ends: of each time, with noise and after the way back, shaped like start.
        names: what a classifier calls the start and each end.
        titles: of each time.
    """
    fig, axes = plt.subplots(2, len(states) + 1, figsize=(6, 2.45))
    _show(axes[0, 0], start)
    axes[0, 0].set_title("start", fontsize=9, loc="center")
    axes[1, 0].remove()
    for column, state, end, name, title in zip(axes.T[1:], states, ends, names[1:], titles, strict=True):
        _show(column[0], state)
        _show(column[1], end)
        column[0].set_title(title, fontsize=9, loc="center")
        column[1].set_xlabel(name, fontsize=8)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
    axes[0, 0].set_xlabel(names[0], fontsize=8)
    return Drawing(
        fig,
        "Two rows of one image: with more and more noise, until nothing of it can be seen, and after the way back, "
        "where it changes its details first and becomes something else in the end.",
    )


def class_goes(
    t: ArrayLike, found: ClassKept, distance: ArrayLike, alpha_bar: Callable[[np.ndarray], np.ndarray]
) -> Drawing:
    """How often the class is kept, by each classifier and on average; beside it the distance of the pixels.

    Args:
        t: (T,) inversion times.
        found: of `hierlib.images.kept.class_kept`.
        distance: (T,) root mean square distance of the grey levels.
        alpha_bar: the schedule in t.
    """
    colour = style.palette(1)[1]
    fig, (ax, right) = plt.subplots(1, 2, figsize=(6, 3.8), width_ratios=[3, 2], gridspec_kw={"wspace": 0.32})
    ax.fill_between(t, *found.band.bounds, color=colour, alpha=0.2, lw=0)
    for row in found.kept.mean(2).numpy():
        ax.plot(t, row, color=colour, lw=0.8, alpha=0.6)
    style.data(ax, t, found.band, kind="samples", color=colour)
    style.noise_ruler(ax, alpha_bar, half=found.half, chance=found.chance, label="inversion time $t/T$")
    ax.set(ylabel="class kept", ylim=(0, 1.03))
    right.plot(t, distance, color=style.palette(1)[0])
    right.set(xlabel="inversion time $t/T$", title="distance of the pixels", ylim=(0, None))
    where = f" around a time of {found.half.value:.2f}" if np.isfinite(found.half.value) else ""
    return Drawing(
        fig,
        f"Left, points that fall from nearly one to {found.chance:.2f}{where}. Right, the distance of pixels rises at "
        "once and bends over to a plateau.",
    )


def becomes(tables: Sequence[ArrayLike], times: Sequence[float], names: Sequence[str]) -> Drawing:
    """Tables of classes against classes, in per cent of the row, at some times; small numbers are left out.

    Args:
        tables: (k, k) each, of `hierlib.images.kept.becomes`.
        times: of each. names: of the k classes.
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(6, 2.9), sharey=True, squeeze=False)
    for ax, table, time in zip(axes[0], map(np.asarray, tables), times, strict=True):
        ax.imshow(table, cmap="Greys", vmin=0, vmax=100, rasterized=True)
        for a, b in zip(*np.nonzero(table >= 5)):
            ink = ON_DARK if table[a, b] > 55 else ON_LIGHT
            ax.text(b, a, f"{table[a, b]:.0f}", ha="center", va="center", fontsize=6, color=ink)
        ax.set_title(f"$t/T$ = {time:g}", fontsize=9.5)
        ax.set_xticks(range(len(names)), names, rotation=90, fontsize=7.5)
        ax.set_yticks(range(len(names)), names, fontsize=7.5)
        ax.tick_params(length=0)
    return Drawing(
        fig,
        f"{len(tables)} tables of classes against classes. In the first the diagonal is dark; in the second the block "
        "of classes that look alike is grey all over; in the last all columns are alike.",
    )


def parts_come_back(t: ArrayLike, found: Parts, changed: Tensor, half: Interval, past: int) -> Drawing:
    """Patches found in the own start minus another's, against inversion time; both matches at one time.

    Args:
        t: (T,) inversion times.
        found: of `hierlib.images.patches.parts`.
        changed: (T, n) bool, images whose class has changed; times with fewer than ten of them are not drawn.
        half: inversion time at which the class is half lost. past: index of the time of the histograms.
    """
    t = np.asarray(t, float)
    fig, (ax, right) = plt.subplots(1, 2, figsize=(6, 3), width_ratios=[3, 2])
    all_images = [found.difference(i) for i in range(len(t))]
    by_time = [found.difference(i, changed[i]) for i in range(len(t))]
    enough = [i for i, row in enumerate(by_time) if row.images >= 10]
    for rows, colour, label, chosen in (
        (all_images, style.palette(1)[0], "all", range(len(t))),
        (by_time, CHANGED, "class changed", enough),
    ):
        drawn = Interval(*np.array([rows[i].interval for i in chosen]).reshape(-1, 3).T)
        style.data(ax, t[list(chosen)], drawn, kind="samples", color=colour, label=label)
    ax.axhline(0, color=style.CHANCE, ls=":", lw=1.2)
    style.noise_ruler(ax, half=half, label="inversion time $t/T$")
    ax.set(ylabel="patches found: own start\nminus another of its class")
    ax.legend(loc="upper right")
    edges = np.linspace(0.3, 1, 36)
    for values, colour, label in ((found.own, CHANGED, "own start"), (found.other, style.CHANCE, "another")):
        right.hist(values[past][changed[past]].numpy(), edges, color=colour, alpha=0.55, label=label)
    right.set(xlabel="mean match of patches", title=f"class changed, $t/T$ = {t[past]:g}", ylabel="images")
    right.set_ylim(0, 1.35 * right.get_ylim()[1])  # room for the legend
    right.legend(loc="upper left", fontsize=9)
    return Drawing(
        fig,
        "Left, points that fall to zero at the full time and are above zero before, also for images whose class has "
        "changed. Right, two histograms; that of the own start is shifted to the right.",
    )


def _show(ax: Axes, image: ArrayLike) -> None:
    picture = np.moveaxis(np.asarray(image), 0, -1)
    ax.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, rasterized=True)
