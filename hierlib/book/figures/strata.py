"""The strata of a datum: one row a level, the class on top, a cell coloured while its symbol is kept."""

import base64
import json
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hierlib._devices import array
from hierlib.book.page.style import ERASED, WIDTH, palette

_ROW, _GAP = 9, 1  # pixels of a row in the still's raster


def strata_html(
    kept: Sequence[np.ndarray],
    t: np.ndarray,
    alpha_bar: np.ndarray,
    class_kept: np.ndarray,
    leaves_kept: np.ndarray,
) -> str:
    """The live strata (js/strata.js) of one datum.

    Args:
        kept: per level l = 0 … L, bool (samples, len(t), s**(L-l)): is the symbol what it was? Samples share
            their random numbers across t, so that cells do not flicker.
        t: the noises, increasing, the first (almost) none.
        alpha_bar: the signal kept at each.
        class_kept: the fraction of runs (many more than shown) that keep the class, per noise.
        leaves_kept: the mean fraction of leaves kept, per noise.
    """
    kept = _checked(kept, len(t))
    for name, row in (("alpha_bar", alpha_bar), ("class_kept", class_kept), ("leaves_kept", leaves_kept)):
        if len(row) != len(t):
            raise ValueError(f"{name}: expected one value per noise, {len(t)}, got {len(row)}")
    rows = np.concatenate([level for level in reversed(kept)], axis=2)  # from the root, level by level
    L = len(kept) - 1
    data = {
        "L": L,
        "s": kept[L - 1].shape[2],
        "t": [float(f"{x:.5g}") for x in t],
        "alpha_bar": [float(f"{x:.4g}") for x in alpha_bar],
        "class_kept": [round(float(x), 4) for x in class_kept],
        "leaves_kept": [round(float(x), 4) for x in leaves_kept],
        "colours": palette(L),
        "kept": [[base64.b64encode(np.packbits(run).tobytes()).decode() for run in sample] for sample in rows],
    }
    return _MARKUP.format(
        data=json.dumps(data, separators=(",", ":")),
        last=len(t) - 1,
        rows="".join(f"<span>{_row_name(l, L)}</span>" for l in range(L, -1, -1)),
        count=L + 1,
    )


def strata_still(
    kept: Sequence[np.ndarray], t: np.ndarray, show: Sequence[int] | None = None, sample: int = 0
) -> Figure:
    """The static twin: the strata of one sample at six noises (`show`: which of them, indices into t)."""
    kept = _checked(kept, len(t))
    stops = [*(np.linspace(0, len(t) - 1, 6).round().astype(int) if show is None else show)]
    columns = min(3, len(stops))
    lines = -(-len(stops) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(WIDTH, 1.45 * lines), squeeze=False)
    for ax in axes.flat[len(stops) :]:
        ax.remove()
    for ax, i in zip(axes.flat, stops):
        draw_strata(ax, [level[sample, i] for level in kept])
        ax.set_title(f"$t = {t[i]:.3g}$", fontsize=9.5, pad=3)
        ax.set_title(f"leaves kept {kept[0][sample, i].mean():.0%}", fontsize=9.5, pad=3, loc="right")
        if ax is not axes[0, 0]:
            ax.set_yticklabels([])
    return fig


def draw_strata(ax: Axes, kept: Sequence[np.ndarray]) -> None:
    """Draws one datum's strata: kept[l] is bool (s**(L-l),)."""
    L, width = len(kept) - 1, len(kept[0])
    height = _ROW + _GAP
    picture = np.zeros(((L + 1) * height, width, 4))
    for l, colour in enumerate(palette(L)):
        row = np.repeat(kept[l], width // len(kept[l]))
        top = (L - l) * height
        picture[top : top + _ROW, row] = mpl.colors.to_rgba(colour)
        ax.add_patch(plt.Rectangle((0, top), width, _ROW, facecolor=ERASED, edgecolor="none", zorder=0))
    # Erased cells are holes in the picture, so that the page's mode colours what shows through.
    ax.imshow(picture, extent=(0, width, len(picture), 0), aspect="auto", interpolation="none", zorder=1)
    ax.set(xticks=[], yticks=[_ROW / 2, len(picture) - _GAP - _ROW / 2], xlim=(0, width))
    ax.set_ylim(len(picture) - _GAP, 0)
    ax.set_yticklabels(["class", "leaves"], fontsize=8.5)
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)


def _checked(kept: Sequence[np.ndarray], n_t: int) -> list[np.ndarray]:
    kept = [array(level, bool) for level in kept]
    L = len(kept) - 1
    if L < 1:
        raise ValueError(f"kept: expected one array a level, leaves first, got {len(kept)}")
    samples, s = kept[0].shape[0], kept[L - 1].shape[2]
    for l, level in enumerate(kept):
        expected = (samples, n_t, s ** (L - l))
        if level.shape != expected:
            raise ValueError(f"kept[{l}]: expected the shape {expected} (samples, noises, nodes), got {level.shape}")
    return kept


def _row_name(l: int, L: int) -> str:
    return {0: "leaves", L: "class"}.get(l, str(l))


_MARKUP = """<div class="live-stage strata" data-live="strata">
<script type="application/json">{data}</script>
<div class="strata-picture" style="--rows:{count}"><div class="strata-rows" aria-hidden="true">{rows}</div>
<canvas role="img" aria-label="All symbols of all levels are kept"></canvas></div>
<div class="strata-meters">
<div class="strata-meter" data-meter="class"><span>class kept</span>
<output>100 of 100 runs</output><i style="--fraction:1"></i></div>
<div class="strata-meter" data-meter="leaves"><span>leaves kept</span>
<output>100 %</output><i style="--fraction:1"></i></div>
</div>
<div class="strata-noise">
<span>noise <output class="strata-t"></output></span>
<input type="range" min="0" max="{last}" step="1" value="0" aria-label="noise">
<div class="strata-ruler" aria-hidden="true"><b class="strata-guess" hidden>your guess</b>
<b class="strata-truth" hidden>half of the runs</b></div>
</div>
<p class="strata-word" role="status">How much noise does it take to change the class of this datum?
Slide to your guess, then try.</p>
<div class="live-controls"><button type="button" class="strata-go">That is my guess</button>
<button type="button" class="strata-next" hidden>Another run</button></div>
</div>"""
