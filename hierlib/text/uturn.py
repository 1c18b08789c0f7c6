"""U-turns of masked diffusion: erase words, then go back by the reverse of the absorbing process."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from hierlib._finite import finite, precision
from hierlib._seeds import derived
from hierlib.text.corpus import MASK

#: From tokens (n, d) with `MASK` and places (rows (k,), columns (k,)) to log probabilities (k, vocabulary).
Denoiser = Callable[[Tensor, tuple[Tensor, Tensor]], Tensor]


def seeds_of(seed: int, windows: Iterable[int]) -> list[int]:
    """The seeds of some windows (indices) in a study of that seed, for `chances`."""
    return [1000 * seed + int(i) for i in windows]


def chances(x0: Tensor, samples: int, seeds: list[int]) -> Tensor:
    """All that is random in U-turns from each start, (n, samples, 3, d), uniform in [0, 1), float64.

    One generator for each start, so that nothing depends on which others are run with it. Of a word: the time at which
    it is erased, its place in the order in which words come back, and which word comes back.

    Raises:
        ValueError: the numbers of starts and seeds differ, or there is no sample.
    """
    if len(seeds) != len(x0) or samples < 1:
        raise ValueError(
            f"expected a seed for each of {len(x0)} starts and samples of at least 1, got {len(seeds)} and {samples}"
        )
    draws = [
        torch.rand(
            *(samples, 3, x0.shape[1]),
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(derived(seed)),
            device="cpu",
        )
        for seed in seeds
    ]
    return torch.stack(draws)


@torch.no_grad()
def uturn(
    denoiser: Denoiser, x0: Tensor, t: float, uniform: Tensor, *, steps: int | None = None, batch: int = 256
) -> Tensor:
    """Erase each word with probability t, and draw the erased ones again.

    In the absorbing process with any schedule each word is erased at a time of its own; going back, words return one
    after the other in random order, each drawn from the posterior given those that are there. So it is done where
    `steps` allows it, and with the exact posterior the samples are exact; else several words return in a step, drawn
    independently of each other.

    Args:
        denoiser: see `Denoiser`.
        x0: (n, d) starts, int64, without `MASK`.
        t: probability of being erased, in [0, 1].
        uniform: (n, samples, 3, d) from `chances`; with the same ones at several t, what is erased at one t is erased
            at every larger one.
        steps: in how many at most the words of a sample return, evenly; None: as many as words are erased.
        batch: samples that are run together; it changes nothing but the time and the memory.

    Returns:
        (n, samples, d) int64.

    Raises:
        ValueError: a shape, t or a number is wrong, or a start has erased words; what the denoiser says is not finite,
            and the step is named.
    """
    n, d = x0.shape
    if uniform.ndim != 4 or uniform.shape[0] != n or uniform.shape[2:] != (3, d):
        raise ValueError(f"uniform: expected shape ({n}, samples, 3, {d}), got {tuple(uniform.shape)}")
    if not 0 <= t <= 1:
        raise ValueError(f"t: expected a probability, got {t}")
    if (steps is not None and steps < 1) or batch < 1:
        raise ValueError(f"expected steps and batch of at least 1, got {steps} and {batch}")
    if (x0 == MASK).any():
        raise ValueError("x0: expected words only, got erased ones; decode and encode the text again")
    samples = uniform.shape[1]
    gone = uniform[:, :, 0].reshape(-1, d) < t
    order = uniform[:, :, 1].reshape(-1, d).masked_fill(~gone, 2.0).argsort(1)  # erased words first
    pick = uniform[:, :, 2].reshape(-1, d)
    x = x0.repeat_interleave(samples, 0).masked_fill(gone, MASK)
    count = gone.sum(1)
    taken = count if steps is None else count.clamp_max(steps)
    for rows in taken.argsort(descending=True).split(batch):  # rows that are still at work stay together
        for step in range(int(taken[rows[0]])):
            on = rows[taken[rows] > step]
            first, last = ((step + k) * count[on] // taken[on] for k in (0, 1))
            place = torch.arange(d, device=x.device)
            due = (place >= first[:, None]) & (place < last[:, None])
            where = due.nonzero(as_tuple=True)[0], order[on][due]
            log_p = denoiser(x[on], where)
            name = f"way back of {int(taken[rows[0]])} steps, step {step + 1}"
            x[on[where[0]], where[1]] = draw(log_p, pick[on[where[0]], where[1]], name)
    return x.reshape(n, samples, d)


def draw(log_p: Tensor, uniform: Tensor, name: str = "draw") -> Tensor:
    """One draw from each row of log probabilities (k, v) by its own uniform number (k,), inverting the distribution.

    Raises:
        ValueError: a row does not sum to a finite number; name says which.
    """
    total = log_p.double().exp().cumsum(1)
    finite(total[:, -1], f"{name}, probabilities in {precision(log_p.dtype)}", "look at the model's weights")
    chosen = torch.searchsorted(total, (uniform * total[:, -1])[:, None], right=True)[:, 0]
    return chosen.clamp_max(log_p.shape[1] - 1)


def independent_words(text: Tensor, vocabulary: int, n: int, *, generator: torch.Generator) -> tuple[Tensor, Denoiser]:
    """Texts of words drawn one by one, by their frequency in a text, and the denoiser that is exact for them.

    Args:
        text: (windows, d) int64 tokens.
        vocabulary: number of words that there are.
        n: texts to draw.
        generator: source of the words.

    Returns:
        (n, d) int64 tokens, and their denoiser, which says the same of each erased word.
    """
    frequency = torch.bincount(text.ravel(), minlength=vocabulary).double() / text.numel()
    d = text.shape[1]
    drawn = torch.multinomial(frequency, n * d, replacement=True, generator=generator).reshape(n, d)
    log_p = frequency.log()
    return drawn, lambda x, where: log_p.expand(len(where[0]), -1)


@torch.no_grad()
def calibration(denoiser: Denoiser, x0: Tensor, t: float, uniform: Tensor, batch: int = 256) -> tuple[Tensor, Tensor]:
    """Belief in the truth and squared beliefs summed over words; their means are equal if the beliefs are exact.

    Args:
        denoiser, x0, t, uniform, batch: as for `uturn`.

    Returns:
        Two tensors (n,), float64, sums over samples and erased words divided by their number; nan if none was.

    Raises:
        ValueError: what the denoiser says is not finite.
    """
    n, samples, _, d = uniform.shape
    gone = uniform[:, :, 0].reshape(-1, d) < t
    truth = x0.repeat_interleave(samples, 0)
    belief, squared = torch.zeros(2, n * samples, dtype=torch.float64, device=x0.device)
    for rows in torch.arange(n * samples, device=x0.device).split(batch):
        row, place = gone[rows].nonzero(as_tuple=True)
        where = (row, place)
        p = denoiser(truth[rows].masked_fill(gone[rows], MASK), where).double().exp()
        finite(p, f"belief at t = {t:g}", "look at the model's weights")
        belief.index_add_(0, rows[where[0]], p.gather(1, truth[rows][where][:, None])[:, 0])
        squared.index_add_(0, rows[where[0]], p.square().sum(1))
    count = gone.reshape(n, -1).sum(1)
    return belief.reshape(n, -1).sum(1) / count, squared.reshape(n, -1).sum(1) / count
