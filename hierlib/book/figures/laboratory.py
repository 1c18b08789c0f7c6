"""The laboratory: level curves that the reader's browser computes, and what Python computed for paper."""

import json
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np

from hierlib._devices import array
from hierlib.book.figures import uturns
from hierlib.book.figures.small_grammar import draw_grammar
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import WIDTH, palette
from hierlib.experiments.curves import Interval

DEEPEST = 12  # levels of a tree in the browser

_SLIDERS = {
    "v": "symbols v",
    "m": "rules m",
    "s": "children s",
    "L": "levels L",
    "grammars": "grammars",
    "data": "data of each",
}


def laboratory_html() -> str:
    """The live figure (js/laboratory.js): sliders, curves, the result in words, a table, and data to save."""
    data = json.dumps({"palettes": [palette(L) for L in range(1, DEEPEST + 1)]}, separators=(",", ":"))
    sliders = "".join(_SLIDER.format(name=name, words=words) for name, words in _SLIDERS.items())
    return _MARKUP.format(data=data, sliders=sliders)


def of_your_own(t: np.ndarray, kept: Interval, view: tuple[float, float], *, half: Interval, chance: float) -> Drawing:
    """The laboratory; its still shows level curves, of arguments as for `uturns.level_curves`."""
    still = uturns.level_curves(t, kept, view, half=half, chance=chance)
    return Drawing(still.fig, still.alt, laboratory_html())


def datum_html() -> str:
    """The live figure of one datum (js/one-datum.js): its leaves at the reader's hands, the beliefs of its tree."""
    data = json.dumps({"palettes": [palette(L) for L in range(1, _DATUM["L"][2] + 1)]}, separators=(",", ":"))
    sliders = "".join(
        _RANGE.format(name=name, words=each[0], least=each[1], most=each[2], now=each[3])
        for name, each in _DATUM.items()
    )
    return _DATUM_MARKUP.format(data=data, sliders=sliders, tall=30 * (_DATUM["L"][2] + 1) + 28)


def one_datum(x: Sequence, belief: Sequence, y: Sequence) -> Drawing:
    """One datum at the reader's hands; its still shows the datum, beliefs and way back as of `draw_grammar`."""
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    draw_grammar(ax, x, belief, y)
    top, share = float(array(belief[-1]).reshape(-1)[0]), float(np.mean(array(belief[0])))
    alt = (
        f"{len(x)} rows of cells, the class on top and the leaves at the bottom; each cell has a band that fades as "
        f"the belief in its symbol does: {top:.2f} in the class, {share:.2f} on average in a leaf. Cells that the way "
        "back has changed are ringed and crossed."
    )
    return Drawing(fig, alt, datum_html())


# Words, least, most and first value of the sliders of one datum; the tree has 16 symbols and two children.
_DATUM = {
    "share": ("leaves erased", 0, 100, 40),
    "leaf": ("leaf", 1, 32, 7),
    "m": ("rules m", 1, 16, 4),
    "L": ("levels L", 1, 7, 5),
}

_RANGE = """<label class="live-range"><span>{words}</span><output></output>
<input type="range" name="{name}" min="{least}" max="{most}" step="1" value="{now}"></label>"""

_DATUM_MARKUP = """<div class="live-stage one-datum" data-live="one-datum">
<script type="application/json">{data}</script>
<div class="datum-picture" style="height:{tall}px"></div>
<div class="lab-sliders">{sliders}</div>
<div class="live-controls"><button type="button" class="datum-flip">Erase this leaf</button>
<button type="button" class="datum-change">Change this leaf</button>
<button type="button" class="datum-back">Another way back</button>
<button type="button" class="datum-other">Another grammar</button></div>
<p class="datum-said" role="status"></p>
</div>"""

_SLIDER = """<label class="live-range"><span>{words}</span><output></output>
<input type="range" name="{name}" min="1" max="2" step="1" value="1"></label>"""

_MARKUP = """<div class="live-stage laboratory" data-live="laboratory">
<script type="application/json">{data}</script>
<div class="lab-choices"><label><span>preset</span> <select name="preset"></select></label>
<label><span>noise</span> <select name="noise"></select></label></div>
<div class="lab-picture"></div>
<div class="lab-sliders">{sliders}</div>
<div class="live-controls lab-buttons"><button type="button" class="lab-stop">Stop</button>
<button type="button" class="lab-again">Other grammars</button>
<span>grammars: <span class="lab-progress">0</span></span></div>
<p class="lab-said" role="status"></p>
<details><summary>The numbers</summary><div class="lab-table" tabindex="0" role="region"
aria-label="Table of the numbers"></div>
<p><button type="button" class="lab-csv">Save as CSV</button>
<button type="button" class="lab-json">Save as JSON</button></p></details>
<details><summary>The same in Python</summary><pre class="lab-python" tabindex="0"><code></code></pre></details>
</div>"""
