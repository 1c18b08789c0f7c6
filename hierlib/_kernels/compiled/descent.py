"""Which rule each node of a level takes, by the weights of its symbol's rules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierlib._kernels.compiled.layout import entry

Symbols = NDArray[np.int64]


@entry
def choose_rules(
    parents: Symbols, chance: NDArray[np.float64], sums: NDArray[np.float64], rule: Symbols, children: Symbols
) -> None:
    """The children of each parent, by the first of its rules (symbols, m, s) whose running sum is above its chance."""
    m, s = rule.shape[1:]
    for i in range(len(parents)):
        symbol, chosen = parents[i], 0
        for k in range(m - 1):  # no early end: nothing could predict it
            chosen += sums[symbol, k] <= chance[i]
        for j in range(s):
            children[i, j] = rule[symbol, chosen, j]
