"""Live figures of curves: a family of which a slider chooses one; and what of a curve goes to the screen."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

BLUR = 1 / 400  # of the height of all curves: what a line on the screen may be off, half a pixel


def thinned(x: ArrayLike, curves: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """As few of the points as draw the curves by straight lines, to half a pixel; no curve loses an extreme.

    Args:
        x: (T,) increasing. curves: (K, T), all finite.

    Returns:
        The x that are left, (t,), and the curves there, (K, t).
    """
    x, curves = np.asarray(x, float), np.asarray(curves, float)
    kept = {0, len(x) - 1, *curves.argmax(1).tolist(), *curves.argmin(1).tolist()}
    while True:
        chosen = sorted(kept)
        drawn = np.array([np.interp(x, x[chosen], y[chosen]) for y in curves])
        off = np.abs(drawn - curves).max(0)
        if off.max() <= BLUR * np.ptp(curves):
            return x[chosen], curves[:, chosen]
        kept.add(int(off.argmax()))


def family_html(
    x: ArrayLike,
    curves: ArrayLike,
    names: Sequence[str],
    sentences: Sequence[str],
    *,
    axes: tuple[str, str],
    slider: str,
    points: Mapping[int, ArrayLike] | None = None,
    start: int = 0,
) -> str:
    """The live figure (js/family.js).

    Args:
        x: (T,) increasing. curves: (K, T), all finite; give all points that there are, the figure takes what it needs.
        names: of the curves, as the slider calls them. sentences: what is said under each.
        axes: labels of x and y. slider: what it changes.
        points: curve → (n, 4) rows x, y, lo, hi measured beside it.
        start: the curve that is chosen first.
    """
    x, curves = np.asarray(x, float), np.asarray(curves, float)
    if curves.shape != (len(names), len(x)) or not np.isfinite(curves).all() or len(sentences) != len(names):
        raise ValueError(f"curves: expected finite {(len(names), len(x))} and as many sentences, got {curves.shape}")
    if not 0 <= start < len(names):
        raise ValueError(f"start: expected one of {len(names)} curves, got {start}")
    x, curves = thinned(x, curves)
    data = {
        "x": x.round(5).tolist(),
        "curves": curves.round(4).tolist(),
        "names": list(names),
        "say": list(sentences),
        "axes": list(axes),
        "points": {str(k): np.asarray(rows, float).round(4).tolist() for k, rows in (points or {}).items()},
        "start": start,
    }
    text = json.dumps(data, separators=(",", ":"))
    return _MARKUP.format(data=text, slider=slider, last=len(names) - 1)


_MARKUP = """<div class="live-stage" data-live="family">
<script type="application/json">{data}</script>
<div class="family-picture" style="min-height:300px"></div>
<label class="live-range">{slider} <output></output>
<input type="range" min="0" max="{last}" step="1" aria-label="{slider}"></label>
<p class="family-word" role="status" style="margin:0.3rem 0 0;min-height:2.9em"></p>
</div>"""
