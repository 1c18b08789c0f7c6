"""Texts by trigrams, and their exact U-turns: the order of neighbouring words, and no structure at any longer scale.

The words of a text are counted round a circle, so that the chain of word pairs has their frequencies as its stationary
distribution: a Markov chain of order two, whose posterior given the words that are there is computed exactly by a
pass forward, and drawn from by a pass backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from hierlib.text.corpus import MASK
from hierlib.text.measure import covariance

Array = NDArray[np.float64]


class Trigrams:
    """The Markov chain of the trigrams of a text.

    Args:
        text: (n,) int64 tokens, three at least, without `MASK`.

    Raises:
        ValueError: the text is too short, or has erased words.
    """

    def __init__(self, text: Tensor):
        x = text.numpy()
        if x.ndim != 1 or len(x) < 3 or (x == MASK).any():
            raise ValueError(f"text: expected at least 3 tokens in a row, none erased, got shape {tuple(text.shape)}")
        pairs, state, count = np.unique(
            np.stack([x, np.roll(x, -1)], 1), axis=0, return_inverse=True, return_counts=True
        )
        state = state.reshape(-1)
        self.first, self.second = pairs.T
        self.frequency = count / len(x)
        size = len(pairs), len(pairs)
        steps = sparse.coo_array((1 / count[state], (state, np.roll(state, -1))), size)
        self._from = steps.tocsr()  # row: a pair, columns: the pairs that may follow
        self._to = steps.tocsc()
        self._pull = sparse.csr_array(self._to.T)  # to carry probabilities one word on

    def draw(self, n: int, length: int, *, generator: torch.Generator) -> Tensor:
        """n texts of that many words, at least 2, each from a random place of the endless text: (n, length) int64."""
        u = torch.rand(n, length - 1, dtype=torch.float64, generator=generator, device="cpu").numpy()
        out = np.empty((n, length), np.int64)
        for row, chance in zip(out, u, strict=True):
            s = _pick(self.frequency, chance[0])
            row[:2] = self.first[s], self.second[s]
            for i in range(2, length):
                ends = slice(*self._from.indptr[s : s + 2])
                s = self._from.indices[ends][_pick(self._from.data[ends], chance[i - 1])]
                row[i] = self.second[s]
        return torch.from_numpy(out)

    def _on(self, there: NDArray[np.int64], belief: Array) -> tuple[NDArray[np.int64], Array]:
        """One word on: from some pairs, in order, and beliefs in them to those that may follow."""
        start, end = self._from.indptr[there], self._from.indptr[there + 1]
        count = end - start
        if count.sum() > len(self.first) // 8:  # from many pairs it is faster to look at all
            whole = np.zeros(len(self.first))
            whole[there] = belief
            total = self._pull @ whole
        else:
            entry = np.repeat(start - np.cumsum(count) + count, count) + np.arange(count.sum())
            total = np.bincount(
                self._from.indices[entry], np.repeat(belief, count) * self._from.data[entry], len(self.first)
            )
        new = np.flatnonzero(total)
        return new, total[new]

    def ways_back(self, x0: Tensor, gone: Tensor, uniform: Tensor) -> Tensor:
        """Exact draws of the erased words of one text, given the others.

        Args:
            x0: (d,) the text, which the chain can make. gone: (d,) bool, the words that are erased.
            uniform: (samples, d - 1) in [0, 1), what is random in each draw.

        Returns:
            (samples, d) int64.

        Raises:
            ValueError: a shape is wrong, or the chain cannot make the words that are left.
        """
        d = len(x0)
        if gone.shape != x0.shape or uniform.ndim != 2 or uniform.shape[1] != d - 1:
            raise ValueError(
                f"expected gone ({d},) and uniform (samples, {d - 1}), got {tuple(gone.shape)}, {tuple(uniform.shape)}"
            )
        word, hidden = x0.numpy(), gone.numpy()
        there = np.arange(len(self.first)) if hidden[0] else np.flatnonzero(self.first == word[0])
        belief, passes = self.frequency[there], []
        for i in range(d - 1):  # the pairs (i, i+1) that may be, and belief in each, given the words up to i + 1
            if i:
                there, belief = self._on(there, belief)
            if not hidden[i + 1]:
                fits = self.second[there] == word[i + 1]
                there, belief = there[fits], belief[fits]
            if not belief.sum() > 0:
                raise ValueError(
                    f"x0: expected a text that the trigrams can make, got one that they cannot at word {i}"
                )
            belief = belief / belief.sum()
            passes.append((there, belief))
        out = np.empty((len(uniform), d), np.int64)
        for row, chance in zip(out, uniform.numpy(), strict=True):
            there, belief = passes[-1]
            s = there[_pick(belief, chance[-1])]
            row[-2:] = self.first[s], self.second[s]
            for i in range(d - 3, -1, -1):
                ends = slice(*self._to.indptr[s : s + 2])
                before, (there, belief) = self._to.indices[ends], passes[i]
                at = np.searchsorted(there, before).clip(max=len(there) - 1)
                weight = np.where(there[at] == before, belief[at], 0.0)
                s = before[_pick(weight * self._to.data[ends], chance[i])]
                row[i] = self.first[s]
        return torch.from_numpy(out)


def study(
    chain: Trigrams, x0: Tensor, times: Sequence[float], uniform: Tensor, *, report: Callable[[int], None] | None = None
) -> xr.Dataset:
    """Exact U-turns of every start at several fractions of erased words.

    Args:
        chain: what made the starts. x0: (n, d) starts. times: (T,) probabilities of being erased.
        uniform: (n, samples, 3, d) from `hierlib.text.uturn.chances`.
        report: told how many starts are done.

    Returns:
        A float32 dataset on (t, window, …) that holds `pairs` as of `hierlib.text.measure.covariance` and `kept`, where
        each U-turn erases words of its own; `pairs_given`, where those of one start all erase the words of the first.
    """
    d, rows = x0.shape[1], []
    for k, (start, u) in enumerate(zip(x0, uniform, strict=True)):
        found = []
        for t in times:
            gone, pick = u[:, 0] < t, u[:, 2, : d - 1]
            own = torch.cat([chain.ways_back(start, g, p[None]) for g, p in zip(gone, pick, strict=True)])
            given = chain.ways_back(start, gone[0], pick)
            sums = [covariance(y[None], start[None])[0].float().numpy() for y in (own, given)]
            found.append((*sums, float((own == start).double().mean())))
        rows.append(found)
        if report:
            report(k + 1)
    dims = {"pairs": ("t", "window", "distance"), "pairs_given": ("t", "window", "distance"), "kept": ("t", "window")}
    columns = {
        name: (along, np.array([[row[i] for row in found] for found in rows]).swapaxes(0, 1).astype(np.float32))
        for i, (name, along) in enumerate(dims.items())
    }
    return xr.Dataset(columns, {"t": list(times)})


def _pick(weight: Array, chance: float) -> int:
    """One of the places of a vector of weights, by a number in [0, 1)."""
    total = np.cumsum(weight)
    return int(min(np.searchsorted(total, chance * total[-1], side="right"), len(total) - 1))
