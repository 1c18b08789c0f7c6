"""Exact inference on the tree: belief propagation and posterior sampling, whatever the noise was."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels import torch as _reference
from hierlib.grammar import Grammar
from hierlib.noise import epsilon_evidence, per_datum


class Beliefs(NamedTuple):
    """What `infer` returns; each of the first three has one tensor a level, (batch, s^(L-l), symbols).

    Attributes:
        up: upward messages ν↑, normalised; ``up[0]`` is the evidence as it was given.
        down: downward messages ν↓, normalised; ``down[L]`` is the class prior.
        marginals: posterior probabilities of each symbol of each node, ∝ ν↑·ν↓.
        log_evidence: (batch,), log Σ_x p(x) Π_i evidence_i(x_i), p the grammar's distribution of data.

    The tensors may be strided views with the batch innermost in memory. up and down are None if `infer` was
    called with messages=False.
    """

    up: tuple[Tensor, ...] | None
    down: tuple[Tensor, ...] | None
    marginals: tuple[Tensor, ...]
    log_evidence: Tensor


def infer(
    g: Grammar,
    evidence: Tensor,
    *,
    class_prior: Tensor | Sequence[float] | None = None,
    messages: bool = True,
    backend: str = "auto",
) -> Beliefs:
    """Compute the exact posterior of every symbol of the tree by belief propagation, eqs. (7, 8) = (16–19).

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), finite and non-negative, in any normalisation: what is known about each leaf.
        class_prior: prior of the class, (num_classes,) or (batch, num_classes), non-negative; uniform if not
            given (footnote 1). A one-hot row makes the inference class-conditional.
        messages: False returns the marginals only, which needs less memory.
        backend: "torch" (any device and type, differentiable), "cpu" (compiled for this machine), "gpu" (Triton);
            "auto" takes the fastest that can do it.

    Returns:
        `Beliefs`, in the evidence's floating type and on its device.

    Raises:
        ValueError: a wrong shape or type, evidence that is negative or not finite, or evidence that the grammar
            cannot produce; the datum is named.

    >>> rng = torch.Generator().manual_seed(0)
    >>> from hierlib import epsilon_evidence, random_grammar, sample
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    >>> x = sample(g, 5, generator=rng)
    >>> b = infer(g, epsilon_evidence(x[0], eps=0.0, v=g.v))
    >>> [m.shape for m in b.marginals]
    [torch.Size([5, 8, 4]), torch.Size([5, 4, 4]), torch.Size([5, 2, 4]), torch.Size([5, 1, 4])]
    """
    _check_evidence(g, evidence)
    prior = _class_prior(g, evidence, class_prior)
    kernel = _backend(backend, evidence, prior)
    up, down, marginals, log_evidence = kernel.infer(g, evidence.permute(1, 2, 0), prior, messages)
    _check_result(evidence.dtype, log_evidence)
    return Beliefs(up, down, marginals, log_evidence)


def posterior_sample(
    g: Grammar,
    evidence: Tensor,
    *,
    num_samples: int = 1,
    generator: torch.Generator,
    class_prior: Tensor | Sequence[float] | None = None,
    backend: str = "auto",
) -> tuple[Tensor, ...]:
    """Draw whole data, with all their latent symbols, from the exact posterior (section 5, Mézard & Montanari).

    The class is drawn from its marginal, then each node's rule given its symbol, down to the leaves. With
    evidence from `GaussianNoise` this is what running the reverse diffusion from x_t gives.

    Args:
        g: the grammar.
        evidence: (batch, s^L, v), as for `infer`.
        num_samples: draws a datum, at least 1.
        generator: source of randomness.
        class_prior, backend: as for `infer`.

    Returns:
        One int64 tensor a level, ``y[l]`` of shape (batch, num_samples, s^(L-l)).

    Raises:
        ValueError: as for `infer`, or num_samples below 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples: expected at least 1, got {num_samples}")
    _check_evidence(g, evidence)
    prior = _class_prior(g, evidence, class_prior)
    kernel = _backend(backend, evidence, prior)
    with torch.no_grad():
        y, log_evidence = kernel.posterior_sample(g, evidence.permute(1, 2, 0), prior, num_samples, generator)
    _check_result(evidence.dtype, log_evidence)
    return tuple(y)


def class_posterior(
    g: Grammar,
    evidence: Tensor,
    *,
    class_prior: Tensor | Sequence[float] | None = None,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """The posterior of the class and the log evidence: only the way up, a third of the work of `infer`.

    Args:
        g, evidence, class_prior, backend: as for `infer`.

    Returns:
        (batch, num_classes) and (batch,), equal to ``marginals[L][:, 0]`` and ``log_evidence`` of `infer`.

    Raises:
        ValueError: as for `infer`.

    >>> rng = torch.Generator().manual_seed(0)
    >>> from hierlib import epsilon_evidence, random_grammar, sample
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    >>> x = sample(g, 5, generator=rng)
    >>> p, log_evidence = class_posterior(g, epsilon_evidence(x[0], eps=0.1, v=g.v))
    >>> bool((p.argmax(1) == x[3][:, 0]).all())
    True
    """
    _check_evidence(g, evidence)
    prior = _class_prior(g, evidence, class_prior)
    kernel = _backend(backend, evidence, prior)
    marginal, log_evidence = kernel.class_posterior(g, evidence.permute(1, 2, 0), prior)
    _check_result(evidence.dtype, log_evidence)
    return marginal, log_evidence


def epsilon_overlap(
    g: Grammar,
    x: Sequence[Tensor],
    *,
    eps: float | Tensor,
    class_prior: Tensor | Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
    backend: str = "auto",
) -> Tensor:
    """Probability of the true symbols in the ε-process, level by level (figures 6, 7, 14), with little memory.

    It is ``overlap(infer(g, epsilon_evidence(x[0], eps=eps, v=g.v)), x)``, but neither the evidence nor the
    marginals are ever written down.

    Args:
        g: the grammar.
        x: data, one int64 tensor a level as from `sample`, ``x[l]`` of shape (n, s^(L-l)).
        eps: ε in [0, 1], a number or one a datum, (n,).
        class_prior, backend: as for `infer`.
        dtype: floating type of the messages.

    Returns:
        (L+1,), level 0 the leaves, of this dtype.

    Raises:
        ValueError: x is no data of this grammar's shape, ε is out of range, or a datum is impossible.
    """
    if len(x) != g.L + 1:
        raise ValueError(f"x: expected {g.L + 1} levels, leaves first, got {len(x)}")
    n = len(x[0])
    for level, symbols in enumerate(x):
        if tuple(symbols.shape) != (n, g.num_nodes(level)) or symbols.dtype != torch.int64 or not n:
            raise ValueError(
                f"x[{level}]: expected int64 of shape ({n or 'n ≥ 1'}, {g.num_nodes(level)}), "
                f"got {symbols.dtype} of shape {tuple(symbols.shape)}"
            )
        lowest, highest = symbols.aminmax()
        if lowest < 0 or highest >= g.num_symbols(level):
            raise ValueError(f"x[{level}]: expected symbols in 0…{g.num_symbols(level) - 1}")
    eps = per_datum("eps", eps, x[0], dtype, 0.0, 1.0)
    prior = _class_prior(g, x[0].new_empty((n,), dtype=dtype), class_prior)
    kernel = _backend(backend, eps, prior)
    if hasattr(kernel, "epsilon_overlap"):
        total, log_evidence = kernel.epsilon_overlap(g, x, eps, prior)
        _check_result(dtype, log_evidence)
        nodes = torch.tensor([g.num_nodes(level) for level in range(g.L + 1)], device=total.device)
        return (total.mean(1) / nodes).to(dtype)
    step, total = memory.chunk(g, dtype, n), 0
    for i in range(0, n, step):
        part = [level[i : i + step] for level in x]
        evidence = epsilon_evidence(part[0], eps=eps[i : i + step], v=g.v, dtype=dtype)
        b = infer(g, evidence, class_prior=prior.T[i : i + step], messages=False, backend=backend)
        total = total + overlap(b, part) * len(part[0])
    return total / n


def overlap(beliefs: Beliefs, x: Sequence[Tensor]) -> Tensor:
    """Probability of the symbols x at each level: the batch mean of the marginal at x[l] (figures 5, 7, 14).

    Args:
        beliefs: from `infer`.
        x: the data, one tensor a level as from `sample`, ``x[l]`` of shape (batch, s^(L-l)).

    Returns:
        (L+1,), level 0 the leaves.

    Raises:
        ValueError: the levels or shapes do not match.
    """
    if len(x) != len(beliefs.marginals):
        raise ValueError(f"x: expected {len(beliefs.marginals)} levels, leaves first, got {len(x)}")
    for level, (marginal, symbols) in enumerate(zip(beliefs.marginals, x, strict=True)):
        if marginal.shape[:2] != symbols.shape:
            raise ValueError(f"x[{level}]: expected shape {tuple(marginal.shape[:2])}, got {tuple(symbols.shape)}")
    return torch.stack([m.gather(-1, y[..., None]).mean() for m, y in zip(beliefs.marginals, x, strict=True)])


def _backend(name: str, evidence: Tensor, prior: Tensor) -> ModuleType:
    if name not in ("auto", "torch", "cpu", "gpu"):
        raise ValueError(f'backend: expected "auto", "torch", "cpu" or "gpu", got {name!r}')
    device, dtype = evidence.device.type, evidence.dtype
    gradient = torch.is_grad_enabled() and (evidence.requires_grad or prior.requires_grad)
    compiled = dtype in (torch.float32, torch.float64) and not gradient
    if name == "auto":
        name = {"cpu": "cpu", "cuda": "gpu"}.get(device, "torch") if compiled else "torch"
        if name == "gpu" and find_spec("triton") is None:
            name = "torch"
    if name == "torch":
        return _reference
    if not compiled:
        raise ValueError(
            f"backend {name!r}: expected float32 or float64 evidence that needs no gradient, got {dtype}"
            f'{" with a gradient" if gradient else ""}: use backend="torch"'
        )
    interpreted = name == "gpu" and device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    if device != {"cpu": "cpu", "gpu": "cuda"}[name] and not interpreted:
        raise ValueError(f'backend "{name}": expected evidence on the {name.upper()}, got {evidence.device}')
    return import_module(f"hierlib._kernels.{name}")  # on demand: importing a compiler takes a second


def _check_evidence(g: Grammar, evidence: Tensor) -> None:
    if not isinstance(evidence, Tensor) or not evidence.dtype.is_floating_point:
        raise ValueError(
            f"evidence: expected a floating-point tensor, got {getattr(evidence, 'dtype', type(evidence))}"
        )
    if evidence.ndim != 3 or evidence.shape[1:] != (g.d, g.v) or not len(evidence):
        raise ValueError(f"evidence: expected shape (batch ≥ 1, {g.d}, {g.v}), got {tuple(evidence.shape)}")
    if evidence.device.type != g.device.type:
        raise ValueError(f"evidence is on {evidence.device}, the grammar on {g.device}: use g.to(evidence.device)")


def _class_prior(g: Grammar, evidence: Tensor, prior: Tensor | Sequence[float] | None) -> Tensor:
    """The class prior as (num_classes, batch), normalised."""
    batch = len(evidence)
    if prior is None:
        return evidence.new_full((g.num_classes, batch), 1 / g.num_classes)
    prior = torch.as_tensor(prior, dtype=evidence.dtype, device=evidence.device)
    if prior.shape not in ((g.num_classes,), (batch, g.num_classes)):
        raise ValueError(
            f"class_prior: expected shape ({g.num_classes},) or ({batch}, {g.num_classes}), got {tuple(prior.shape)}"
        )
    prior = prior.expand(batch, g.num_classes)
    bad = ~((prior >= 0) & (prior < torch.inf)).all(1) | (prior.sum(1) == 0)
    if bad.any():
        raise ValueError(f"class_prior: expected finite non-negative numbers, not all zero; row {_which(bad)} is not")
    return (prior / prior.sum(1, keepdim=True)).T


def _check_result(dtype: torch.dtype, log_evidence: Tensor) -> None:
    if math.isfinite(log_evidence.detach().sum()):
        return
    bad = torch.isnan(log_evidence)
    if bad.any():
        raise ValueError(f"evidence: expected finite non-negative numbers; datum {_which(bad)} has others")
    bad = ~torch.isfinite(log_evidence)
    if bad.any():
        hint = "" if dtype == torch.float64 else ", or it underflows: try float64"
        raise ValueError(
            f"evidence: datum {_which(bad)} is impossible, no string of the grammar (and class_prior) has non-zero "
            f"evidence at every leaf{hint}"
        )


def _which(bad: Tensor) -> str:
    which = bad.nonzero()[:, 0].tolist()
    return str(which[0]) if len(which) == 1 else f"{which[0]} (and {len(which) - 1} more)"
