"""Forward-backward experiments on drawn grammars: loops over rule draws, data and noise levels (figure 5).

All noise levels of one datum share their random numbers, so that curves in t are smooth and a symbol once lost
rarely comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib._kernels.precision import computed_in
from hierlib._numbers import Numbers, noise_levels
from hierlib._weights import GivenWeights
from hierlib.grammar import Grammar, check_generator, random_grammar, whole
from hierlib.inference import class_posterior, infer, posterior_sample
from hierlib.noise import Noise, corrupted, evidence_of, told
from hierlib.sampling import sample

CHUNK = 2**22  # numbers of evidence at once; 16 MiB in float32


def drawn_data(
    draws: int,
    data: int,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    num_classes: int | None = None,
    weights: GivenWeights = None,
    generator: torch.Generator,
) -> Iterator[tuple[Grammar, tuple[Tensor, ...]]]:
    """Fresh grammars, one after the other, each with data of its own.

    Args:
        draws: number of grammars.
        data: number of data from each.
        v, m, s, L, num_classes, weights: as of `random_grammar`.
        generator: source of randomness of both.

    Yields:
        A grammar and its data, as `sample` gives them.

    Raises:
        ValueError: there are none of either to draw, or as `random_grammar` and `sample` do.
    """
    draws, data = whole("draws", draws, 1), whole("data", data, 1)
    check_generator(generator)
    for _ in range(draws):
        g = random_grammar(v=v, m=m, s=s, L=L, num_classes=num_classes, weights=weights, generator=generator)
        yield g, sample(g, data, generator=generator)


class LevelCurves(NamedTuple):
    """Means over the nodes and data of each rule draw; level 0 = leaves … L = class."""

    t: Tensor  #: (T,) noise levels
    truth: Tensor  #: (draws, T, L+1) posterior probability of the true symbol, which is that it is unchanged
    squared: Tensor  #: (draws, T, L+1) sum over symbols of the squared posterior probability
    alone: Tensor  #: (draws, T) the evidence of a leaf in its true symbol, before the grammar is used
    chance: Tensor  #: (draws, L+1) `truth` when nothing is seen


def level_curves(
    noise: Noise,
    t: Numbers,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    generator: torch.Generator,
    num_classes: int | None = None,
    weights: GivenWeights = None,
    conditional: bool = False,
    backend: str = "auto",
) -> LevelCurves:
    """Exact probability that each level survives a U-turn of length t, for fresh grammars and data (figure 5).

    Args:
        noise: a noise process; `EpsilonNoise` for the ε-process, whose t is ε.
        t: noise levels, (T,) or one number, in the range of the noise.
        v, m, s, L, num_classes: of the grammars, see `Grammar`.
        weights: of the rules, as of `random_grammar`.
        draws: number of grammars, at least 1.
        data: number of data from each, at least 1.
        generator: source of randomness, on whose device all is done.
        conditional: whether the way back is told the class (a one-hot class prior; footnote 1).
        backend: see `infer`.

    Returns:
        `LevelCurves`, float64 on the CPU.

    Raises:
        ValueError: as `random_grammar`, `sample` and `infer` do; the noise is for another v, or what it returns is not
            what `hierlib.Noise` says.
    """
    t, out = noise_levels(t), []
    drawn = drawn_data(draws, data, v=v, m=m, s=s, L=L, num_classes=num_classes, weights=weights, generator=generator)
    for g, x in drawn:
        prior = torch.nn.functional.one_hot(x[-1][:, 0], g.num_classes).float() if conditional else None
        blank = torch.ones(data if conditional else 1, g.d, v, dtype=torch.float32, device=g.device)
        chance = [_squares(b) for b in infer(g, blank, class_prior=prior, messages=False, backend=backend).marginals]
        rows = []
        for part, evidence in _evidence_of(noise, t, x[0], v, generator):
            again = [y.repeat(part, 1) for y in x]
            with_class = None if prior is None else prior.repeat(part, 1)
            b = infer(g, evidence, class_prior=with_class, messages=False, backend=backend).marginals
            alone = _at(evidence, again[0]).unflatten(0, (part, data)).mean(1)
            truth = torch.stack([_at(*pair) for pair in zip(b, again, strict=True)], -1)
            squared = torch.stack([_squares(y) for y in b], -1)
            rows.append([y.unflatten(0, (part, data)).mean(1) for y in (truth, squared)] + [alone])
        truth, squared, alone = (torch.cat(y) for y in zip(*rows, strict=True))
        out.append((truth, squared, alone, torch.stack(chance, -1).mean(0)))
    return LevelCurves(t, *(torch.stack(y).double().cpu() for y in zip(*out, strict=True)))


def class_curves(
    noise: Noise,
    t: Numbers,
    *,
    v: int,
    m: int,
    s: int,
    L: int,
    draws: int,
    data: int,
    weights: GivenWeights = None,
    generator: torch.Generator,
    backend: str = "auto",
) -> Tensor:
    """Exact belief in the true class for fresh grammars and data: the top level of `level_curves` alone.

    It needs the way up only, so it costs a third.

    Args:
        noise: a noise process; `EpsilonNoise` for the ε-process, whose t is ε.
        t: (T,) noise levels, all applied to the same data with the same random numbers.
        v, m, s, L, draws, data, generator, backend: as for `level_curves`.
        weights: of the rules, as of `random_grammar`.

    Returns:
        (draws, T), mean over the data of each draw, float64 on the CPU.

    Raises:
        ValueError: as `random_grammar`, `sample` and `infer` do; the noise is for another v, or what it returns is not
            what `hierlib.Noise` says.

    >>> from hierlib import EpsilonNoise
    >>> size = dict(v=8, m=2, s=2, L=3, draws=1, data=4, generator=torch.Generator().manual_seed(0))
    >>> class_curves(EpsilonNoise(v=8), [0.0, 1.0], **size)
    tensor([[1.0000, 0.1250]], dtype=torch.float64)
    """
    t, out = noise_levels(t), []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, weights=weights, generator=generator):
        rows = []
        for part, evidence in _evidence_of(noise, t, x[0], v, generator):
            belief, _ = class_posterior(g, evidence, backend=backend)
            rows.append(belief.gather(1, x[L].repeat(part, 1)).reshape(part, data).double().mean(1))
        out.append(torch.cat(rows))
    return torch.stack(out).cpu()


def uturn(
    g: Grammar,
    leaves: Tensor,
    noise: Noise,
    t: Numbers,
    *,
    generator: torch.Generator,
    class_prior: Tensor | None = None,
    backend: str = "auto",
) -> tuple[Tensor, ...]:
    """Corrupt data to time t and draw what the exact reverse process makes of it, once for each t.

    Args:
        g: the grammar.
        leaves: (n, s^L) data; repeat a datum for several runs of it.
        noise: a noise process.
        t: (T,) noise levels.
        generator: source of randomness; every t uses the same random numbers.
        class_prior, backend: see `infer`.

    Returns:
        One int64 tensor a level, ``y[l]`` of shape (T, n, s^(L-l)), to be compared with the data's own ``x[l]``.

    Raises:
        ValueError: as `infer` does.
    """
    check_generator(generator)
    state, runs = generator.get_state(), []
    for time in noise_levels(t).tolist():
        generator.set_state(state)
        evidence = evidence_of(noise, leaves, time, generator=generator)
        y = posterior_sample(g, evidence, generator=generator, class_prior=class_prior, backend=backend)
        runs.append([level[:, 0] for level in y])
    return tuple(torch.stack(level) for level in zip(*runs, strict=True))


class SeenTurn(NamedTuple):
    """A U-turn of data with what the way back believed: per level (n, s^(L-l))."""

    belief: tuple[Tensor, ...]  #: posterior probability of the true symbol
    y: tuple[Tensor, ...]  #: int64, the symbols that came back


def seen_turn(g: Grammar, x: Sequence[Tensor], noise: Noise, t: float, *, seed: int) -> SeenTurn:
    """One U-turn of each datum, with the exact beliefs from which it is drawn.

    Args:
        g: the grammar.
        x: data, (n, s^(L-l)) a level.
        noise: a noise process.
        t: its noise level.
        seed: of the noise, and again of the way back; the same at every t.
    """
    evidence = evidence_of(noise, x[0], t, generator=torch.Generator(g.device).manual_seed(seed))
    marginals = infer(g, evidence).marginals
    y = posterior_sample(g, evidence, generator=torch.Generator(g.device).manual_seed(seed))
    belief = tuple(p.gather(-1, z[..., None])[..., 0] for p, z in zip(marginals, x, strict=True))
    return SeenTurn(belief, tuple(level[:, 0] for level in y))


def kept(start: Sequence[Tensor], end: Sequence[Tensor]) -> Tensor:
    """The fraction of nodes of each level that have the same symbol in two data: (n, s^(L-l)) each, to (n, L+1)."""
    return torch.stack([(a == b).double().mean(1) for a, b in zip(start, end, strict=True)], -1)


class TwoWays(NamedTuple):
    """What two ways back keep of the same data, at each of K noise levels."""

    one: np.ndarray  #: (K, n, L+1) fraction of nodes that kept their symbol
    other: np.ndarray  #: (K, n, L+1)
    gap: np.ndarray  #: (K, L+1) difference of the means, without its sign
    error: np.ndarray  #: (K, L+1) its standard error, paired over data


def two_ways(
    start: Sequence[Tensor], one: Mapping[int, Sequence[Tensor]], other: Mapping[int, Sequence[Tensor]]
) -> TwoWays:
    """Compare where two ways back end.

    Args:
        start: data, (n, s^(L-l)) a level.
        one, other: by noise level, where each way ends, as `start`.
    """
    a, b = (torch.stack([kept(start, ends[k]) for k in one]).cpu().numpy() for ends in (one, other))
    return TwoWays(a, b, np.abs((a - b).mean(1)), (a - b).std(1) / len(start[0]) ** 0.5)


class Survivors(NamedTuple):
    """Each U-turn's fraction of nodes that kept their symbol; level 0 = leaves … L = class."""

    kept: Tensor  #: (draws, data, L+1); the last column says whether the class was kept
    coincidence: Tensor  #: (draws, data, L+1) the same against another datum than the one it started from


def survivors(
    noise: Noise, t: float, *, v: int, m: int, s: int, L: int, draws: int, data: int, generator: torch.Generator
) -> Survivors:
    """What of the start is in the end of a U-turn, and how much of that is coincidence (section 2.2, iii).

    Args:
        noise: a noise process.
        t: the noise level.
        v, m, s, L: of the grammars, see `Grammar`.
        draws: number of grammars.
        data: number of data from each, at least 2.
        generator: source of randomness.

    Returns:
        `Survivors`, float64 on the CPU.

    Raises:
        ValueError: data < 2, or as `uturn` does.
    """
    if data < 2:
        raise ValueError(f"data: expected at least 2, so that there is another datum to compare with, got {data}")
    out = []
    for g, x in drawn_data(draws, data, v=v, m=m, s=s, L=L, generator=generator):
        y = [level[0] for level in uturn(g, x[0], noise, [t], generator=generator)]
        out.append((kept(x, y), kept([level.roll(1, 0) for level in x], y)))
    return Survivors(*(torch.stack(y).cpu() for y in zip(*out, strict=True)))


def _evidence_of(
    noise: Noise, t: Tensor, leaves: Tensor, v: int, generator: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Evidence of the same data at as many noise levels as fit at a time, the level slowest: (k, (k·n, d, v))."""
    if getattr(noise, "v", v) != v:
        raise ValueError(f"noise: expected one of the {v} symbols of the grammars, got {noise}")
    state = generator.get_state()
    for part in t.split(max(1, CHUNK // (leaves.numel() * v))):
        seen = []
        for time in part.tolist():
            generator.set_state(state)
            seen.append(corrupted(noise, leaves, time, generator=generator).movedim(0, -1))
        x_t = torch.cat(seen, -1).movedim(-1, 0)  # the batch stays innermost in memory
        times = part.repeat_interleave(len(leaves))
        evidence = told(noise, x_t, times, leaves.shape[1])
        yield len(part), evidence.to(computed_in(evidence.dtype))


def _at(belief: Tensor, symbols: Tensor) -> Tensor:
    """Mean over the nodes of the belief in these symbols: (n,)."""
    return belief.gather(-1, symbols[..., None])[..., 0].mean(1)


def _squares(belief: Tensor) -> Tensor:
    """Mean over the nodes of the sum of squared beliefs: (n,)."""
    return belief.square().sum(-1).mean(1)
