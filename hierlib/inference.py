"""Exact inference on the tree: belief propagation and posterior sampling, whatever the noise was."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from hierlib._kernels import memory
from hierlib._kernels import torch as _reference
from hierlib._kernels.precision import computed_in
from hierlib._numbers import as_numbers, per_datum
from hierlib.grammar import Grammar, check_device, check_generator, whole
from hierlib.noise import check_type, epsilon_evidence

Levels = tuple[Tensor, ...]  # one tensor a level
Rows = Tensor | None  # which data, None for all: an index of all of them costs as much as a small check
FEW = 64  # up to so many numbers are looked at faster in Python than by torch
DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # the device that each compiled backend works on


class Beliefs(NamedTuple):
    """What `infer` returns; each of the first three has one tensor a level, (batch, s^(L-l), symbols).

    Attributes:
        up: upward messages ν↑, normalised; ``up[0]`` is the evidence as it was given.
        down: downward messages ν↓, normalised; ``down[L]`` is the class prior.
        marginals: posterior probabilities of each symbol of each node, ∝ ν↑·ν↓.
        log_evidence: (batch,), log Σ_x p(x) Π_i evidence_i(x_i), p the grammar's distribution of data; of float32
            where the beliefs are of half precision, which can't hold it.

    The tensors may be strided views with the batch innermost in memory. up and down are None if `infer` was
    called with messages=False.
    """

    up: Levels | None
    down: Levels | None
    marginals: Levels
    log_evidence: Tensor

    @property
    def kinds(self) -> tuple[Levels, Levels, Levels]:
        """Upward, downward and marginal beliefs; a ``ValueError`` if `infer` was called with messages=False."""
        if self.up is None or self.down is None:
            raise ValueError("expected beliefs with their messages, got the marginals alone: infer with messages=True")
        return self.up, self.down, self.marginals


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
            float32 or float64; float16 and bfloat16 too, which are handled in float32. Data whose numbers leave the
            range of float32 are done again in float64.
        class_prior: prior of the class, (num_classes,) or (batch, num_classes), non-negative; the grammar's if not
            given, which is uniform if it has none (footnote 1). A one-hot row makes the inference class-conditional.
        messages: False returns the marginals only, which needs less memory.
        backend: "torch" (any device, differentiable), "cpu" (compiled for this machine), "gpu" (Triton); "auto"
            takes the fastest that can do it.

    Returns:
        `Beliefs`, in the evidence's floating type and on its device.

    Raises:
        ValueError: a wrong shape or type, evidence that is negative or not finite, or evidence that the grammar
            cannot produce, or only by what leaves the range of float64; the datum is named.

    >>> rng = torch.Generator().manual_seed(0)
    >>> from hierlib import epsilon_evidence, random_grammar, sample
    >>> g = random_grammar(v=4, m=2, s=2, L=3, generator=rng)
    >>> x = sample(g, 5, generator=rng)
    >>> b = infer(g, epsilon_evidence(x[0], eps=0.0, v=g.v))
    >>> [m.shape for m in b.marginals]
    [torch.Size([5, 8, 4]), torch.Size([5, 4, 4]), torch.Size([5, 2, 4]), torch.Size([5, 1, 4])]
    """

    def run(kernel: ModuleType, seen: Tensor, prior: Tensor) -> list[Tensor]:
        up, down, marginals, log_evidence = kernel.infer(g, seen, prior, messages)
        return [*(up or ()), *(down or ()), *marginals, log_evidence]

    *levels, log_evidence = solve(run, g, evidence, class_prior, backend)
    kinds = [tuple(levels[i : i + g.L + 1]) for i in range(0, len(levels), g.L + 1)]
    if not messages:
        return Beliefs(None, None, kinds[0], log_evidence)
    up, down, marginals = kinds
    return Beliefs((evidence, *up[1:]), down, marginals, log_evidence)


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
        ValueError: as for `infer`, or num_samples is below 1 or no whole number.
    """
    num_samples = whole("num_samples", num_samples, 1)
    check_generator(generator)
    check_device("generator", generator.device, g)

    def run(kernel: ModuleType, seen: Tensor, prior: Tensor) -> list[Tensor]:
        y, log_evidence = kernel.posterior_sample(g, seen, prior, num_samples, generator)
        return [*(y or ()), log_evidence]

    with torch.no_grad():
        return tuple(solve(run, g, evidence, class_prior, backend)[:-1])


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

    def run(kernel: ModuleType, seen: Tensor, prior: Tensor) -> list[Tensor]:
        return list(kernel.class_posterior(g, seen, prior))

    marginal, log_evidence = solve(run, g, evidence, class_prior, backend)
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
        check_device(f"x[{level}]", symbols.device, g)
        if tuple(symbols.shape) != (n, g.num_nodes(level)) or symbols.dtype != torch.int64 or not n:
            raise ValueError(
                f"x[{level}]: expected int64 of shape ({n or 'n ≥ 1'}, {g.num_nodes(level)}), "
                f"got {symbols.dtype} of shape {tuple(symbols.shape)}"
            )
        lowest, highest = symbols.aminmax()
        if lowest < 0 or highest >= g.num_symbols(level):
            raise ValueError(f"x[{level}]: expected symbols in 0…{g.num_symbols(level) - 1}")
    check_type("dtype", dtype)
    kind, device = computed_in(dtype), x[0].device
    noise, prior = per_datum("eps", eps, x[0], kind, 0.0, 1.0), normalised_prior(g, n, kind, device, class_prior)
    kernel = _backend(backend, device, _needs_gradient(eps, class_prior))
    if hasattr(kernel, "epsilon_overlap"):

        def run(kind: torch.dtype, rows: Rows) -> list[Tensor]:
            part, noise = x, per_datum("eps", eps, x[0], kind, 0.0, 1.0)
            prior = normalised_prior(g, n, kind, device, class_prior)
            if rows is not None:
                part, noise, prior = [level[rows] for level in x], noise[rows], prior[:, rows]
            total, log_evidence = kernel.epsilon_overlap(g, part, noise, prior)
            return [total.T, log_evidence]

        total, _ = _in_range(run, kind)
        nodes = torch.tensor([g.num_nodes(level) for level in range(g.L + 1)], dtype=torch.int64, device=total.device)
        return (total.T.mean(1) / nodes).to(dtype)
    step, total = memory.chunk(g, kind, n), torch.zeros(g.L + 1, dtype=kind, device=device)
    for i in range(0, n, step):
        part = [level[i : i + step] for level in x]
        evidence = epsilon_evidence(part[0], eps=noise[i : i + step], v=g.v, dtype=kind)
        b = infer(g, evidence, class_prior=prior.T[i : i + step], messages=False, backend=backend)
        total = total + overlap(b, part) * len(part[0])
    return (total / n).to(dtype)


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


def solve(
    run: Callable[[ModuleType, Tensor, Tensor], list[Tensor]],
    g: Grammar,
    evidence: Tensor,
    class_prior: Tensor | Sequence[float] | None,
    backend: str,
) -> list[Tensor]:
    """Check the evidence and run a kernel on it: on (leaves, v, batch) evidence and (num_classes, batch) priors.

    What run returns has the batch first and the log evidence last; beliefs come back in the evidence's type.
    """
    check_evidence(g, evidence)
    batch, device = len(evidence), evidence.device
    seen = evidence.permute(1, 2, 0)
    kind = computed_in(evidence.dtype)
    gradient = _needs_gradient(evidence, class_prior)
    kernel = _backend(backend, device, gradient)

    def typed(kind: torch.dtype, rows: Rows) -> list[Tensor]:
        prior = normalised_prior(g, batch, kind, device, class_prior)
        if rows is None:
            return run(kernel, seen if seen.dtype == kind else seen.to(kind), prior)
        return run(kernel, seen[..., rows].to(kind), prior[:, rows])

    *found, log_evidence = _in_range(typed, kind, apart=not gradient)
    if evidence.dtype != kind:
        found = [x.to(evidence.dtype) if x.is_floating_point() else x for x in found]
    return [*found, log_evidence]


def _in_range(
    run: Callable[[torch.dtype, Rows], list[Tensor]], kind: torch.dtype, *, apart: bool = True
) -> list[Tensor]:
    """What run returns of all data in a floating type, and in float64 of those whose numbers leave its range.

    apart: whether these can be done apart from the others. If not, NaN could come into the gradients.
    """
    found = run(kind, None)
    log_evidence = found[-1].detach()
    if all(map(math.isfinite, log_evidence.tolist())) if len(log_evidence) <= FEW else log_evidence.sum().isfinite():
        return found
    refuse_numbers(torch.isnan(log_evidence))
    outside = torch.isneginf(log_evidence)
    if outside.any() and kind != torch.float64:
        if apart and len(found) > 1:
            rows = outside.nonzero()[:, 0]
            again = run(torch.float64, rows)
            found = [x.index_copy(0, rows, y.to(x.dtype)) for x, y in zip(found, again, strict=True)]
        else:
            again = run(torch.float64, None)
            found = [y.to(kind) if y.is_floating_point() else y for y in again]
        outside = torch.isneginf(found[-1].detach())
    refuse(
        outside,
        "datum {} is impossible, no string of the grammar (and class_prior) has non-zero evidence at every leaf, or "
        "evidence within the range of float64",
    )
    return found


def refuse_numbers(bad: Tensor) -> None:
    """Raise a ValueError if there are data, (batch,), whose evidence is known to be negative or not finite."""
    refuse(bad, "expected finite non-negative numbers; datum {} has others")


def refuse(bad: Tensor, message: str) -> None:
    """Raise a ValueError about the evidence that names the data for which bad, (batch,), is true, if there are any."""
    if bad.any():
        raise ValueError(f"evidence: {message.format(_which(bad))}")


def _needs_gradient(*inputs: object) -> bool:
    """Whether autograd follows what is done with one of these."""
    return torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


def _backend(name: str, device: torch.device, gradient: bool) -> ModuleType:
    """The kernels by name, or the fastest for a device."""
    if name not in ("auto", "torch", *DEVICES):
        raise ValueError(f'backend: expected "auto", "torch", "cpu" or "gpu", got {name!r}')
    if name == "auto":
        fast = [one for one in DEVICES if DEVICES[one] == device.type and not gradient]
        name = fast[0] if fast and (fast[0] != "gpu" or find_spec("triton")) else "torch"
    if name == "torch":
        return _reference
    if gradient:
        raise ValueError(f'backend "{name}": expected tensors that need no gradient: use backend="torch"')
    if device.type != DEVICES[name]:
        raise ValueError(f'backend "{name}": expected evidence on the {name.upper()}, got {device}')
    return import_module(f"hierlib._kernels.{name}")  # on demand: importing a compiler takes a second


def check_evidence(g: Grammar, evidence: Tensor) -> None:
    """Raise a ValueError unless this is evidence of leaves of the grammar; what it holds is not looked at."""
    if not isinstance(evidence, Tensor):
        raise ValueError(f"evidence: expected a floating-point tensor, got {type(evidence)}")
    check_type("evidence", evidence.dtype)
    if evidence.ndim != 3 or evidence.shape[1:] != (g.d, g.v) or not len(evidence):
        raise ValueError(f"evidence: expected shape (batch ≥ 1, {g.d}, {g.v}), got {tuple(evidence.shape)}")
    if evidence.layout != torch.strided:
        raise ValueError(f"evidence: expected a dense tensor, got {evidence.layout}: use .to_dense()")
    check_device("evidence", evidence.device, g)


def normalised_prior(
    g: Grammar, batch: int, dtype: torch.dtype, device: torch.device, prior: Tensor | Sequence[float] | None
) -> Tensor:
    """The class prior as (num_classes, batch), normalised."""
    prior = g.class_prior if prior is None else prior
    if prior is None:
        return torch.full((g.num_classes, batch), 1 / g.num_classes, dtype=dtype, device=device)
    prior = as_numbers("class_prior", prior, torch.float64, device)
    if prior.shape not in ((g.num_classes,), (batch, g.num_classes)):
        raise ValueError(
            f"class_prior: expected shape ({g.num_classes},) or ({batch}, {g.num_classes}), got {tuple(prior.shape)}"
        )
    prior = prior.expand(batch, g.num_classes)
    largest = prior.amax(1, keepdim=True)
    bad = ~((prior >= 0) & (prior < torch.inf)).all(1) | (largest[:, 0] == 0)
    if bad.any():
        raise ValueError(f"class_prior: expected finite non-negative numbers, not all zero; row {_which(bad)} is not")
    far = (largest < 2.0**-60) | (largest > 2.0**60)  # their sum might leave the range of the type
    prior = torch.where(far, prior / largest, prior).to(dtype)
    return (prior / prior.sum(1, keepdim=True)).T


def _which(bad: Tensor) -> str:
    which = bad.nonzero()[:, 0].tolist()
    return str(which[0]) if len(which) == 1 else f"{which[0]} (and {len(which) - 1} more)"
