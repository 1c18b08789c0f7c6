"""The laboratory: level curves that the reader's browser computes, and what Python computed for paper."""

import json

import numpy as np

from hierlib.book.figures import uturns
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import palette
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
