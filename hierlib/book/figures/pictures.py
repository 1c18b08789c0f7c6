"""Figures of images on a U-turn: rows of images against inversion time, live and in print (figures 1 and 2, left)."""

import base64
import io
import json
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from PIL import Image

from hierlib.book.page.style import CHANGED, INK, WIDTH


def pictures_html(
    t: ArrayLike,
    images: ArrayLike,
    names: Sequence[Sequence[str]],
    found: ArrayLike | None = None,
    start: int = 0,
) -> str:
    """The live figure (js/pictures.js) for `book.html`: images on cards, a slider of inversion times.

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
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
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
