"""Inner products of activations, channel by channel: each number is read once, and no array of doubles is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierlib._kernels.compiled.layout import summing


@summing
def centred_products(a: NDArray, b: NDArray, mean: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """out[i, c] = Σ_p (a[i, c, p] - mean[c]) (b[i, c, p] - mean[c]), in float64; a and b (n, channels, places)."""
    n, channels, places = a.shape
    for i in range(n):
        for c in range(channels):
            x, y, middle, total = a[i, c], b[i, c], mean[c], 0.0
            for p in range(places):
                total += (np.float64(x[p]) - middle) * (np.float64(y[p]) - middle)
            out[i, c] = total
