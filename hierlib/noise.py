"""Noise processes. Each corrupts the leaves and turns what is seen into leaf evidence; inference knows only that.

Evidence has shape (batch, leaves, v) and is normalised over v. It is stored with the batch innermost, the
layout in which the kernels read it. Half precision is what it is stored in: all is computed in float32 at least.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels.precision import TYPES, computed_in
from hierlib._numbers import as_numbers, per_datum
from hierlib.embedding import equidistant, same, scores, table
from hierlib.grammar import check_generator, whole


@runtime_checkable
class Noise(Protocol):
    """What a noise process is: an alphabet size v, and how leaves are corrupted and what is then known of each of them.

    Whatever has these three is one, and does for all that takes a noise; nothing need be inherited. To write your own,
    take a frozen dataclass as `UniformNoise` is. Both methods take the noise level t as a number, or as a tensor (n,)
    with one level a datum, and broadcast it over leaves and symbols (``t[:, None, None]``).

    A class may say ``symmetric = True`` if it treats all symbols alike: renaming them renames what is seen and known.
    What is measured at one true symbol is then as good as at all.
    """

    @property
    def v(self) -> int:
        """Alphabet size."""

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        """What is seen of leaves x0, (n, d) int64 symbols 0…v-1: (n, …), of any kind that `evidence` takes."""

    def evidence(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        """The posterior of each leaf by itself, for uniform prior: (n, d, v), floating, in any normalisation."""


def evidence_of(noise: Noise, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
    """Corrupt leaves, and tell what is known of them then.

    Args:
        noise: a noise process.
        x0: (n, d) leaves.
        t: the noise level, a number or (n,).
        generator: source of randomness.

    Returns:
        Evidence, (n, d, v).

    Raises:
        ValueError: noise is no `Noise`, its methods return another shape or type, or they refuse t.
    """
    return told(noise, corrupted(noise, x0, t, generator=generator), t, x0.shape[1])


def corrupted(noise: Noise, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
    """The first half of `evidence_of`: what is seen, (n, …)."""
    check_process(noise)
    start = x0 if type(noise).__module__ == __name__ else x0.clone()  # one's own may work in place, on the truth
    x_t = noise.corrupt(start, t, generator=generator)
    if not isinstance(x_t, Tensor) or x_t.shape[:1] != x0.shape[:1]:
        raise ValueError(
            f"noise: expected {type(noise).__name__}.corrupt to return a tensor ({len(x0)}, …) for leaves "
            f"{tuple(x0.shape)}, got {_described(x_t)}; see hierlib.Noise"
        )
    return x_t


def told(noise: Noise, x_t: Tensor, t: float | Tensor, d: int) -> Tensor:
    """The second half of `evidence_of`, of d leaves: what is known, (n, d, v)."""
    wanted, shape = f"{type(noise).__name__}.evidence", (len(x_t), d, noise.v)
    try:
        evidence = noise.evidence(x_t, t)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or not isinstance(t, Tensor) or t.ndim == 0:
            raise
        try:
            noise.evidence(x_t[:1], float(t[0]))
        except (TypeError, ValueError, RuntimeError):
            raise error from None  # it is not the shape of t
        raise ValueError(
            f"noise: expected {wanted} to take t of shape {tuple(t.shape)}, one noise level a datum, got {error}; "
            "broadcast it, as by t[:, None, None]"
        ) from error
    if not isinstance(evidence, Tensor) or evidence.shape != shape or not evidence.is_floating_point():
        raise ValueError(
            f"noise: expected {wanted} to return floating numbers of shape {shape} = (n, d, v), got "
            f"{_described(evidence)}; see hierlib.Noise"
        )
    return evidence


def treats_symbols_alike(noise: Noise) -> bool:
    """Whether a noise says so; see `Noise`."""
    check_process(noise)
    return getattr(noise, "symmetric", False) is True


def check_process(noise: Noise) -> None:
    """Raise a ValueError unless this is a noise process."""
    if not isinstance(noise, Noise) or isinstance(noise, type):
        raise ValueError(f"noise: expected a noise process as EpsilonNoise(v), see hierlib.Noise, got {noise!r}")


def _described(x: object) -> str:
    return f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)


def batch_innermost(n: int, nodes: int, v: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialised (n, nodes, v) tensor whose memory order is (nodes, v, n)."""
    shape = nodes, v, n
    out = memory.empty(shape, dtype) if device.type == "cpu" else torch.empty(shape, dtype=dtype, device=device)
    return out.permute(2, 0, 1)


def epsilon_evidence(x0: Tensor, *, eps: float | Tensor, v: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The ε-process: belief 1-ε+ε/v in the true leaf and ε/v in every other symbol, eqs. (9, 10) = (20, 21).

    It is the evidence of `UniformNoise` at t = ε in one event: that x0 was seen unchanged, which has probability
    (1-ε+ε/v)^d. Averages over it are therefore not averages over a noise channel, and Nishimori's identity fails.

    Args:
        x0: (n, d) leaves, symbols 0…v-1.
        eps: ε in [0, 1], a number or one number a datum, (n,).
        v: alphabet size.
        dtype: floating type of the evidence.

    Returns:
        Evidence, (n, d, v).

    Raises:
        ValueError: ε or a symbol is out of range.
    """
    check_noise(v, dtype)
    check_symbols(x0, v)
    return _blurred(x0, per_datum("eps", eps, x0, computed_in(dtype), 0.0, 1.0), v).to(dtype)


@dataclass(frozen=True)
class _OfSymbols:
    """What the noises share whose evidence is told by symbols alone."""

    v: int
    dtype: torch.dtype = torch.float32
    symmetric: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_noise(self.v, self.dtype)


@dataclass(frozen=True)
class EpsilonNoise(_OfSymbols):
    """The ε-process of `epsilon_evidence`, with t = ε: nothing is corrupted, beliefs about the data are assigned.

    Args:
        v: alphabet size.
        dtype: floating type of the evidence.
    """

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        """The leaves as they are, (n, d), at any t in [0, 1], a number or (n,); the generator is not used."""
        check_symbols(x0, self.v)
        per_datum("t", t, x0, torch.float64, 0.0, 1.0)
        return x0

    def evidence(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        """Belief 1-t+t/v in the symbol and t/v in every other one, t in [0, 1], a number or (n,); (n, d, v)."""
        return epsilon_evidence(x_t, eps=t, v=self.v, dtype=self.dtype)


@dataclass(frozen=True)
class GaussianNoise:
    """Diffusion of the leaves, x_t = √ᾱ_t φ(x_0) + √(1-ᾱ_t) η; φ is one-hot, eqs. (2) = (12), or an embedding.

    Args:
        v: alphabet size.
        schedule: ᾱ as a function of the time t; it maps a float64 tensor to one of the same shape, in (0, 1].
            By default ᾱ_t = exp(-2t), the Ornstein-Uhlenbeck process, with t ≥ 0.
        dtype: floating type of what is seen and of the evidence.
        embedding: φ, a (v, p) table of points, of any lengths, as the pixels of v tiles; one-hot if not given. It is
            kept as float64. Symbols with equal rows are told apart by the grammar alone.
    """

    v: int
    schedule: Callable[[Tensor], Tensor] | None = None
    dtype: torch.dtype = torch.float32
    embedding: Tensor | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        check_noise(self.v, self.dtype)
        if self.embedding is not None:
            object.__setattr__(self, "embedding", table(self.embedding, self.v, self.dtype))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GaussianNoise):
            return NotImplemented
        alike = (self.v, self.schedule, self.dtype) == (other.v, other.schedule, other.dtype)
        return alike and same(self.embedding, other.embedding)

    @property
    def symmetric(self) -> bool:
        """Whether all symbols are treated alike, which an embedding does if its points are equally far apart."""
        return self.embedding is None or equidistant(self.embedding)

    def alpha_bar(self, t: float | Tensor) -> Tensor:
        """The cumulative signal ᾱ_t, float64, of the shape of t.

        Raises:
            ValueError: t is negative or not finite, or the schedule leaves (0, 1].
        """
        t = as_numbers("t", t, torch.float64, t.device if isinstance(t, Tensor) else torch.device("cpu"))
        if not torch.isfinite(t).all() or (t < 0).any():
            raise ValueError(f"t: expected a finite time t ≥ 0, got {t.tolist()}")
        alpha_bar = torch.exp(-2 * t) if self.schedule is None else self.schedule(t)
        alpha_bar = torch.as_tensor(alpha_bar, dtype=torch.float64, device=t.device)
        if not ((alpha_bar > 0) & (alpha_bar <= 1)).all():
            raise ValueError(f"schedule: expected ᾱ in (0, 1], got {alpha_bar.tolist()} at t = {t.tolist()}")
        return alpha_bar

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        """Diffuse the leaves to time t, eq. (2).

        Args:
            x0: (n, d) leaves.
            t: the time, a number or (n,).
            generator: source of the noise η.

        Returns:
            x_t, (n, d, v), or (n, d, p) with an embedding.
        """
        check_symbols(x0, self.v)
        _check_generator(generator, x0)
        alpha_bar = per_datum("alpha_bar", self.alpha_bar(t), x0, torch.float64, 0.0, 1.0)
        (n, d), kind = x0.shape, computed_in(self.dtype)
        x_t = batch_innermost(n, d, self.v if self.embedding is None else self.embedding.shape[1], kind, x0.device)
        stored = x_t.permute(1, 2, 0)
        spread, signal = (1 - alpha_bar).sqrt().to(kind), alpha_bar.sqrt().to(kind)
        if self.embedding is not None:
            points = self.embedding.to(x0.device, kind)[x0.T].transpose(1, 2)  # (d, p, n)
            stored.normal_(generator=generator).mul_(spread).addcmul_(points, signal)
        elif kernel := _kernel(stored):
            kernel.diffuse(stored, x0, spread, signal, generator)
        else:
            stored.normal_(generator=generator).mul_(spread).scatter_add_(1, x0.T[:, None], signal.expand(d, 1, n))
        return x_t.to(self.dtype)

    def evidence(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        """Posterior of a single leaf, softmax(x_t / Δ_t) with Δ_t = (1-ᾱ_t)/√ᾱ_t, eqs. (4) = (13).

        With an embedding softmax_a((x_t·φ_a - √ᾱ_t ‖φ_a‖²/2) / Δ_t), computed in float64.

        Args:
            x_t: (n, d, v), or (n, d, p) with an embedding, what is seen.
            t: the time of x_t, a number or (n,).

        Returns:
            Evidence, (n, d, v), of the type of x_t.

        Raises:
            ValueError: x_t / Δ_t is not finite, or ᾱ_t = 1, where x_t is the datum itself and Δ_t = 0.
        """
        check_type("x_t", x_t.dtype)
        size = self.v if self.embedding is None else self.embedding.shape[1]
        if x_t.ndim != 3 or x_t.shape[-1] != size:
            raise ValueError(f"x_t: expected shape (n, d, {size}), got {tuple(x_t.shape)}")
        alpha_bar = per_datum("alpha_bar", self.alpha_bar(t), x_t, torch.float64, 0.0, 1.0)
        if (alpha_bar == 1).any():
            raise ValueError("t: expected ᾱ_t < 1, got ᾱ_t = 1 (no noise): use epsilon_evidence with eps=0")
        if self.embedding is None:
            stored = x_t.permute(1, 2, 0).to(computed_in(x_t.dtype))
        else:
            stored = scores(self.embedding, x_t, alpha_bar.sqrt())
        inverse_delta = (alpha_bar.sqrt() / (1 - alpha_bar)).to(stored.dtype)
        if kernel := _kernel(stored):
            evidence, finite = kernel.softmax(stored, inverse_delta)
        else:
            scaled = stored * inverse_delta
            evidence, finite = scaled.softmax(1), torch.isfinite(scaled).all()
        if not finite:
            raise ValueError("x_t: expected finite numbers, also once divided by Δ_t, got NaN or infinity")
        return evidence.permute(2, 0, 1).to(x_t.dtype)


@dataclass(frozen=True)
class MaskNoise(_OfSymbols):
    """Erasure: each leaf is replaced by the mask, written v, with probability t, independently.

    Args:
        v: alphabet size.
        dtype: floating type of the evidence.
    """

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        """Mask each leaf with probability t in [0, 1], a number or (n,); returns (n, d) int64, v where masked."""
        check_symbols(x0, self.v)
        _check_generator(generator, x0)
        t = per_datum("t", t, x0, torch.float64, 0.0, 1.0)
        hidden = torch.rand(x0.shape, generator=generator, dtype=torch.float64, device=x0.device) < t[:, None]
        return torch.where(hidden, self.v, x0)

    def evidence(self, x_t: Tensor, t: float | Tensor | None = None) -> Tensor:
        """One on the symbol seen, 1/v on every symbol where the leaf is masked; t is not needed. (n, d, v)."""
        check_symbols(x_t, self.v + 1)
        masked = x_t == self.v
        certain = torch.zeros(len(x_t), dtype=computed_in(self.dtype), device=x_t.device)
        out = _blurred(torch.where(masked, 0, x_t), certain, self.v)
        return out.masked_fill_(masked[..., None], 1 / self.v).to(self.dtype)


@dataclass(frozen=True)
class UniformNoise(_OfSymbols):
    """Substitution: each leaf is redrawn uniformly among the v symbols with probability t, independently.

    Args:
        v: alphabet size.
        dtype: floating type of the evidence.
    """

    def corrupt(self, x0: Tensor, t: float | Tensor, *, generator: torch.Generator) -> Tensor:
        """Redraw each leaf with probability t in [0, 1], a number or (n,); returns (n, d) int64 symbols."""
        check_symbols(x0, self.v)
        _check_generator(generator, x0)
        t = per_datum("t", t, x0, torch.float64, 0.0, 1.0)
        redrawn = torch.rand(x0.shape, generator=generator, dtype=torch.float64, device=x0.device) < t[:, None]
        fresh = torch.randint(self.v, x0.shape, generator=generator, device=x0.device)
        return torch.where(redrawn, fresh, x0)

    def evidence(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        """Belief 1-t+t/v in the symbol seen and t/v in every other one; (n, d, v)."""
        check_symbols(x_t, self.v)
        return _blurred(x_t, per_datum("t", t, x_t, computed_in(self.dtype), 0.0, 1.0), self.v).to(self.dtype)


def _blurred(x: Tensor, eps: Tensor, v: int) -> Tensor:
    """(n, d, v): 1-ε+ε/v on x, of shape (n, d), and ε/v elsewhere; ε of shape (n,)."""
    n, d = x.shape
    out = batch_innermost(n, d, v, eps.dtype, x.device)
    stored = out.permute(1, 2, 0)
    stored.copy_((eps / v).expand(d, v, n))
    stored.scatter_(1, x.T[:, None], (1 - eps + eps / v).expand(d, 1, n))
    return out


def _kernel(x: Tensor) -> ModuleType | None:
    """The compiled kernels, if they can do (leaves, v, n) faster: only then imported, for that takes a second."""
    gradient = torch.is_grad_enabled() and x.requires_grad
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or x.shape[-1] < 32 or gradient:
        return None
    return import_module("hierlib._kernels.compiled.gaussian")


def check_type(name: str, dtype: torch.dtype) -> None:
    """Raise a ValueError unless this is a floating type that evidence may have."""
    if dtype not in TYPES:
        known = ", ".join(str(kind).removeprefix("torch.") for kind in TYPES)
        hint = "" if dtype.is_floating_point else "; a noise makes evidence of leaves: noise.evidence(leaves, t)"
        raise ValueError(f"{name}: expected one of the floating types {known}, got {dtype}{hint}")


def check_noise(v: int, dtype: torch.dtype) -> None:
    """Raise a ValueError unless there is a noise of this alphabet size and floating type."""
    whole("v", v, 1)
    check_type("dtype", dtype)


def check_symbols(x: Tensor, v: int) -> None:
    """Raise a ValueError unless these are int64 symbols (n, d) of 0…v-1."""
    if x.ndim != 2 or x.dtype != torch.int64:
        raise ValueError(f"expected int64 symbols of shape (n, d), got {x.dtype} of shape {tuple(x.shape)}")
    if x.numel() and (x.min() < 0 or x.max() >= v):
        raise ValueError(f"expected symbols in 0…{v - 1}, got {x.min()}…{x.max()}")


def _check_generator(generator: torch.Generator, x: Tensor) -> None:
    check_generator(generator)
    if generator.device.type != x.device.type:
        raise ValueError(f"generator: expected one on the data's device, {x.device}, got {generator.device}")
