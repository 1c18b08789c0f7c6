"""The live figure of a small grammar: noise, exact beliefs and ways back, all computed in the reader's browser."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from hierlib import Grammar
from hierlib._devices import array
from hierlib.book.figures.trees import ink_on, stage
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANGED, ERASED, PAPER, WIDTH, palette
from hierlib.experiments.uturns import SeenTurn

_BAND, _CELL, _GAP = 0.16, 0.46, 0.05  # of a row's height: beliefs, the way back, the space between them


def grammar_html(g: Grammar, t: ArrayLike, start: int = 0) -> str:
    """The live figure (js/small-grammar.js): data, noise and U-turns of a grammar.

    Args:
        g: a small grammar: every move of the slider is two passes over its tree, and one draw a way back.
        t: the stops of the slider, times of Gaussian noise, increasing, evenly spaced in ln t so that it stands
            under the curves' axis.
        start: the stop at which the slider stands first.

    Raises:
        ValueError: the times are not such, or start is none of them.
    """
    t = np.asarray(t, float)
    step = np.diff(np.log(t)) if t.ndim == 1 and len(t) > 1 and (t > 0).all() else np.zeros(1)
    if not (step > 0).all() or np.ptp(step) > 0.02 * step.max() + 2e-3:
        raise ValueError(f"t: expected times > 0, increasing and evenly spaced in ln t, got {t.tolist()}")
    if not 0 <= start < len(t):
        raise ValueError(f"start: expected a stop of the slider, 0 … {len(t) - 1}, got {start}")
    ticks = [float(f"{a * 10.0**k:.1g}") for k in range(-4, 2) for a in (1, 2, 5)]
    times = [float(f"{z:.3g}") for z in t]
    data = {"t": times, "ticks": [z for z in ticks if t[0] <= z <= t[-1]]}
    script = stage("small-grammar", g, **data).removesuffix("</div>")
    return script + _MARKUP.format(last=len(t) - 1, start=start, rows=g.L + 1)


def turns_of_your_own(g: Grammar, stops: ArrayLike, x: Sequence, turns: Mapping[float, SeenTurn]) -> Drawing:
    """A datum of a small grammar under noise, its exact beliefs and ways back: live; in print, at a few noises.

    Args:
        g, stops: of the live figure, as for `grammar_html`; it starts at about t = 0.3.
        x: the symbols of one datum, one array of s^(L-l) a level.
        turns: by time of Gaussian noise, its U-turn as of `seen_turn`, the first of those of each.
    """
    stops = np.asarray(stops, float)
    fig, axes = plt.subplots(len(turns), 1, figsize=(WIDTH, 2.4 * len(turns)), squeeze=False)
    for ax, (t, turn) in zip(axes[:, 0], turns.items(), strict=True):
        belief = [array(level)[0] for level in turn.belief]
        draw_grammar(ax, x, belief, [level[0] for level in turn.y])
        ax.set_title(f"$t = {t}$: belief in the class {float(belief[-1][0]):.3f}, in a leaf {belief[0].mean():.3f}")
    alt = (
        f"{g.L + 1} rows of cells, the class on top and {g.d} leaves at the bottom; each cell has a band that fades as "
        "the belief in its symbol does. With little noise a few leaves are ringed and crossed. With more, whole blocks "
        "below a crossed cell are. With much noise the class and most cells are, but many leaves are still filled."
    )
    return Drawing(fig, alt, grammar_html(g, stops, start=int(np.abs(stops - 0.3).argmin())))


def draw_grammar(ax: Axes, x: Sequence, belief: Sequence, y: Sequence) -> None:
    """Draws one U-turn of one datum, a row a level, the class on top: beliefs in the truth, and a way back.

    Args:
        x: the datum, one 1-d array of s^(L-l) symbols a level, the leaves first.
        belief: of the same shapes, the posterior probability of those symbols: the strength of the upper band.
        y: of the same shapes, a way back: filled cells where it has the datum's symbol, else ringed and crossed.
    """
    x, belief, y = ([array(level).reshape(-1) for level in z] for z in (x, belief, y))
    d = len(x[0])
    for l, colour in enumerate(palette(len(x) - 1)):
        wide, top = d / len(x[l]), l + _BAND + _GAP + _CELL
        space = min(0.25, wide / 6)
        ax.add_patch(Rectangle((0, top - _BAND), d, _BAND, fc=ERASED, ec="none", zorder=0))
        for i, (truth, p, symbol) in enumerate(zip(x[l], belief[l], y[l], strict=True)):
            left, width = i * wide + space / 2, wide - space
            ax.add_patch(Rectangle((left, top - _BAND), width, _BAND, fc=colour, ec="none", alpha=float(p)))
            kept = symbol == truth
            face, edge = (colour, "none") if kept else (PAPER, CHANGED)
            ax.add_patch(Rectangle((left, l), width, _CELL, fc=face, ec=edge, lw=0.9))
            where = left + width / 2, l + _CELL / 2
            if wide >= 3:
                ink = ink_on(colour) if kept else CHANGED
                ax.text(*where, str(int(symbol)), ha="center", va="center_baseline", fontsize=8, color=ink)
            if not kept:
                cross = (left + width - 0.55, l + 0.36) if wide >= 3 else where
                ax.plot(*cross, "x", ms=2.8, mew=0.8, color=CHANGED, zorder=4)
    names = ["leaves", *(f"level {l}" for l in range(1, len(x) - 1)), "class"]
    ax.set_yticks(np.arange(len(x)) + _CELL / 2, names, fontsize=8.5)
    ax.set(xlim=(0, d), ylim=(-0.05, len(x) - 0.2), xticks=[])
    ax.tick_params(length=0, pad=3)
    ax.spines[:].set_visible(False)


_MARKUP = """
<div class="grammar-picture" style="min-height:calc({rows} * 46px + 178px)"></div>
<label class="live-range grammar-slider"><input type="range" min="0" max="{last}" step="1" value="{start}"
aria-label="noise t"></label>
<p class="grammar-line">noise <output class="grammar-noise"></output></p>
<div class="grammar-meter"><span>class kept in <output class="grammar-count"></output></span>
<span>belief propagation <output class="grammar-belief"></output></span><i></i></div>
<div class="live-controls"><button type="button" class="grammar-next">Another way back</button>
<button type="button" class="grammar-more">100 more ways back</button>
<button type="button" class="grammar-datum">Another datum</button></div>
<p class="grammar-said" role="status"></p>
</div>"""
