"""Figures of a text on a U-turn: the words that have changed stand out, live and in print."""

import json
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from hierlib.book.page.style import CHANGED, INK, WIDTH, Options
from hierlib.text.corpus import spaced

SEEN, BACK, NEW = range(3)  #: of a word: never erased; erased, and the same came back; erased, and another came back


def states(texts: Sequence[Sequence[str]], erased: ArrayLike) -> np.ndarray:
    """(T, n) of `SEEN`, `BACK` and `NEW`.

    Args:
        texts: T lists of n words; the first is the start.
        erased: (T, n) bool, which words were erased on the way to each.
    """
    words, erased = np.array([list(row) for row in texts], dtype=object), np.asarray(erased, bool)
    if words.ndim != 2 or words.shape != erased.shape or erased[0].any():
        raise ValueError(
            f"erased: expected shape {words.shape} of the texts, equally long, and none in the first, the start; got "
            f"{erased.shape} and {int(erased[0].sum()) if erased.ndim == 2 else '?'}"
        )
    if ((words != words[0]) & ~erased).any():
        raise ValueError("texts: expected words that were not erased to be those of the start, got others")
    return np.where(erased, np.where(words == words[0], BACK, NEW), SEEN)


def words_html(t: ArrayLike, texts: Sequence[Sequence[str]], erased: ArrayLike, start: int = 0) -> str:
    """The live figure (js/words.js): a text, and a slider of the fraction that is erased.

    Args:
        t: (T,) fractions, increasing, the first of them 0.
        texts, erased: as for `states`.
        start: the stop at which the slider stands first.
    """
    t, state = np.asarray(t, float), states(texts, erased)
    if t.shape != state.shape[:1] or t[0] or not (np.diff(t) > 0).all() or not 0 <= start < len(t):
        raise ValueError(
            f"t: expected {len(state)} increasing fractions from 0, and start among them, got {t}, {start}"
        )
    data = {
        "t": t.round(3).tolist(),
        "words": [spaced(row) for row in texts],
        "state": ["".join(map(str, row)) for row in state],
        "start": start,
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    return _MARKUP.format(data=text, last=len(t) - 1)


def page(
    t: ArrayLike, texts: Sequence[Sequence[str]], erased: ArrayLike, show: Sequence[int], size: float = 9.0
) -> Figure:
    """The static twin: the text at the fractions of `show` (indices into t), one paragraph each.

    Args:
        t, texts, erased: as for `words_html`. size: of the letters, points.
    """
    t, state, line, left = np.asarray(t, float), states(texts, erased), 1.45 * size / 72, 0.62
    fig = plt.figure(figsize=(WIDTH, 4), layout="none")
    canvas = fig.canvas if isinstance(fig.canvas, FigureCanvasAgg) else FigureCanvasAgg(fig)
    renderer = canvas.get_renderer()
    font = mpl.font_manager.FontProperties(size=size)

    def width(word: str) -> float:
        return renderer.get_text_width_height_descent(word, font, False)[0] / fig.dpi

    space, x, y, placed, labels = width("a a") - width("aa"), left, line, [], []
    for i in show:
        labels.append((y, "start" if i == 0 else f"$t$ = {float(t[i]):g}"))
        for word, how in zip(spaced(texts[i]), state[i]):
            gap, word = (space, word[1:]) if word.startswith(" ") else (0.0, word)
            wide = width(word)
            if x + gap + wide > WIDTH - 0.05 and gap:
                x, y, gap = left, y + line, 0.0
            placed.append((x + gap, y, word, how, wide))
            x += gap + wide
        x, y = left, y + 1.7 * line
    height = y - 0.4 * line
    fig.set_size_inches(WIDTH, height)
    at: Options = dict(transform=fig.dpi_scale_trans, fontsize=size)
    for y, label in labels:
        fig.text(0, height - y, label, color=INK, **at)
    for x, y, word, how, wide in placed:
        fig.text(x, height - y, word, color=INK, **at)
        under, inches = height - y - 0.03, fig.dpi_scale_trans
        if how == NEW:
            box = mpl.patches.Rectangle((x, under), wide, 0.72 * line, color=CHANGED, alpha=0.2, lw=0, zorder=-1)
            box.set_transform(inches)
            fig.add_artist(box)
        if how != SEEN:
            look: Options = dict(color=CHANGED, lw=1.4) if how == NEW else dict(color=INK, lw=0.7, ls=(0, (1, 1.5)))
            fig.add_artist(mpl.lines.Line2D([x, x + wide], [under, under], **look, transform=inches))
    return fig


_MARKUP = """<div class="live-stage words" data-live="words">
<script type="application/json">{data}</script>
<style>
.words-text {{ min-height: 9em; margin: 0 0 .6rem; line-height: 1.6; font-family: var(--hier-serif); }}
.words-text span {{ text-decoration: underline dotted 1px; text-underline-offset: .25em; }}
.words-text ins {{ text-decoration: underline 2px var(--hier-changed); text-underline-offset: .25em;
  background: color-mix(in srgb, var(--hier-changed) 18%, transparent); }}
@media (max-width: 480px) {{ .words-text {{ min-height: 14em; }} }}
</style>
<p class="words-text"></p>
<label class="live-range">erased <output></output>
<input type="range" min="0" max="{last}" step="1" aria-label="fraction t of erased words"></label>
<p class="words-word" role="status" style="margin:.3rem 0 0;min-height:2.9em"></p>
</div>"""
