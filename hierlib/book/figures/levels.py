"""The live figure that links one U-turn of one datum with the curves of all levels."""

import base64
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hierlib._devices import array
from hierlib.book.figures.strata import strata_still
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import palette


def levels_html(
    kept: Sequence[np.ndarray],
    t: ArrayLike,
    alpha_bar: ArrayLike,
    curve_t: ArrayLike,
    curves: ArrayLike,
    start: int = 0,
) -> str:
    """The live figure (js/level-curves.js): strata above, curves below, one slider.

    Args:
        kept: per level l = 0 … L, bool (len(t), s**(L-l)): is the symbol what it was, in one run whose random
            numbers are the same at every noise?
        t: the stops of the slider, increasing, evenly spaced in ln t so that it stands under the curves' axis.
        alpha_bar: the signal kept at each.
        curve_t: the noises of the curves; curves outside t are cut off.
        curves: (len(curve_t), L+1), the probability that a symbol of each level is kept.
        start: the stop at which the slider stands first.
    """
    t, curve_t, curves = (np.asarray(z, float) for z in (t, curve_t, curves))
    kept = [array(level, bool) for level in kept]
    L = len(kept) - 1
    if curves.shape != (len(curve_t), L + 1):
        raise ValueError(f"curves: expected the shape {(len(curve_t), L + 1)} (noises, levels), got {curves.shape}")
    step = np.diff(np.log(t))
    if not (step > 0).all() or np.ptp(step) > 0.02 * step.max() + 2e-3:
        raise ValueError("t: expected increasing noises, evenly spaced in ln t")
    for l, level in enumerate(kept):
        if len(level) != len(t):
            raise ValueError(f"kept[{l}]: expected one row per noise, {len(t)}, got {len(level)}")
    now = [np.interp(np.log(t), np.log(curve_t), curve) for curve in curves.T]
    inside = (curve_t > t[0]) & (curve_t < t[-1])
    x = np.concatenate([t[:1], curve_t[inside], t[-1:]])
    ticks = [a * 10.0**k for k in range(-5, 3) for a in (1, 2, 5)]
    data = {
        "s": kept[0].shape[1] // kept[1].shape[1],
        "t": [float(f"{z:.3g}") for z in t],
        "alpha_bar": np.asarray(alpha_bar).round(4).tolist(),
        "curve_t": [float(f"{z:.5g}") for z in x],
        "P": [np.interp(np.log(x), np.log(curve_t), curve).round(4).tolist() for curve in curves.T],
        "now": [z.round(4).tolist() for z in now],
        "ticks": [float(f"{z:.1g}") for z in ticks if t[0] <= z <= t[-1]],
        "colours": palette(L),
        "kept": [
            base64.b64encode(np.packbits(np.concatenate([level[i] for level in reversed(kept)])).tobytes()).decode()
            for i in range(len(t))
        ],
    }
    return _MARKUP.format(data=json.dumps(data, separators=(",", ":")), last=len(t) - 1, start=start, rows=L + 1)


def linked(kept: Sequence[np.ndarray], stops: ArrayLike, t: ArrayLike, curves: ArrayLike, turn: int) -> Drawing:
    """One U-turn of one datum, level by level, above the curves of all levels: a slider sets the noise of both.

    Args:
        kept, curves: as for `levels_html`.
        stops: its t, times of Gaussian noise. t: its curve_t.
        turn: place in stops about which the class goes; the still shows six stops around it.
    """
    stops = np.asarray(stops, float)
    six = np.clip(turn + np.array([-7, -2, 1, 4, 9, 18]), 0, len(stops) - 1)
    live = levels_html(kept, stops, np.exp(-2 * stops), t, curves, start=int(six[2]))
    alt = (
        "Above, rows of coloured cells, the class on top; below, falling curves of all levels against noise. Just past "
        "the threshold the upper rows are grey while the bottom rows are still mostly coloured."
    )
    return Drawing(strata_still([level[None] for level in kept], stops, show=six), alt, live)


_MARKUP = """<div class="live-stage" data-live="level-curves">
<script type="application/json">{data}</script>
<div class="level-picture" style="min-height:calc({rows} * 13px + 260px)"></div>
<label class="live-range" style="margin:0 0 0 33px">
<input type="range" min="0" max="{last}" step="1" value="{start}" aria-label="noise t"></label>
<p style="margin:0.3rem 0 0 44px;min-height:4.2em"><output style="font-weight:400"></output></p>
</div>"""
