"""The laboratory: level curves that the reader's browser computes, and what Python computed for paper."""

import json
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgba_array
from numpy.typing import ArrayLike

from hierlib import Grammar
from hierlib._devices import array
from hierlib.book.figures import uturns
from hierlib.book.figures.small_grammar import draw_grammar
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, INK, WIDTH, palette, theory
from hierlib.experiments.curves import Interval
from hierlib.experiments.thresholds import mean_field_half_height
from hierlib.theory import meanfield

CLASS = palette(1)[1]
DEEPEST = 12  # levels of a tree in the browser

_SLIDERS = {
    "v": "symbols v",
    "m": "rules m",
    "s": "children s",
    "L": "levels L",
    "a": "exponent a",
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
    """The live figure of one datum (js/one-datum.js): its noise, leaves and messages, the beliefs of its tree."""
    data = json.dumps({"palettes": [palette(L) for L in range(1, DEEPEST + 1)]}, separators=(",", ":"))
    first, size = (
        "".join(_SLIDER.format(name=name, words=words) for name, words in each.items())
        for each in (_DATUM, _SIZE | {"a": _SLIDERS["a"]})
    )
    return _DATUM_MARKUP.format(data=data, first=first, size=size)


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


def string_html() -> str:
    """The live figure of a string of the reader's own (js/own-string.js): the rules, its parse, a U-turn of it."""
    data = json.dumps({"palettes": [palette(L) for L in range(1, 4)]}, separators=(",", ":"))
    sliders = "".join(_SLIDER.format(name=name, words=words) for name, words in ({"stop": "noise"} | _SIZE).items())
    return _STRING_MARKUP.format(data=data, sliders=sliders)


def own_string(g: Grammar, x: Sequence, belief: Sequence, y: Sequence) -> Drawing:
    """A string that the reader types; its still has one of a small grammar, as of `draw_grammar`, and the rules."""
    fig, (ax, beside) = plt.subplots(1, 2, figsize=(WIDTH, 2.6), width_ratios=[3, 2])
    draw_grammar(ax, x, belief, y)
    beside.axis("off")
    for column, rule in enumerate(reversed(g.rules)):
        lines = [
            f"{a} → {' | '.join(''.join(map(str, t)) for t in each)}" for a, each in enumerate(array(rule).tolist())
        ]
        head = "class" if not column else f"level {g.L - column}"
        beside.text(column / g.L, 1, "\n".join([head, *lines]), va="top", fontsize=8, linespacing=1.5)
    leaves, back = ("".join(str(int(a)) for a in array(z[0]).reshape(-1)) for z in (x, y))
    beside.text(0, 0.2, f"string {leaves}\nway back {back}", va="top", fontsize=8, linespacing=1.5)
    alt = (
        f"The string {leaves} and its parse, the class on top; each cell has a band that fades as the belief in its "
        f"symbol does, and a way back, {back}, ringed and crossed where it differs. Beside it the rules of each level."
    )
    return Drawing(fig, alt, string_html())


def phases_html() -> str:
    """The live figure of the phase diagram (js/phase-points.js), filled in by exact inference point by point."""
    sliders = "".join(_SLIDER.format(name=name, words=words) for name, words in _PHASES.items())
    return _PHASES_MARKUP.format(sliders=sliders)


def phases(rules: Sequence[int], eps: ArrayLike, kept: ArrayLike, *, v: int, s: int, L: int) -> Drawing:
    """Where the class survives, for numbers of rules and noises at the reader's hands; the still has those given.

    Args:
        rules: numbers of rules, (M,). eps: noises, (T,). kept: exact belief in the true class, (M, T).
        v, s, L: of the grammars.
    """
    eps, kept = np.asarray(eps, float), np.asarray(kept, float)
    share = np.clip((kept - 1 / v) / (1 - 1 / v), 0, 1)
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    at = np.repeat(np.asarray(rules), len(eps)), np.tile(eps, len(rules))
    ax.scatter(*at, s=26, c=to_rgba_array(CLASS, np.maximum(share.ravel(), 0.03)), linewidths=0)
    ax.scatter(*at, s=26, facecolors="none", edgecolors=CHANCE, linewidths=0.6)
    fine = np.linspace(rules[0], rules[-1], 80)
    theory(ax, fine, meanfield.critical_noise(v, fine, s), color=CLASS, label="ε*, any depth")
    half = [mean_field_half_height(v, m, s, L) for m in fine]
    theory(ax, fine, half, color=INK, linestyle="--", label=f"half height, L = {L}")
    ax.set(xlabel="rules per symbol $m$", ylabel=r"noise $\varepsilon$", ylim=(-0.02, 1.02))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)  # above: the points fill the axes
    alt = (
        f"A grid of {kept.size} points, rules from left to right, noise upwards: filled below a falling line, where "
        f"the class survives, empty above it; {int((share > 0.5).sum())} keep more than half of the class. The lines "
        "of the mean field run between the two."
    )
    return Drawing(fig, alt, phases_html())


_PHASES = {
    "v": "symbols v",
    "s": "children s",
    "L": "levels L",
    "a": "exponent a",
    "grammars": "grammars a point",
    "from": "rules m from",
    "to": "rules m to",
    "low": "noise ε from",
    "high": "noise ε to",
}

_PHASES_MARKUP = """<div class="live-stage phase-points" data-live="phase-points">
<div class="phase-picture"></div>
<div class="lab-sliders">{sliders}</div>
<div class="live-controls"><button type="button" class="phase-go">Fill in</button>
<span>points: <span class="phase-progress">0</span></span></div>
<p class="phase-said" role="status"></p>
<details><summary>The points as a table</summary><div class="lab-table" tabindex="0" role="region"
aria-label="Table of the points"></div>
<p><button type="button" class="phase-csv">Save as CSV</button></p></details>
</div>"""


_DATUM = {"stop": "noise", "leaf": "leaf", "step": "messages"}
_SIZE = {name: _SLIDERS[name] for name in ("v", "m", "s", "L")}

_DATUM_MARKUP = """<div class="live-stage one-datum" data-live="one-datum">
<script type="application/json">{data}</script>
<div class="lab-choices"><label><span>size</span> <select name="size"></select></label>
<label><span>noise</span> <select name="noise"></select></label>
<label><span>shade</span> <select name="shade"><option value="truth">belief in the true symbol</option>
<option value="best">belief in the likeliest</option></select></label></div>
<div class="datum-picture"></div>
<div class="lab-sliders">{first}</div>
<div class="datum-near"></div>
<div class="live-controls"><button type="button" class="datum-flip">Erase this leaf</button>
<button type="button" class="datum-change">Change this leaf</button>
<button type="button" class="datum-undo">As it was</button>
<button type="button" class="datum-fewer">Message back</button>
<button type="button" class="datum-more">Message on</button>
<button type="button" class="datum-back">Another way back</button>
<button type="button" class="datum-other">Another grammar</button></div>
<div class="lab-sliders">{size}</div>
<p class="datum-said" role="status"></p>
<details><summary>The numbers</summary><div class="lab-table" tabindex="0" role="region"
aria-label="Table of one datum"></div>
<p><button type="button" class="datum-json">Save it all</button>
<button type="button" class="datum-rules">Save its rules</button></p>
<pre class="lab-python" tabindex="0"><code></code></pre></details>
</div>"""

_STRING_MARKUP = """<div class="live-stage own-string" data-live="own-string">
<script type="application/json">{data}</script>
<div class="lab-choices"><label><span>string</span> <input type="text" name="string" inputmode="numeric"
autocomplete="off" spellcheck="false"></label>
<label><span>noise</span> <select name="noise"></select></label></div>
<div class="own-picture"></div>
<div class="lab-sliders">{sliders}</div>
<div class="live-controls"><button type="button" class="own-back">Another way back</button>
<button type="button" class="own-one">One of its strings</button>
<button type="button" class="own-other">Another grammar</button></div>
<p class="own-said" role="status"></p>
<div class="lab-table own-rules" tabindex="0" role="region" aria-label="Rules of the grammar"></div>
<details><summary>The posterior as a table</summary><div class="lab-table own-posterior" tabindex="0" role="region"
aria-label="Posterior of each node"></div></details>
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
