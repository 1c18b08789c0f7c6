"""The figures of a text on a U-turn: how sure the model is, how many words change at once, how far, and which."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from hierlib.book.figures.words import page, words_html
from hierlib.book.page.glue import Drawing
from hierlib.book.page.style import CHANCE, CHANGED, INK, Options, data, label_lines, palette, theory
from hierlib.experiments.curves import Interval

NAMES = {"text": "text", "shuffled": "shuffled verses"}
_COLOURS = {"text": palette(1)[1], "shuffled": CHANCE}


def passage(t: ArrayLike, texts: Sequence[Sequence[str]], erased: ArrayLike, *, shown: Sequence[float]) -> Drawing:
    """A passage on U-turns of growing length; on screen a slider chooses how much is erased.

    Args:
        t, texts, erased: as for `hierlib.book.figures.words.words_html`.
        shown: the fractions at which it stands in print, after the start; the nearest of t.
    """
    t = np.asarray(t, float)
    nearest = [1 + int(np.abs(t[1:] - at).argmin()) for at in (0.5, *shown)]
    return Drawing(
        page(t, texts, erased, [0, *nearest[1:]]),
        "A passage of sixty-four words four times: as it is, and after U-turns that erase three, six and nine tenths "
        "of the words. Changed words stand out in orange, at first single ones, then whole phrases.",
        words_html(t, texts, erased, start=nearest[0]),
    )


class Believed(NamedTuple):
    """How sure a model is of erased words, and how often it is right, (T,) each."""

    belief: ArrayLike  #: mean belief in the true word
    squared: ArrayLike  #: mean sum of squared beliefs
    same: Interval  #: fraction that comes back the same


def believed(t: ArrayLike, found: Mapping[str, Believed]) -> Drawing:
    """Beliefs in the truth, sums of squared beliefs and words that come back the same, a panel a text.

    Args:
        t: (T,) fractions erased. found: by text.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(6, 2.9), sharey=True, squeeze=False)
    for ax, (kind, each) in zip(axes.flat, found.items(), strict=True):
        theory(ax, t, each.belief, color=INK, label="belief in the truth")
        ax.plot(t, each.squared, color=_COLOURS["text"], lw=1.6, ls=(0, (3, 2)), label="sum of squares")
        data(ax, t, each.same, kind="samples", color=INK, label="come back the same")
        ax.set(xlabel="erased $t$", title=NAMES[kind], xlim=(0, 1.05), ylim=(0, 0.4))
    axes[0, 0].set_ylabel("of the erased words")
    axes[0, -1].legend(fontsize=9)
    return Drawing(
        fig,
        "Two panels, text and shuffled verses. In each a line, dashes and diamonds that fall together, higher in the "
        "text than in shuffled verses.",
    )


def susceptibility(t: ArrayLike, found: Mapping[str, Interval]) -> Drawing:
    """Susceptibility of the changes of words against the fraction erased, (T,), by text."""
    fig, ax = plt.subplots(figsize=(6, 3.1))
    ax.plot([0, 1.05], [1, 1], color=INK, lw=0.8, ls=":", label="words on their own")
    for kind, chi in found.items():
        _curve(ax, t, chi, kind, 1.4)
    ax.set(xlabel="erased $t$", ylabel=r"susceptibility $\chi$", xlim=(0.05, 1.05))
    label_lines(ax)
    return Drawing(
        fig,
        "Susceptibility against the fraction of erased words, of the text and of shuffled verses, with intervals; a "
        "dotted line at one.",
    )


def reach(t: ArrayLike, correlation: Mapping[str, Interval], reaches: Mapping[str, Interval], *, at: float) -> Drawing:
    """Correlation of changes against the distance of two words, and the distance at which it has fallen to .02.

    Args:
        t: (T,) fractions erased. at: the one of the correlation.
        correlation: by text, (d,) C(r)/C(0). reaches: by text, (T,) in words.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3), width_ratios=[3, 2])
    for kind, each in correlation.items():
        r = np.arange(1, min(25, len(np.asarray(each.value))))
        data(left, r, each.at(r), kind="samples", color=_COLOURS[kind], markersize=3.5)
        left.plot(r, np.asarray(each.value)[r], color=_COLOURS[kind], lw=1.2)
    left.axhline(0, color=INK, lw=0.8, ls=":")
    left.axhline(0.02, color=CHANCE, lw=0.8, ls=(0, (2, 2)))
    left.set(xscale="log", xlabel="distance $r$, words", ylabel="$C(r)/C(0)$", title=f"$t$ = {at:g}")
    left.set_xticks([1, 2, 3, 5, 10, 20], ["1", "2", "3", "5", "10", "20"])
    left.xaxis.set_minor_locator(NullLocator())
    for kind, each in reaches.items():
        _curve(right, t, each, kind, 1.2, markersize=3.5)
    right.set(xlabel="erased $t$", title="reach, words", xlim=(0.05, 1.05))
    right.legend(fontsize=9)
    return Drawing(
        fig,
        "Left: correlation of changes against distance on a logarithmic axis, of the text falling over several words, "
        "of shuffled verses near zero from the start. Right: the distance at which it has fallen to two hundredths, "
        "against the fraction erased.",
    )


def _curve(ax: Axes, t: ArrayLike, found: Interval, kind: str, width: float, **points: Any) -> None:
    ax.plot(t, found.value, color=_COLOURS[kind], lw=width, label=NAMES[kind])
    data(ax, t, found, kind="samples", color=_COLOURS[kind], **points)


def local_order(
    text: tuple[ArrayLike, Interval],
    chain: tuple[ArrayLike, Interval],
    text_given: tuple[ArrayLike, Interval],
    chain_given: tuple[ArrayLike, Interval],
) -> Drawing:
    """Susceptibility of a text and of texts drawn from its trigrams; where each U-turn has its mask, and given one.

    Args:
        text, chain: (T,) fractions erased, and the susceptibility there. text_given, chain_given: of U-turns that all
            erase the same words.
    """
    fig, axes = plt.subplots(1, 2, figsize=(6, 3.1), sharey=True)
    for ax, title, of_text, of_chain in (
        (axes[0], "masks of their own", text, chain),
        (axes[1], "given the mask", text_given, chain_given),
    ):
        ax.axhline(1, color=INK, lw=0.8, ls=":")
        _curve(ax, *of_text, "text", 1.4)
        ax.plot(of_chain[0], of_chain[1].value, color=CHANCE, lw=1.2, label="trigrams")
        data(ax, *of_chain, kind="network", color=CHANCE)
        ax.set(title=title, xlabel="erased $t$", xlim=(0.05, 1.05))
    axes[0].set_ylabel(r"susceptibility $\chi$")
    axes[0].legend(fontsize=9, loc="upper left")
    return Drawing(
        fig,
        "Two panels of susceptibility against the fraction of erased words: with masks of their own, and given the "
        "mask. In each a line for the text and squares for texts drawn from its trigrams.",
    )


def company(together: ArrayLike, words: Sequence[str], *, top: float = 0.5) -> Drawing:
    """Which words change together: their correlations as a square.

    Args:
        together: (n, n), nan on the diagonal. words: (n,).
        top: the correlation of the strongest colour.
    """
    n = len(words)
    fig, ax = plt.subplots(figsize=(6, 6.7))
    opaque = np.abs(np.linspace(-1, 1, 255))  # nothing at 0, on white and on black; orange above it, purple below
    shades = [(*mpl.colors.to_rgb(CHANGED if i > 127 else palette(10)[6]), a) for i, a in enumerate(opaque)]
    colours = mpl.colors.ListedColormap(shades).with_extremes(bad=(0.5, 0.5, 0.5, 0.4))
    image = ax.imshow(together, cmap=colours, vmin=-top, vmax=top, interpolation="nearest", rasterized=True)
    ax.set_xticks(range(n), words, rotation=90, fontsize=10.5)
    ax.set_yticks(range(n), words, fontsize=10.5)
    ax.tick_params(length=0)
    place: Options = {"location": "top", "shrink": 0.6, "aspect": 30, "ticks": [-top, 0, top]}
    bar = fig.colorbar(image, ax=ax, label="correlation of kept", **place)
    if bar.solids is not None:
        bar.solids.set(rasterized=True, edgecolor="none")
    return Drawing(
        fig,
        "A square of words against the same words; near the diagonal small squares are coloured where neighbours are "
        "kept or changed together, far from it there is noise.",
    )
