"""What the layers of a network make of U-turns of pictures whose way back knows all levels of rules, or only some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hierlib.experiments.curves import Interval
from hierlib.grammar import whole
from hierlib.images.layer_statistics import ENDS, Look, look, stack
from hierlib.images.picture_classifier import PictureCNN, PictureData, probe_of
from hierlib.images.pictures import as_picture, assemble, cut, draw, uturn
from hierlib.images.probe import Probe
from hierlib.images.sampler import UTurns
from hierlib.networks.layer_curves import above_chance, student_interval
from hierlib.sampling import sample


def time_of(r: float) -> float:
    """The time t at which signal over noise of a pixel, r = ᾱ/(1-ᾱ) with ᾱ = exp(-2t), is r.

    >>> round(math.exp(-2 * time_of(0.25)), 12)
    0.2
    """
    if not 0 < r < math.inf:
        raise ValueError(f"r: expected a positive number, got {r}")
    return math.log1p(1 / r) / 2


class Seen(NamedTuple):
    """U-turns of new pictures of one grammar, and what a network of that grammar makes of them."""

    kept: Tensor  #: (R, L+1) share of symbols that exact U-turns leave as they were, leaves … class
    known: list[Look]  #: what the layers make of them where the way back knows 0 … L levels; the last one is exact
    untrained: Look  #: exact U-turns before a network that was never trained
    shuffled: Look  #: exact U-turns, the tiles of start and end shuffled alike


def see(probe: Probe, data: PictureData, r: Sequence[float], *, n: int, generator: torch.Generator) -> Seen:
    """Take pictures through U-turns, and let the layers look at them.

    The layers are compared as those of networks of photographs: `hierlib.images.layer_statistics.look`, standardised
    over the starts, whose random pairs stand for unrelated pictures.

    Args:
        probe: a classifier of these pictures, from `hierlib.images.picture_classifier.load_picture_classifier`.
        data: the grammar and its tiles.
        r: signal over noise of a pixel, falling.
        n: pictures, at least 2.
        generator: of all randomness, on the network's device.

    Returns:
        `Seen`.

    Raises:
        ValueError: r does not fall, n is too small, or the network is of other pictures.
    """
    if len(r) < 1 or any(b >= a for a, b in pairwise(r)):
        raise ValueError(f"r: expected falling signals over noise, got {[*r]}; sort them")
    if not isinstance(probe.network, PictureCNN) or probe.network.config["side"] != data.side:
        raise ValueError(
            f"probe: expected a PictureCNN of {data.side} pixels, got {probe.name}; load that of this data"
        )
    g, alphabet, times = data.g.to(generator.device), data.alphabet, [time_of(each) for each in r]
    x = sample(g, whole("n", n, 2), generator=generator)
    start = draw(alphabet, x[0])

    made: list[UTurns] = []
    shares = []
    for levels in (*range(g.L), None):
        for t in times:
            turn = uturn(g, alphabet, start, t, levels=levels, generator=generator)
            made.append(UTurns(len(made), 0, start, turn.end))
            if levels is None:
                shares.append([float((a == b).double().mean()) for a, b in zip(x, turn.symbols)])
    every = look(probe, made, start, generator=generator)  # all at once: each start is looked at once
    known = [Look(every.alike[k : k + len(r)], every.unrelated) for k in range(0, len(made), len(r))]
    exact = made[-len(r) :]
    order = torch.rand(n, g.d, dtype=torch.float32, generator=generator, device=generator.device).argsort(1)
    mixed = [UTurns(u.k, 0, shuffled(u.start, order, data), shuffled(u.end, order, data)) for u in exact]
    at_random = untrained(probe, data, generator=generator)
    return Seen(
        torch.tensor(shares, dtype=torch.float64, device="cpu"),
        known,
        look(at_random, exact, start, generator=generator),
        look(probe, mixed, mixed[0].start, generator=generator),
    )


class Sheet(NamedTuple):
    """A few pictures on U-turns at several noises, to be looked at; the starts come first."""

    pictures: Tensor  #: (1+T, n, side, side, channels) uint8
    changed: Tensor  #: (1+T, n, side, side) bool, pixels of tiles whose symbol has changed
    classes: Tensor  #: (1+T, n) int64
    noisy: Tensor  #: (T, side, side, channels) uint8, what is seen of the first start


def sheet(data: PictureData, r: Sequence[float], classes: Sequence[int], *, generator: torch.Generator) -> Sheet:
    """Exact U-turns of one picture of each class named.

    Args:
        data: the grammar and its tiles.
        r: signal over noise of a pixel.
        classes: of the starts.
        generator: of all randomness.
    """
    g, alphabet = data.g.to(generator.device), data.alphabet
    x = sample(g, len(classes), generator=generator, classes=[*classes])
    start = draw(alphabet, x[0])
    turns = [uturn(g, alphabet, start, time_of(each), generator=generator) for each in r]
    levels = [x, *(turn.symbols for turn in turns)]
    other = torch.stack([level[0] != x[0] for level in levels])  # (1+T, n, leaves)
    patches = other[..., None, None, None].expand(-1, -1, -1, 1, data.p, data.p)
    seen = torch.stack([start, *(turn.end for turn in turns)]).movedim(2, -1)
    noisy = torch.stack([as_picture(alphabet, turn.seen[:1])[0] for turn in turns]).movedim(1, -1)
    return Sheet(
        seen.cpu(),
        torch.stack([assemble(each)[:, 0] for each in patches]).cpu(),
        torch.stack([level[-1][:, 0] for level in levels]).cpu(),
        noisy.cpu(),
    )


def shuffled(pictures: Tensor, order: Tensor, data: PictureData) -> Tensor:
    """Pictures whose tiles are at other places.

    Args:
        pictures: uint8 (n, channels, side, side).
        order: (n, 4^L), which tile comes to each place.
        data: of the pictures.
    """
    tiles = cut(pictures, data.p)
    return assemble(tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order])


def untrained(probe: Probe, data: PictureData, *, generator: torch.Generator, batches: int = 8) -> Probe:
    """The same network with new weights, its batch normalisation run on pictures: else its logits are its biases.

    Args:
        probe: of a `PictureCNN`.
        data: whose pictures.
        generator: draws weights and pictures, on the network's device.
        batches: of 128 pictures.
    """
    device = generator.device
    if not isinstance(probe.network, PictureCNN):
        raise ValueError(f"probe: expected one of a PictureCNN, got {probe.name}")
    with torch.random.fork_rng([]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator, device=device)))
        network = PictureCNN(**probe.network.config).to(device).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over batches
    g = data.g.to(device)
    with torch.no_grad():
        for _ in range(batches):
            network(draw(data.alphabet, sample(g, 128, generator=generator)[0]).float() / 127.5 - 1)
    return probe_of(network, "untrained", trained=False)


def likeness(looks: Sequence[Look]) -> np.ndarray:
    """(networks, R, layers) mean over pictures, 0 for unrelated pictures and 1 for equal ones."""
    cosines, unrelated = stack(looks)
    return above_chance(cosines.mean(2).numpy(), unrelated.mean(1)[:, None].numpy())


def first_minus_last(looks: Sequence[Look]) -> np.ndarray:
    """(networks, R) `likeness` of the first layer minus that of the logits."""
    ends = likeness(looks)[..., ENDS]
    return ends[..., 0] - ends[..., 1]


def over_grammars(values: np.ndarray) -> Interval:
    """Mean over grammars with Student's 95 % interval.

    Args:
        values: (grammars, …), at least two.
    """
    return student_interval(np.asarray(values, float)[:, None])


def share_needed(without: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The share of ends drawn with all levels, the others without the top one, at which a difference vanishes.

    A mean over pictures is linear in that share.

    Args:
        without, whole: the difference without the top level, positive, and with all levels, negative; any shape.

    >>> share_needed(np.array(0.3), np.array(-0.1)).round(4).item()
    0.75
    """
    return np.asarray(without) / (np.asarray(without) - np.asarray(whole))
