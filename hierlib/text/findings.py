"""What the U-turns of a text say: means and intervals over its passages, and which words change together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hierlib.experiments.curves import Interval, difference, estimate
from hierlib.text.corpus import Vocabulary
from hierlib.text.measure import chi, far, reach
from hierlib.text.uturn import chances, seeds_of

Array = NDArray[np.float64]
FAR = 5  #: distance from which on two words are far apart


def by_passage(found: xr.Dataset, values: str | ArrayLike) -> Array:
    """Sums over the windows of each passage, which is what may be drawn again: windows of one are not independent.

    How many windows a passage has belongs to each mean of them, so it is summed as well (`windows_of`).

    Args:
        found: with the passage of each window. values: a variable of it, or an array, (T, window, …).

    Returns:
        (passages, T, …).
    """
    which = found.passage.values
    values = np.moveaxis(np.asarray(found[values].values if isinstance(values, str) else values, float), 1, 0)
    return np.stack([values[which == p].sum(0) for p in np.unique(which)])


def windows_of(found: xr.Dataset) -> Array:
    """Number of windows of each passage, (passages,)."""
    return np.unique(found.passage, return_counts=True)[1].astype(float)


def over_passages(statistic: Callable, *by_passage: ArrayLike, seed: int = 0) -> Interval:
    """A statistic of means over passages and its bootstrapped interval, which holds the value."""
    value, lo, hi = estimate(statistic, *by_passage, seed=seed)
    return Interval(value, np.minimum(lo, value), np.maximum(hi, value))


def error_of(found: Interval) -> float:
    """The standard error behind a 95 % interval."""
    return float((found.hi - found.lo) / 3.92)


class Beyond(NamedTuple):
    """What the changes of a text have beyond those of its control, at one fraction of erased words."""

    chi: Interval  #: susceptibility
    reach: Interval  #: in words
    far: Interval  #: the part of the susceptibility from words at least `FAR` apart


def beyond(text: ArrayLike, control: ArrayLike, *, paired: bool, seed: int = 0) -> Beyond:
    """Text minus control, with 95 % intervals over passages.

    Args:
        text, control: (passages, d) sums of `hierlib.text.measure.covariance` over the windows of each.
        paired: the passages of both are the same ones, in the same order, and are drawn again together; else the two
            are independent.
        seed: of the bootstrap.

    Raises:
        ValueError: the passages are to be paired, and their numbers differ.
    """
    text, control = np.asarray(text, float), np.asarray(control, float)
    if paired and len(text) != len(control):
        raise ValueError(f"control: expected the {len(text)} passages of the text, got {len(control)}")

    def over(of: Callable[[Array], float]) -> Interval:
        if paired:
            return over_passages(lambda a, b: of(a) - of(b), text, control, seed=seed)
        return difference(over_passages(of, text, seed=seed), over_passages(of, control, seed=seed))

    return Beyond(over(lambda y: float(chi(y))), over(reach), over(lambda y: float(far(y, FAR))))


class Passage(NamedTuple):
    """One window on U-turns of growing length, as `hierlib.book.figures.words.words_html` takes it."""

    t: Array  #: (1 + T,) fractions erased, the first 0
    texts: list[list[str]]  #: (1 + T) of d words, the first the start
    erased: NDArray[np.bool_]  #: (1 + T, d)


def passage(found: xr.Dataset, window: int, vocabulary: Vocabulary) -> Passage:
    """The first U-turn of one window at each t, in words.

    Args:
        found: of `hierlib train text uturns`, with one sample or more kept whole.
        window: which one. vocabulary: of its model.
    """
    t = np.concatenate([[0.0], found.t.values])
    tokens = np.concatenate([found.start.values[None, window], found["sample"].values[:, window, 0]]).astype(np.int64)
    start = torch.from_numpy(tokens[:1])
    gone = chances(start, 1, seeds_of(int(found.attrs["seed"]), [window]))[0, 0, 0].numpy() < t[:, None]
    return Passage(t, [vocabulary.decode(row) for row in torch.from_numpy(tokens)], gone)


def erased_share(x0: Tensor, t: Sequence[float], *, samples: int, seeds: Sequence[int]) -> Array:
    """Fraction of the words of each window that its U-turns have erased, (T, window).

    Args:
        x0: (windows, d) starts. t: (T,) probabilities of being erased.
        samples, seeds: as for `hierlib.text.uturn.chances`.
    """
    uniform = chances(x0, samples, list(seeds))[:, :, 0].flatten(1)
    return np.array([(uniform < at).double().mean(1).numpy() for at in t])


def come_back(kept: Array, erased: Array, windows: Array) -> Array:
    """Of the erased words, the fraction that comes back the same, from sums over windows; `windows` their number."""
    return 1 - (windows - kept) / erased


def together(y: Tensor, start: Tensor) -> Array:
    """Correlation of "kept" of every two words of one window, (d, d); nan for a word with itself, or never changed.

    Args:
        y: (samples, d) U-turns. start: (d,).
    """
    kept = (y == start).double().numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.corrcoef(kept.T)
    np.fill_diagonal(found, np.nan)
    return found


def strongest(found: Array, words: Sequence[str], number: int) -> list[str]:
    """The pairs of words with the largest correlations, as “one other” (0.57); ⋯ where others stand between."""
    pairs = [(found[i, j], i, j) for i in range(len(words)) for j in range(i + 1, len(words))]
    best = sorted((row for row in pairs if np.isfinite(row[0])), reverse=True)[:number]
    return [f"“{words[i]} {'' if j == i + 1 else '⋯ '}{words[j]}” ({c:.2f})" for c, i, j in best]
