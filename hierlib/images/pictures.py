"""Pictures made of parts: strings of a grammar drawn as squares of tiles, noise on their pixels, the exact way back.

The s = k² children of a node are the k × k parts of its square, row by row, and a leaf is a tile of p × p pixels: a
string of s^L leaves is a picture of k^L p pixels a side. Gaussian noise on every pixel is `hierlib.GaussianNoise` with
the tiles for an embedding, so that beliefs and the way back are exact, as on strings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib.embedding import nearest
from hierlib.filtered import posterior_sample_filtered
from hierlib.grammar import Grammar, whole
from hierlib.inference import posterior_sample
from hierlib.noise import GaussianNoise, check_symbols

PAIRS = ("1f4e8c d6e6f5", "d9542b fbe3c8", "f2c230 3b3355", "d2f0de 1d7a68")  # ink and ground
SLATE = "24344d efe6d2"
FINE = 8  # points a pixel and direction, of which tiles are averages


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Tiles, one a symbol, and what stands for them in a diffusion: `embedding`.

    Args:
        tiles: uint8 (v, channels, p, p), not all the same. Equal ones are told apart by the grammar alone.
    """

    tiles: Tensor

    def __post_init__(self) -> None:
        x = self.tiles
        tensor = isinstance(x, Tensor) and x.dtype == torch.uint8 and x.ndim == 4
        if not tensor or x.shape[2] != x.shape[3] or 0 in x.shape:
            got = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)
            raise ValueError(f"tiles: expected uint8 (v, channels, p, p), got {got}")
        if (x == x[0]).all():
            raise ValueError("tiles: expected some that differ, got all the same: their embedding would be zero")

    @property
    def v(self) -> int:
        """Number of symbols."""
        return len(self.tiles)

    @property
    def p(self) -> int:
        """Pixels of a tile, down and across."""
        return self.tiles.shape[-1]

    @property
    def centre(self) -> Tensor:
        """(channels, p, p) float64, the mean tile."""
        return self.tiles.double().mean(0)

    @property
    def scale(self) -> float:
        """Grey levels that are one unit of the embedding, the root mean square of the tiles, centred."""
        return float((self.tiles.double() - self.centre).square().mean().sqrt())

    @property
    def embedding(self) -> Tensor:
        """(v, channels·p²) float64, of mean zero at each pixel and mean square one over all."""
        return ((self.tiles.double() - self.centre) / self.scale).flatten(1)

    def noise(
        self, schedule: Callable[[Tensor], Tensor] | None = None, dtype: torch.dtype = torch.float32
    ) -> GaussianNoise:
        """`GaussianNoise` on the pixels of the tiles, in units of the embedding."""
        return GaussianNoise(self.v, schedule, dtype, self.embedding)


def shapes(v: int, p: int) -> Alphabet:
    """Four shapes, each in v/4 pairs of colours, which differ in lightness as well as in hue.

    Args:
        v: number of symbols, 2 … 16.
        p: pixels of a tile, at least 4.
    """
    y, x = _points(v, p)
    forms = [_disc(x, y), x + y < 1, _saltire(x, y), (4 * y).long() % 2 == 0]
    return _painted([(forms[i % 4], PAIRS[i // 4]) for i in range(v)], p)


def signs(v: int, p: int) -> Alphabet:
    """Sixteen signs in one dark ink on one light ground: told apart by their form alone, whoever sees them.

    Args:
        v: number of symbols, 2 … 16.
        p: pixels of a tile, at least 4.
    """
    y, x = _points(v, p)
    forms = [
        *(_disc(x, y), _saltire(x, y), x + y < 1, (4 * y).long() % 2 == 0, (4 * x).long() % 2 == 0, x > y),
        *(~(_bar(x) & _bar(y)), x < 0.5, (2 * x).long() != (2 * y).long(), y < 0.5, x < y, x + y > 1),
        *(~(_bar(x) | _bar(y)), _bar(x), _bar(y), (x < 0.5) & (y < 0.5)),
    ]
    return _painted([(form, SLATE) for form in forms[:v]], p)


def _points(v: int, p: int) -> tuple[Tensor, Tensor]:
    if not 2 <= whole("v", v, 1) <= 16:
        raise ValueError(f"v: expected 2 … 16 tiles of this alphabet, got {v}; make your own with Alphabet(tiles)")
    at = (torch.arange(FINE * whole("p", p, 4), dtype=torch.float64, device="cpu") + 0.5) / (FINE * p)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return y, x


def _disc(x: Tensor, y: Tensor) -> Tensor:
    return torch.hypot(x - 0.5, y - 0.5) < 0.38


def _saltire(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y).abs() < 0.2) | ((x + y - 1).abs() < 0.2)


def _bar(z: Tensor) -> Tensor:
    return (z - 0.5).abs() < 0.25


def _painted(tiles: list[tuple[Tensor, str]], p: int) -> Alphabet:
    """Forms, seen at all points, in their ink and on their ground."""
    out = []
    for form, pair in tiles:
        share = form.double().reshape(p, FINE, p, FINE).mean((1, 3))
        ink, ground = (
            torch.tensor([*bytes.fromhex(c)], dtype=torch.float64, device="cpu")[:, None, None] for c in pair.split()
        )
        out.append((ink * share + ground * (1 - share)).round().to(torch.uint8))
    return Alphabet(torch.stack(out))


def assemble(parts: Tensor, *, s: int = 4) -> Tensor:
    """Lay out one part a leaf: (n, s^L, channels, h, w) to (n, channels, k^L h, k^L w), s = k².

    Raises:
        ValueError: s is no square, or the number of leaves no power of it.
    """
    if parts.ndim != 5:
        raise ValueError(f"parts: expected (n, s^L, channels, h, w), got {tuple(parts.shape)}")
    n, d, channels, h, w = parts.shape
    k, levels = _across(s), _levels(d, s)
    order = [0, 2 * levels + 1, *_rows(levels), 2 * levels + 2, *_columns(levels), 2 * levels + 3]
    grid = parts.reshape(n, *[k] * (2 * levels), channels, h, w)  # row, column, row, column … the highest level first
    return grid.permute(order).reshape(n, channels, k**levels * h, k**levels * w)


def cut(pictures: Tensor, p: int, *, s: int = 4) -> Tensor:
    """The inverse of `assemble`: (n, channels, side, side) to (n, s^L, channels, p, p), side = k^L p.

    Raises:
        ValueError: s is no square, or the side not of this kind.
    """
    k, side = _across(s), pictures.shape[-1]
    levels = round(math.log(max(side // whole("p", p, 1), 1), k))
    if pictures.ndim != 4 or pictures.shape[2] != side or k**levels * p != side:
        raise ValueError(
            f"pictures: expected (n, channels, side, side), side = p·{k}^L, p = {p}, got {tuple(pictures.shape)}"
        )
    n, channels = pictures.shape[:2]
    bits = pictures.reshape(n, channels, *[k] * levels, p, *[k] * levels, p)
    rows, columns = range(2, levels + 2), range(levels + 3, 2 * levels + 3)
    order = [0, *(i for pair in zip(rows, columns) for i in pair), 1, levels + 2, 2 * levels + 3]
    return bits.permute(order).reshape(n, s**levels, channels, p, p)


def _rows(levels: int) -> range:
    return range(1, 2 * levels, 2)


def _columns(levels: int) -> range:
    return range(2, 2 * levels + 1, 2)


def _across(s: int) -> int:
    k = math.isqrt(whole("s", s, 4))
    if k * k != s:
        raise ValueError(f"s: expected a square, 4, 9, 16 …, whose parts fill a square, got {s}")
    return k


def _levels(d: int, s: int) -> int:
    levels = round(math.log(max(d, 1), s))
    if s**levels != d:
        raise ValueError(f"leaves: expected a power of s = {s}, got {d}")
    return levels


def draw(alphabet: Alphabet, leaves: Tensor, *, s: int = 4) -> Tensor:
    """The pictures of strings.

    Args:
        alphabet: the tiles.
        leaves: (n, s^L) symbols.
        s: children of a node, a square.

    Returns:
        uint8 (n, channels, side, side), side = √s^L p.

    Raises:
        ValueError: symbols are out of range; s is no square, or the number of leaves no power of it.
    """
    check_symbols(leaves, alphabet.v)
    return assemble(alphabet.tiles.to(leaves.device)[leaves], s=s)


def standardised(alphabet: Alphabet, pictures: Tensor, *, s: int = 4) -> Tensor:
    """Pixels in units of the embedding, float32, of the shape of the pictures: what is diffused."""
    bits = cut(pictures, alphabet.p, s=s).double()
    return assemble((bits - alphabet.centre.to(bits.device)) / alphabet.scale, s=s).float()


def as_picture(alphabet: Alphabet, x: Tensor, *, s: int = 4) -> Tensor:
    """The inverse of `standardised`, uint8: a noisy picture as one can look at it, clipped to what can be shown."""
    bits = cut(x, alphabet.p, s=s).double() * alphabet.scale + alphabet.centre.to(x.device)
    return assemble(bits, s=s).round().clamp(0, 255).to(torch.uint8)


def read(alphabet: Alphabet, pictures: Tensor, *, s: int = 4) -> Tensor:
    """The string of each picture, (n, s^L) int64: of each tile the symbol that looks most like it.

    Of pictures of `draw` these are their leaves, if no two tiles are equal.
    """
    bits = cut(standardised(alphabet, pictures, s=s), alphabet.p, s=s)
    return nearest(alphabet.embedding, bits.flatten(2))


class Turn(NamedTuple):
    """A U-turn of pictures."""

    seen: Tensor  #: (n, channels, side, side) float32, the noisy pictures, in units of the embedding
    symbols: tuple[Tensor, ...]  #: of the pictures at its end, a level each, (n, s^(L-l)); see ``levels`` of `uturn`
    end: Tensor  #: uint8 (n, channels, side, side)


def uturn(
    g: Grammar,
    alphabet: Alphabet,
    start: Tensor,
    t: float,
    *,
    generator: torch.Generator,
    schedule: Callable[[Tensor], Tensor] | None = None,
    levels: int | None = None,
) -> Turn:
    """Add noise to every pixel, and draw a picture from the exact posterior, as the perfect diffusion model would.

    Args:
        g: the grammar, s a square.
        alphabet: tiles for its v symbols.
        start: uint8 (n, channels, side, side) pictures, as from `draw`.
        t: the time.
        generator: source of randomness, on the device of the pictures.
        schedule: ᾱ(t), as for `hierlib.GaussianNoise`.
        levels: what the way back knows of the rules, those of so many lowest levels, up to which symbols are then
            given, as by `hierlib.filtered.posterior_sample_filtered`; all of them if not given.

    Returns:
        `Turn`.

    Raises:
        ValueError: pictures, alphabet and grammar do not fit, or as `hierlib.GaussianNoise` does.
    """
    if alphabet.v != g.v:
        raise ValueError(f"alphabet: expected a tile for each of the v = {g.v} symbols, got {alphabet.v}")
    side, channels = _across(g.s) ** g.L * alphabet.p, alphabet.tiles.shape[1]
    if start.dtype != torch.uint8 or start.shape[1:] != (channels, side, side):
        raise ValueError(
            f"start: expected uint8 (n, {channels}, {side}, {side}), got {start.dtype} {tuple(start.shape)}"
        )
    noise = alphabet.noise(schedule)
    alpha_bar = float(noise.alpha_bar(t))
    clean = standardised(alphabet, start, s=g.s)
    eta = torch.randn(clean.shape, dtype=clean.dtype, generator=generator, device=clean.device)
    seen = alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * eta
    evidence = noise.evidence(cut(seen, alphabet.p, s=g.s).flatten(2), t)
    if levels is None:
        symbols = tuple(level[:, 0] for level in posterior_sample(g, evidence, generator=generator))
    else:
        symbols = posterior_sample_filtered(g, evidence, levels=levels, generator=generator)
    return Turn(seen, symbols, draw(alphabet, symbols[0], s=g.s))
