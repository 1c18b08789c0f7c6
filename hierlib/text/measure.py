"""How changes of words go together: susceptibility, correlation against distance, and how far it reaches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from hierlib.experiments.changes import sampled_moments
from hierlib.text.uturn import Denoiser, calibration, uturn

Array = NDArray[np.float64]


def covariance(y: Tensor, x0: Tensor) -> Tensor:
    """Covariance of σ = ±1 (kept or changed) of two words of a window, by their distance.

    Args:
        y: (n, samples, d) U-turns, at least 2 of each start.
        x0: (n, d) the starts.

    Returns:
        (n, d) float64, entry r the sum over all pairs of words that are r apart, each pair once; unbiased.

    Raises:
        ValueError: there is one sample only.
    """
    if y.ndim != 3 or y.shape[1] < 2:
        raise ValueError(f"y: expected (n, at least 2 samples, d), got {tuple(y.shape)}")
    d = y.shape[2]
    kept = (y == x0[:, None]).double()
    kept = kept - kept.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(kept, 2 * d)  # the sum over pairs at a distance is a correlation of the row with itself
    pairs = torch.fft.irfft(spectrum.abs().square(), 2 * d)[..., :d]
    return 4 * pairs.sum(1) / (y.shape[1] - 1)


def given_mask(
    denoiser: Denoiser, x0: Tensor, times: Sequence[float], uniform: Tensor, *, steps: int | None = None
) -> Array:
    """`covariance` among U-turns that all erase the same words, those that the first one of their start erases.

    Where each U-turn erases words of its own, a word changes or not also because it is erased or not, of which no
    other word knows.

    Args:
        denoiser, x0, uniform, steps: as for `hierlib.text.uturn.uturn`.
        times: (T,) probabilities of being erased.

    Returns:
        (n, T, d) float64.
    """
    same = uniform.clone()
    same[:, :, 0] = same[:, :1, 0]
    return np.stack([covariance(uturn(denoiser, x0, t, same, steps=steps), x0).numpy() for t in times], 1)


def chi(pairs: Array) -> Array:
    """Susceptibility from the last axis of `covariance`: 1 + 2 Σ_r Σ_pairs C / Σ_i C_ii."""
    return 1 + 2 * pairs[..., 1:].sum(-1) / pairs[..., 0]


def far(pairs: Array, least: int) -> Array:
    """The part of it from words at least so far apart."""
    return 2 * pairs[..., least:].sum(-1) / pairs[..., 0]


def relative(pairs: Array) -> Array:
    """C(r)/C(0), each the mean over the pairs at that distance."""
    d = pairs.shape[-1]
    mean = pairs / (d - np.arange(d))
    return mean / mean[..., :1]


def reach(pairs: Array, height: float = 0.02) -> float:
    """Distance at which C(r)/C(0) first falls below a height, linear between whole distances; d if it never does.

    Args:
        pairs: (d,) as of `covariance`, averaged over windows.
        height: between 0 and 1.
    """
    if not 0 < height < 1:
        raise ValueError(f"height: expected between 0 and 1, got {height}")
    c = relative(np.asarray(pairs, float))
    below = np.flatnonzero(c < height)
    if not len(below):
        return float(len(c))
    r = int(below[0])
    return r - 1 + float((c[r - 1] - height) / (c[r - 1] - c[r]))


def study(
    denoiser: Denoiser, x0: Tensor, t: float, uniform: Tensor, *, steps: int | None, keep: int = 0, batch: int = 64
) -> xr.Dataset:
    """U-turns from every start at one fraction of erased words.

    Args:
        denoiser, x0, t, uniform, steps, batch: as for `hierlib.text.uturn.uturn`.
        keep: so many samples of each start are kept whole.

    Returns:
        A float32 dataset on (window, …), of `pairs` as `covariance`; `kept` the mean fraction of kept words; `variance`
        and `independent` of `hierlib.experiments.changes.sampled_moments`; `belief` and `squared` of `calibration`,
        over the first sample; `sample` tokens (window, run, place) of the first `keep` samples.
    """
    y = uturn(denoiser, x0, t, uniform, steps=steps, batch=batch)
    variance, independent = sampled_moments(y, x0, x0.shape[1])[:2]
    belief, squared = calibration(denoiser, x0, t, uniform[:, :1], batch)
    kept = (y == x0[:, None]).double().mean((1, 2))
    found = dict(kept=kept, variance=variance, independent=independent, belief=belief, squared=squared)
    packed: dict[str, tuple[str | tuple[str, ...], Array]]
    packed = {name: ("window", value.float().numpy()) for name, value in found.items()}
    packed["pairs"] = ("window", "distance"), covariance(y, x0).float().numpy()
    packed["sample"] = ("window", "run", "place"), y[:, :keep].int().numpy()
    return xr.Dataset(packed).expand_dims(t=[t])
