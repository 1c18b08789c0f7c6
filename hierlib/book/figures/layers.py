"""The live figure of the layers: U-turns seen by a network, trained or as it was drawn."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from hierlib.book.page.style import palette


def layers_html(
    eps: ArrayLike,
    names: Sequence[str],
    curves: Mapping[str, ArrayLike],
    kept: ArrayLike,
    start: int = 0,
    axis: tuple[str, str] = ("noise", "ε"),
) -> str:
    """The live figure (js/layers.js) for `book.html`: one curve a layer, a switch of weights, a slider of noise.

    Args:
        eps: (T,) noises, increasing and evenly spaced, so that the slider stands under the axis: its stops.
        names: of the layers, first to last.
        curves: for "trained" and "untrained", (T, layers), how alike start and end of a U-turn are.
        kept: (T,) probability that the class is kept.
        start: the stop at which the slider stands first.
        axis: what the slider changes, as a word and as a symbol.
    """
    eps, kept = np.asarray(eps, float), np.asarray(kept, float)
    if len(eps) < 2 or not np.allclose(np.diff(eps), eps[1] - eps[0]) or eps[1] <= eps[0]:
        raise ValueError(f"eps: expected increasing, evenly spaced noises, got {eps.tolist()}")
    curves = {weights: np.asarray(curves[weights], float) for weights in ("trained", "untrained")}
    for weights, curve in curves.items():
        if curve.shape != (len(eps), len(names)) or not np.isfinite(curve).all():
            raise ValueError(f"{weights}: expected finite {(len(eps), len(names))} (noises, layers), got {curve.shape}")
    if kept.shape != eps.shape or not 0 <= start < len(eps):
        raise ValueError(f"expected kept of shape {eps.shape} and start among its stops, got {kept.shape} and {start}")
    data = {
        "eps": eps.round(4).tolist(),
        "names": list(names),
        "colours": palette(len(names) - 1),
        "kept": kept.round(4).tolist(),
        "curves": {weights: curve.T.round(4).tolist() for weights, curve in curves.items()},
        "start": start,
        "axis": list(axis),
    }
    return _MARKUP.format(data=json.dumps(data, separators=(",", ":")), axis=" ".join(axis))


_MARKUP = """<div class="live-stage" data-live="layers">
<script type="application/json">{data}</script>
<div class="live-controls" role="radiogroup" aria-label="weights of the network" style="margin:0 0 0.4rem 44px">
<label style="padding:0.5rem 0"><input type="radio" name="layers-weights" value="trained" checked> trained</label>
<label style="padding:0.5rem 0"><input type="radio" name="layers-weights" value="untrained"> untrained</label></div>
<div class="layers-picture" style="min-height:308px"></div>
<label class="live-range" style="margin:0 0 0 33px">
<input type="range" min="0" max="1" step="1" aria-label="{axis}"></label>
<p style="margin:0.3rem 0 0 44px;min-height:4.2em"><output style="font-weight:400"></output></p>
</div>"""
